//! `webmon-page`: status pages. Arguments and wiring only.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod args;
mod run;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use webmon::config::{Config, Role};

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit::exit_with("webmon-page", run(&args))
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.log.start()?;
    let config = Config::load(args.common.config(), Role::Page)?;
    match args.command {
        Command::Run => run::run(&config)?,
        Command::Validate => {
            let paths: Vec<String> = config
                .pages
                .iter()
                .map(|page| format!("{}{}", page.host.as_deref().unwrap_or_default(), page.path))
                .collect();
            println!("{}: {}", args.common.config().display(), paths.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
