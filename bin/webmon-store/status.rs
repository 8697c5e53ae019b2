//! `webmon-store status`: how far each partition is stored, for people, and as a check.

use std::process::ExitCode;

use comfy_table::{Cell, Table};
use serde::Serialize;
use webmon::config::Config;
use webmon::jobs::{self, FailingKind};
use webmon::kafka::{self, KafkaError};
use webmon::store::{self, PartitionStatus, SetAside};

use crate::connect::connect;
use crate::output::{print_json, right, table};

#[derive(clap::Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a partition is paused or has no writer, a kind of job keeps failing, or something could not be
    /// derived
    #[arg(long)]
    check: bool,
    /// With --check: exit with 1 also if a partition is more than this many records behind, or Kafka does not tell
    #[arg(long, requires = "check", value_name = "RECORDS", value_parser = clap::value_parser!(i64).range(0..))]
    max_lag: Option<i64>,
}

/// Everything `status` knows.
#[derive(Serialize)]
struct Status {
    partitions: Vec<Lagging>,
    /// Kinds of jobs that keep failing.
    failing_jobs: Vec<FailingKind>,
    /// Hours, days and incidents that could not be derived.
    set_aside: Vec<SetAside>,
}

/// Shows it, and with `--check` decides the exit code.
pub fn run(config: &Config, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let mut client = connect(config)?;
    let partitions = store::partition_status(&mut client, &config.kafka.topic)?;
    let failing_jobs = jobs::failing(&mut client)?;
    let set_aside = store::set_aside(&mut client)?;
    let status = Status { partitions: with_lag(config, partitions), failing_jobs, set_aside };
    match args.json {
        true => print_json(&status)?,
        false => {
            println!("{}", status_table(&status.partitions));
            for FailingKind { kind, last_error, attempt, failed_at } in &status.failing_jobs {
                println!(
                    "job {kind} keeps failing, {attempt} times by {failed_at}: {}",
                    last_error.escape_debug()
                );
            }
        }
    }
    if !args.json && !status.set_aside.is_empty() {
        println!("\n{}", set_aside_table(&status.set_aside));
    }
    if !args.check {
        return Ok(ExitCode::SUCCESS);
    }
    let problems = status.problems(args.max_lag);
    for problem in &problems {
        eprintln!("webmon-store: {problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Status {
    /// What an operator should look at, a line each.
    fn problems(&self, max_lag: Option<i64>) -> Vec<String> {
        let mut problems = Vec::new();
        if self.partitions.is_empty() {
            problems.push("nothing is stored yet: no writer has found the topic".to_owned());
        }
        for Lagging { status, lag, .. } in &self.partitions {
            let partition = status.partition;
            match (&status.paused, status.held) {
                (Some(reason), _) => problems.push(format!("partition {partition} is paused: {reason}")),
                (None, false) => problems.push(format!("partition {partition} has no writer")),
                (None, true) => {}
            }
            match (max_lag, lag) {
                (Some(most), Some(lag)) if *lag > most => problems
                    .push(format!("partition {partition} is {lag} records behind: expected at most {most}")),
                (Some(_), None) => {
                    problems.push(format!("partition {partition}: kafka does not tell the lag"));
                }
                _ => {}
            }
        }
        let failing = self.failing_jobs.iter();
        problems.extend(
            failing.map(|job| format!("job {} keeps failing: {}", job.kind, job.last_error.escape_debug())),
        );
        problems.extend(self.set_aside.iter().map(|SetAside { what, which, error, .. }| {
            format!("{what} {which} cannot be derived: {}", error.escape_debug())
        }));
        problems
    }
}

fn set_aside_table(set_aside: &[SetAside]) -> Table {
    let mut table = table(&["SET ASIDE", "WHICH", "FAILED (UTC)", "ATTEMPTS", "AGAIN (UTC)", "ERROR"]);
    for SetAside { what, which, failed_at, again_at, attempts, error } in set_aside {
        table.add_row([
            Cell::new(what),
            Cell::new(which),
            Cell::new(failed_at.strftime("%F %T")),
            right(Some(attempts.to_string())),
            Cell::new(again_at.strftime("%F %T")),
            Cell::new(error),
        ]);
    }
    table
}

/// A partition's status, and how far it is behind Kafka.
#[derive(Serialize)]
struct Lagging {
    #[serde(flatten)]
    status: PartitionStatus,
    /// One past the newest offset; none where Kafka does not tell.
    end_offset: Option<i64>,
    /// Records that are not stored yet.
    lag: Option<i64>,
}

/// Asks Kafka; without an answer the status is shown all the same.
fn with_lag(config: &Config, status: Vec<PartitionStatus>) -> Vec<Lagging> {
    let ends = || -> Result<Vec<i64>, KafkaError> {
        let mut consumer = kafka::consumer(&config.kafka)?;
        consumer.partitions()?;
        status.iter().map(|status| Ok(consumer.offsets(status.partition)?.end)).collect()
    };
    let ends = ends().map_or_else(
        |error| {
            eprintln!("webmon-store: cannot tell the lag: {error}");
            vec![None; status.len()]
        },
        |ends| ends.into_iter().map(Some).collect(),
    );
    let lagging = |(status, end_offset): (PartitionStatus, Option<i64>)| {
        let lag = end_offset.zip(status.next_offset).map(|(end, next)| (end - next).max(0));
        Lagging { status, end_offset, lag }
    };
    status.into_iter().zip(ends).map(lagging).collect()
}

fn status_table(status: &[Lagging]) -> Table {
    let mut table = table(&["PARTITION", "NEXT OFFSET", "LAG", "EPOCH", "OWNER", "PAUSED", "LAST ERROR"]);
    for Lagging { status: partition, lag, .. } in status {
        let owner = match (&partition.owner, partition.held) {
            (Some(owner), true) => owner.clone(),
            (Some(owner), false) => format!("{owner} (lease over)"),
            (None, _) => "nobody".to_owned(),
        };
        table.add_row([
            right(Some(partition.partition.to_string())),
            right(partition.next_offset.map(|offset| offset.to_string())),
            right(lag.map(|lag| lag.to_string())),
            right(Some(partition.epoch.to_string())),
            Cell::new(owner),
            Cell::new(partition.paused.as_deref().unwrap_or_default()),
            Cell::new(partition.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}
