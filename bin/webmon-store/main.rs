//! `webmon-store`: from Kafka to PostgreSQL, exactly once. Arguments and wiring only, a file a command.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod alerts;
mod args;
mod connect;
mod dead_letters;
mod duration;
mod jobs;
mod locations;
mod output;
mod replay;
mod resume;
mod retention;
mod run;
mod silence;
mod sites;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod topic;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use webmon::config::{Config, Role};
use webmon::database;

use self::args::{Args, Command};
use self::connect::connect_for_long;

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit::exit_with("webmon-store", run(&args))
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.log.start()?;
    let config = Config::load(args.common.config(), Role::Store)?;
    match &args.command {
        Command::Run => run::run(&config)?,
        Command::Migrate => {
            let applied = database::migrate(&mut connect_for_long(&config)?)?;
            match applied.as_slice() {
                [] => println!("the schema is up to date"),
                applied => println!("applied {}", applied.join(", ")),
            }
        }
        Command::Topic(command) => topic::run(&config, command)?,
        Command::Status(args) => return status::run(&config, args),
        Command::Sites(args) => return sites::run(&config, args),
        Command::Resume(args) => resume::run(&config, args)?,
        Command::Replay(args) => replay::run(&config, args)?,
        Command::Verify(args) => return verify::run(&config, args),
        Command::DeadLetters(command) => dead_letters::run(&config, command)?,
        Command::Locations(command) => locations::run(&config, command)?,
        Command::Jobs(command) => return jobs::run(&config, command),
        Command::Alerts(command) => return alerts::run(&config, command),
        Command::Silence(command) => silence::run(&config, command)?,
        Command::Retention(command) => return retention::run(&config, command),
        Command::Validate => println!("{}: {} sites", args.common.config().display(), config.sites.len()),
    }
    Ok(ExitCode::SUCCESS)
}
