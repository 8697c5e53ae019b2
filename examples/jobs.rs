//! Your own kind of job in webmon's queue: `jobs DATABASE_URL`. Reports on sites are enqueued, written by two workers,
//! and counted. One report fails at first, and what it did is undone.
//!
//! Needs only the feature `store`.

use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use webmon::config::Postgres;
use webmon::database::{self, Connector};
use webmon::jobs::{self, Job, JobError, Kind, NewJob, State, Worker, WorkerOptions};
use webmon::postgres::Transaction;
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;

/// What a report is about: the args of the job.
#[derive(Serialize, Deserialize)]
struct Report {
    site: String,
}

/// Writes a report. What it does in the transaction takes effect once, however often it is started.
fn write_report(job: &Job, transaction: &mut Transaction<'_>) -> Result<(), JobError> {
    let Report { site } = job.args()?;
    transaction.execute("INSERT INTO reports (site) VALUES ($1)", &[&site])?;
    if site == "flaky" && job.attempt == 1 {
        return Err(JobError::new("the printer is out of paper"));
    }
    Ok(())
}

/// Deletes old reports. Its schedule enqueues it, once per instant however many workers there are.
fn forget_reports(_: &Job, transaction: &mut Transaction<'_>) -> Result<(), JobError> {
    transaction.execute("DELETE FROM reports WHERE written_at < now() - interval '1 year'", &[])?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: jobs DATABASE_URL")?;
    let postgres = Postgres::new(url);
    let mut client = Connector::new(&postgres, "jobs-example")?.connect()?;
    database::migrate(&mut client)?;
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS reports (site text NOT NULL, written_at timestamptz NOT NULL DEFAULT now())",
    )?;

    // All jobs are enqueued or none, together with whatever else the transaction does. Of the jobs with one key, one
    // waits.
    let mut transaction = client.transaction()?;
    let mut ids = Vec::new();
    for site in ["shop", "flaky", "blog", "shop"] {
        let job = NewJob::new("write_report").key(site).args(&Report { site: site.to_owned() })?;
        ids.push(jobs::enqueue(&mut transaction, &job)?.id);
    }
    transaction.commit()?;

    let kinds = vec![
        Kind::new("write_report", write_report).timeout(Duration::from_secs(30)),
        Kind::new("forget_reports", forget_reports).schedule(Schedule::new("0 3 * * *", "Europe/Berlin")?),
    ];
    let options = WorkerOptions { threads: 2, poll: Duration::from_millis(100), ..WorkerOptions::default() };
    let worker = Worker::new(&postgres, kinds, options)?;
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&shutdown));
        for id in ids {
            // A program that goes on would not wait, because the worker runs until its shutdown is requested.
            while !running.is_finished() {
                match jobs::get(&mut client, id)? {
                    Some(job) if !job.state.is_final() => std::thread::sleep(Duration::from_millis(50)),
                    Some(job) if job.state == State::Completed => break,
                    Some(job) => println!("job {id} is {}: {:?}", job.state, job.last_error),
                    None => break,
                }
            }
        }
        shutdown.request();
        running.join().map_err(|_| "the worker panicked")??;
        Ok::<(), Box<dyn Error>>(())
    })?;

    for row in client.query("SELECT site, count(*) FROM reports GROUP BY site ORDER BY site", &[])? {
        println!("{} {}", row.get::<_, &str>(0), row.get::<_, i64>(1));
    }
    Ok(())
}
