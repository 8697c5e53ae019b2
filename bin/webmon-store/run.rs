//! `webmon-store run`: writers and workers at the jobs, until a stop is asked for.

use std::time::Duration;

use webmon::config::Config;
use webmon::jobs::{Worker, WorkerOptions};
use webmon::kafka;
use webmon::shutdown::Shutdown;
use webmon::store::Writers;
use webmon::upkeep;

use crate::support::signals;

/// How long after a stop was asked for the process ends by itself, whatever hangs: writers and jobs are cut off from the
/// database before that.
pub const LAST_RESORT: Duration = Duration::from_secs(20);

pub fn run(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    signals::end_after(&shutdown, LAST_RESORT)?;
    let kafka_config = config.kafka.clone();
    let consumer = move || kafka::consumer(&kafka_config);
    let writers = Writers::new(&config.postgres, &config.kafka.topic, config.store.clone())?
        .host(&config.check.checker);
    let worker = match config.jobs.threads {
        0 => None,
        threads => {
            let options = WorkerOptions {
                threads,
                lease: config.jobs.lease,
                poll: config.jobs.poll,
                host: config.check.checker.clone(),
                ..WorkerOptions::default()
            };
            Some(Worker::new(
                &config.postgres,
                upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs)?,
                options,
            )?)
        }
    };
    log::info!(topic = config.kafka.topic, writers = config.store.threads, jobs = config.jobs.threads; "storing");
    std::thread::scope(|scope| {
        // A fault of either stops the other.
        let _stop_all = StopAll(&shutdown);
        let worker = worker.as_ref().map(|worker| {
            scope.spawn(|| {
                let _stop_all = StopAll(&shutdown);
                worker.run(&shutdown)
            })
        });
        writers.run(&consumer, &shutdown)?;
        match worker.map(std::thread::ScopedJoinHandle::join) {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(_)) => Err(anyhow::anyhow!("the worker of the jobs panicked")),
            None => Ok(()),
        }
    })?;
    log::info!("stopped");
    Ok(())
}

/// Requests a stop when it goes out of scope, also in a panic: what is left of a program does not go on without the rest.
struct StopAll<'a>(&'a Shutdown);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}
