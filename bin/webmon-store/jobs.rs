//! `webmon-store jobs`: the job queue, for people.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use comfy_table::Cell;
use webmon::config::Config;
use webmon::jobs::{self, JobInfo, State, Worker, WorkerOptions};
use webmon::shutdown::Shutdown;
use webmon::upkeep;

use crate::connect::connect;
use crate::output::{print_json, right, table};
use crate::run::LAST_RESORT;
use crate::support::signals;

#[derive(Subcommand)]
pub enum JobsCommand {
    /// List jobs, the newest first
    List {
        /// Only jobs in this state: available, running, retryable, completed, discarded or cancelled
        #[arg(long)]
        state: Option<State>,
        /// Only jobs of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Print at most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=jobs::MAX_LIST), value_name = "COUNT")]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one job
    Show {
        /// The id of the job
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make jobs run as soon as possible, with all their attempts: jobs that wait, and jobs that have ended
    Retry {
        /// The ids of the jobs
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Cancel jobs: waiting jobs at once, running jobs within about a second
    Cancel {
        /// The ids of the jobs
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Run a job of this kind now and wait for its end. It runs here, unless a worker is faster
    Run {
        /// The kind
        #[arg(value_parser = PossibleValuesParser::new(upkeep::NAMES))]
        kind: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Carries out a command; fails when one of the jobs it names is not as it must be.
pub fn run(config: &Config, command: &JobsCommand) -> anyhow::Result<ExitCode> {
    let mut client = connect(config)?;
    match command {
        JobsCommand::List { state, kind, limit, json } => {
            let found = jobs::list(&mut client, *state, kind.as_deref(), *limit)?;
            match json {
                true => print_json(&found)?,
                false => println!("{}", jobs_table(&found)),
            }
        }
        JobsCommand::Show { id, json } => match (jobs::get(&mut client, *id)?, json) {
            (None, _) => anyhow::bail!("there is no job {id}"),
            (Some(job), true) => print_json(&job)?,
            (Some(job), false) => print_job(&job),
        },
        JobsCommand::Retry { ids } => {
            return each(ids, |id| match jobs::retry(&mut client, id)? {
                true => Ok(format!("job {id} is available")),
                false => anyhow::bail!("job {id} is running or does not exist"),
            });
        }
        JobsCommand::Cancel { ids } => {
            return each(ids, |id| match jobs::cancel(&mut client, id)? {
                Some(State::Running) => Ok(format!("job {id} is running and was asked to stop")),
                Some(_) => Ok(format!("job {id} is cancelled")),
                None => anyhow::bail!("job {id} has ended or does not exist"),
            });
        }
        JobsCommand::Run { kind, json } => {
            let job = run_now(config, &mut client, kind)?;
            match json {
                true => print_json(&job)?,
                false => println!("job {} {}: {}{}", job.id, job.kind, job.state, because(&job)),
            }
            if job.state != State::Completed {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something with each job. A failure with one is printed, and does not keep the others from being done.
fn each(ids: &[i64], mut act: impl FnMut(i64) -> anyhow::Result<String>) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match act(*id) {
            Ok(done) => println!("{done}"),
            Err(error) => {
                eprintln!("webmon-store: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Enqueues a job and works at its kind until an attempt has ended.
fn run_now(config: &Config, client: &mut postgres::Client, name: &str) -> anyhow::Result<JobInfo> {
    const LOOK: Duration = Duration::from_millis(50);
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    signals::end_after(&shutdown, LAST_RESORT)?;
    let kinds = upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs, config.alerts.keep)?
        .into_iter()
        .filter(|kind| kind.name() == name);
    let kinds: Vec<_> = kinds.map(jobs::Kind::unscheduled).collect();
    let Some(kind) = kinds.first() else { anyhow::bail!("there is no kind {name:?}") };
    let enqueued = jobs::enqueue(client, &kind.due().priority(1))?;
    if !enqueued.is_new {
        // It waited already, perhaps for a long pause to be over.
        jobs::retry(client, enqueued.id)?;
    }
    let options = WorkerOptions { lease: config.jobs.lease, poll: LOOK, ..WorkerOptions::default() };
    let worker = Worker::new(&config.postgres, kinds, options)?;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&shutdown));
        let ended = loop {
            let job = jobs::get(client, enqueued.id);
            let goes_on =
                matches!(&job, Ok(Some(job)) if matches!(job.state, State::Available | State::Running));
            if !goes_on || shutdown.wait(LOOK) {
                break job;
            }
        };
        shutdown.request();
        running.join().map_err(|_| anyhow::anyhow!("the worker panicked"))??;
        ended?.ok_or_else(|| anyhow::anyhow!("job {} is gone", enqueued.id))
    })
}

fn because(job: &JobInfo) -> String {
    let error = job.last_error.as_deref().filter(|_| job.state != State::Completed);
    error.map_or_else(String::new, |error| format!(", {}", error.escape_debug()))
}

fn jobs_table(found: &[JobInfo]) -> comfy_table::Table {
    let mut table =
        table(&["ID", "KIND", "KEY", "STATE", "PRIORITY", "ATTEMPT", "SCHEDULED AT (UTC)", "LAST ERROR"]);
    for job in found {
        table.add_row([
            right(Some(job.id.to_string())),
            Cell::new(&job.kind),
            Cell::new(job.key.as_deref().unwrap_or_default()),
            Cell::new(job.state),
            right(Some(job.priority.to_string())),
            right(Some(format!("{}/{}", job.attempt, job.max_attempts))),
            Cell::new(job.scheduled_at.strftime("%Y-%m-%d %H:%M:%S")),
            Cell::new(job.last_error.as_deref().unwrap_or_default().escape_debug()),
        ]);
    }
    table
}

fn print_job(job: &JobInfo) {
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    let mut lines = vec![
        ("id", Some(job.id.to_string())),
        ("kind", Some(job.kind.clone())),
        ("key", job.key.as_ref().map(|key| format!("{key:?}"))),
        ("args", Some(job.args.to_string())),
        ("state", Some(job.state.to_string())),
        ("priority", Some(job.priority.to_string())),
        ("attempt", Some(format!("{} of {}", job.attempt, job.max_attempts))),
        ("schedule", job.schedule.clone()),
        ("created at", Some(job.created_at.to_string())),
        ("scheduled at", Some(job.scheduled_at.to_string())),
        ("attempted at", time(job.attempted_at)),
        ("attempted by", job.attempted_by.clone()),
        ("lease until", time(job.lease_until)),
        ("cancel requested at", time(job.cancel_requested_at)),
        ("finalized at", time(job.finalized_at)),
        ("last error", job.last_error.as_ref().map(|error| error.escape_debug().to_string())),
    ];
    lines.retain(|(_, value)| value.is_some());
    for (name, value) in lines {
        println!("{name:19} {}", value.unwrap_or_default());
    }
}
