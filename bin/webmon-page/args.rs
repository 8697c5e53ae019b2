//! The command line of `webmon-page`.

use clap::{Parser, Subcommand};

use crate::support::args::CommonArgs;

/// Shows on status pages what webmon-store has stored. It only reads
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
    /// Serve the pages until SIGTERM or Ctrl-C
    Run,
    /// Check the configuration, print everything that is wrong with it, or else where the pages are
    Validate,
}
