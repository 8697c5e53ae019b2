//! The command line of `webmon-store`.

use clap::{Parser, Subcommand};

use crate::alerts::AlertsCommand;
use crate::dead_letters::DeadLettersCommand;
use crate::jobs::JobsCommand;
use crate::locations::LocationsCommand;
use crate::replay::ReplayArgs;
use crate::resume::ResumeArgs;
use crate::retention::RetentionCommand;
use crate::silence::SilenceCommand;
use crate::sites::SitesArgs;
use crate::status::StatusArgs;
use crate::support::args::CommonArgs;
use crate::topic::TopicCommand;
use crate::verify::VerifyArgs;

/// Reads the results of website checks from Kafka and stores each exactly once in PostgreSQL
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
    /// Store results and run jobs until SIGTERM or Ctrl-C
    Run,
    /// Create the database schema, or bring it to this program's version
    Migrate,
    /// Create the topic of the results
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Show how far each partition is stored, by whom, and what is wrong
    Status(StatusArgs),
    /// Show the latest result of each site
    Sites(SitesArgs),
    /// Resume paused partitions
    Resume(ResumeArgs),
    /// Store a partition again from an earlier offset or time. A better result replaces a stored one
    Replay(ReplayArgs),
    /// Prove that the history is complete: every offset is accounted for, every announced instant is there
    Verify(VerifyArgs),
    /// Show, retry or discard dead letters: records that could not be stored as results
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Show the locations, and retire those from which nobody checks any more
    #[command(subcommand)]
    Locations(LocationsCommand),
    /// Show, retry, cancel or run the jobs of the queue
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Show what fires and who was told of it, or test a receiver
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Keep alerts from being told for a while
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// Show what retention would drop, drop it even if the job refuses, or lower the floor
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Check the configuration and print everything that is wrong with it
    Validate,
}
