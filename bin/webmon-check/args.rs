//! The command line of `webmon-check`.

use clap::{Parser, Subcommand};

use crate::once::OnceArgs;
use crate::schedule::ScheduleArgs;
use crate::spool::SpoolCommand;
use crate::support::args::CommonArgs;

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
    /// Check each site once now and print the results, without Kafka
    Once(OnceArgs),
    /// Print the next instants of a site, in UTC and in the time zone of its schedule
    Schedule(ScheduleArgs),
    /// Check the configuration and print everything that is wrong with it
    Validate,
    /// Show what is in the spool, also while the checker runs
    #[command(subcommand)]
    Spool(SpoolCommand),
}
