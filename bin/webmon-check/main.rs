//! `webmon-check`: checks sites on their schedules and publishes what they came to. Arguments and wiring only, a file a
//! command.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod args;
mod init;
mod load;
mod once;
mod reload;
mod run;
mod schedule;
mod settings;
mod spool;
#[path = "../support/mod.rs"]
mod support;
mod trust;
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
    let path = args.common.config();
    match &args.command {
        Command::Run => run::run(path)?,
        Command::Once(once) => return once::run(&args.common, once),
        Command::Schedule(args) => schedule::run(&Config::load(path, Role::Inspect)?, args)?,
        Command::Validate(args) => return validate::run(path, args),
        Command::Init(args) => init::run(path, args)?,
        Command::Spool(command) => spool::run(&Config::load(path, Role::Inspect)?, command)?,
    }
    Ok(ExitCode::SUCCESS)
}
