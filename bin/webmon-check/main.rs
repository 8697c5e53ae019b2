//! `webmon-check`: checks sites on their schedules and publishes what they came to. Arguments and wiring only, a file a
//! command.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod args;
mod load;
mod once;
mod reload;
mod run;
mod schedule;
mod settings;
mod spool;
#[path = "../support/mod.rs"]
mod support;
mod validate;

use std::process::ExitCode;

use clap::Parser;
use webmon::config::{Config, Role};

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit::exit_with("webmon-check", run(&args))
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.log.start()?;
    let path = &args.common.config;
    let config = Config::load(path, Role::Check)?;
    match &args.command {
        Command::Run => run::run(path, &config)?,
        Command::Once(args) => return once::run(&config, args),
        Command::Schedule(args) => schedule::run(&config, args)?,
        Command::Validate => validate::run(path, &config)?,
        Command::Spool(command) => spool::run(&config, command)?,
    }
    Ok(ExitCode::SUCCESS)
}
