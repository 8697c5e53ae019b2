//! The command line of `webmon-check`.

use clap::{Parser, Subcommand};

use crate::init::InitArgs;
use crate::once::{EXAMPLES, OnceArgs};
use crate::schedule::ScheduleArgs;
use crate::spool::SpoolCommand;
use crate::support::args::CommonArgs;
use crate::validate::ValidateArgs;

/// Checks websites on cron schedules and publishes every result to Kafka
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 success, 1 a fault at run time, 2 wrong usage or configuration."
)]
pub struct Args {
    #[command(flatten)]
    pub common: CommonArgs,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Check every site on its schedule until SIGTERM or Ctrl-C. SIGHUP or a changed file reloads the sites
    Run,
    /// Check sites or URLs now and show where the time went, without Kafka
    #[command(after_help = EXAMPLES)]
    Once(OnceArgs),
    /// Print the next instants of a site, in UTC and in the time zone of its schedule
    Schedule(ScheduleArgs),
    /// Check the configuration and print everything that is wrong with it, without Kafka
    Validate(ValidateArgs),
    /// Write a configuration to begin with
    Init(InitArgs),
    /// Show what is in the spool, also while the checker runs
    #[command(subcommand)]
    Spool(SpoolCommand),
}
