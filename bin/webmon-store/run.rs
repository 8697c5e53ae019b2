//! `webmon-store run`: writers and workers at the jobs, until a stop is asked for.

use std::time::Duration;

use webmon::alerts::{self, Limits, Pulse, Watcher};
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
/// The most threads that tell receivers.
const MAX_TELLERS: usize = 16;

pub fn run(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    signals::end_after(&shutdown, LAST_RESORT)?;
    let kafka_config = config.kafka.clone();
    let consumer = move || kafka::consumer(&kafka_config);
    let writers = Writers::new(&config.postgres, &config.kafka.topic, config.store.clone())?
        .host(&config.check.checker);
    let options = WorkerOptions {
        threads: config.jobs.threads,
        lease: config.jobs.lease,
        poll: config.jobs.poll,
        host: config.check.checker.clone(),
        ..WorkerOptions::default()
    };
    let (topic, works) = (&config.kafka.topic, config.jobs.threads > 0);
    let kinds = upkeep::kinds(topic, &config.store, &config.jobs, config.alerts.keep)?;
    let worker = match works {
        true => Some(Worker::new(&config.postgres, kinds, options.clone())?),
        false => None,
    };
    let alerts = works && config.alerts.enabled;
    let limits = Limits::of(&config.check);
    let watcher = match alerts {
        true => Some(Watcher::new(&config.postgres, topic, &config.alerts, &config.routes)?),
        false => None,
    };
    // Receivers have threads of their own, so that slow ones keep no upkeep waiting.
    let teller = match alerts && !config.receivers.is_empty() {
        true => {
            let kinds = alerts::kinds(&config.receivers, &config.routes, &limits, config.alerts.give_up);
            let threads = config.receivers.len().min(MAX_TELLERS);
            Some(Worker::new(&config.postgres, kinds, WorkerOptions { threads, ..options })?)
        }
        false => None,
    };
    let pulse = match &config.heartbeat {
        Some(heartbeat) => Some(Pulse::new(&config.postgres, topic, heartbeat, &limits)?),
        None => None,
    };
    log::info!(topic = config.kafka.topic, writers = config.store.threads, jobs = config.jobs.threads; "storing");
    std::thread::scope(|scope| {
        // A fault of either stops the other.
        let _stop_all = StopAll(&shutdown);
        type Part<'a> = Box<dyn FnOnce() -> anyhow::Result<()> + Send + 'a>;
        let shutdown = &shutdown;
        let worker = worker.as_ref().map(|part| Box::new(move || Ok(part.run(shutdown)?)) as Part);
        let watcher = watcher.as_ref().map(|part| Box::new(move || Ok(part.run(shutdown)?)) as Part);
        let teller = teller.as_ref().map(|part| Box::new(move || Ok(part.run(shutdown)?)) as Part);
        let pulse = pulse.as_ref().map(|part| Box::new(move || Ok(part.run(shutdown)?)) as Part);
        let running: Vec<_> =
            [("jobs", worker), ("alerts", watcher), ("receivers", teller), ("heartbeat", pulse)]
                .into_iter()
                .filter_map(|(name, part)| Some((name, part?)))
                .map(|(name, part)| {
                    let thread = scope.spawn(move || {
                        let _stop_all = StopAll(shutdown);
                        part()
                    });
                    (name, thread)
                })
                .collect();
        writers.run(&consumer, shutdown)?;
        for (name, thread) in running {
            thread.join().map_err(|_| anyhow::anyhow!("the thread of the {name} panicked"))??;
        }
        anyhow::Ok(())
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
