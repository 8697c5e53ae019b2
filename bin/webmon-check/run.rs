//! `webmon-check run`: sites to monitor to outbox to Kafka, until a stop is asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use webmon::check::PoolOptions;
use webmon::config::{Check, Role, Watch};
use webmon::kafka::{self, KafkaError};
use webmon::monitor::{MemoryWatermarks, Monitor, MonitorOptions, Watermarks};
use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{MemoryOutbox, Outbox, Publisher, Spool, SpoolWatermarks};
use webmon::shutdown::Shutdown;

use crate::load::warn_of_load;
use crate::reload::reload;
use crate::settings::{origin, settings};
use crate::support::signals;
use crate::trust::warn_of_unverified;

/// How long what waits in the outbox may take to reach Kafka after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(15);
/// The same for a spool, from which it can be sent after the next start as well.
const SPOOL_DRAIN: Duration = Duration::from_secs(3);
/// How long after the grace of a stop the program ends itself, whatever hangs: time for the disk to answer, for Kafka to
/// take a last round, and for the spool to be closed.
const LAST_RESORT: Duration = Duration::from_secs(60);
/// How often the files of the configuration are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Sites to monitor to outbox to Kafka; ended in the same order, so that nothing is left behind.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let mut files = Watch::new(path);
    let config = &files.load(Role::Check)?;
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    let reload_asked = signals::flag_on_hangup()?;
    raise_open_files(config.check.threads)?;

    signals::end_after(&shutdown, config.check.shutdown_grace + LAST_RESORT)?;
    let spool = match &config.check.spool {
        Some(spool) => Some(Arc::new(Spool::open(SpoolOptions::new(&spool.dir, spool.max_size))?)),
        None => None,
    };
    let (outbox, watermarks, drain): (Arc<dyn Outbox>, Arc<dyn Watermarks>, Duration) = match &spool {
        Some(spool) => {
            let watermarks = SpoolWatermarks::new(Arc::clone(spool), &config.check.location);
            watermarks.end_other_locations(&config.check.checker, Timestamp::now());
            (Arc::clone(spool) as _, Arc::new(watermarks), SPOOL_DRAIN)
        }
        None => {
            (Arc::new(MemoryOutbox::new(config.check.outbox)), Arc::new(MemoryWatermarks::default()), DRAIN)
        }
    };
    let publisher =
        Publisher::start(outbox.clone(), kafka::producer(&config.kafka)?, drain).context("cannot publish")?;
    let options = MonitorOptions {
        pool: PoolOptions {
            threads: config.check.threads,
            queue: config.check.queue,
            max_lateness: config.check.max_lateness,
            ..PoolOptions::new(origin(&config.check))
        },
        settings: settings(&config.check)?,
        backfill: config.check.backfill,
        max_backlog: max_backlog(&config.check),
        sentinels: config.check.sentinels.clone(),
    };
    let sink = Arc::new(Arc::clone(&outbox));
    let monitor = Monitor::start(config.sites.clone(), options, sink, watermarks)?;
    log::info!(
        sites = config.sites.len(), location = config.check.location, checker = config.check.checker,
        topic = config.kafka.topic;
        "checking"
    );
    warn_of_load(config);
    warn_of_unverified(&config.sites);

    // Checks begin at once; that their results have nowhere to go is worth ending for, an absent broker is not.
    let fault = match kafka::producer(&config.kafka).and_then(|mut producer| producer.partitions()) {
        Err(error) if !matches!(error, KafkaError::Unreachable { .. }) => Some(error),
        Err(error) => {
            log::warn!(error = error.to_string(); "kafka does not answer: results wait");
            None
        }
        Ok(_) => None,
    };
    let mut running = true;
    while fault.is_none() && running && !shutdown.wait(LOOK) {
        running = monitor.is_running()
            && publisher.is_running()
            && spool.as_ref().is_none_or(|spool| spool.is_running());
        // Both are asked, because a change is noticed at the second look.
        let changed = files.has_changed();
        if reload_asked.swap(false, Ordering::Relaxed) || changed {
            reload(&mut files, config, &monitor);
        }
    }

    // Also where nobody has asked for it: from here on the time is limited.
    shutdown.request();
    monitor.stop(config.check.shutdown_grace);
    let published = publisher.stop();
    let written = spool.map_or(Ok(()), |spool| spool.close());
    let (waiting, dropped) = (outbox.len(), outbox.dropped());
    written?;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    if let Some(panicked) = monitor.fault() {
        return Err(panicked.into());
    }
    published?;
    if !running {
        bail!("the scheduler ended by itself");
    }
    if waiting > 0 && config.check.spool.is_none() {
        bail!("kafka did not take {waiting} results before the end: they are lost");
    }
    log::info!(dropped, waiting; "stopped");
    Ok(())
}

/// Raises the limit on open files to what threads need at worst, and refuses more threads than fit: a check that gets no
/// descriptor is missed.
fn raise_open_files(threads: usize) -> anyhow::Result<()> {
    /// A connection, or two look-ups at two name servers.
    const PER_CHECK: u64 = 4;
    /// Kafka's connections, the spool, the sentinels, logs.
    const OTHERS: u64 = 128;
    let needed = threads as u64 * PER_CHECK + OTHERS;
    let raised =
        rlimit::increase_nofile_limit(needed.max(1_024)).context("cannot raise the limit on open files")?;
    if raised < needed {
        let fewer = match raised.saturating_sub(OTHERS) / PER_CHECK {
            0 => String::new(),
            threads => format!(", or set check.threads to at most {threads}"),
        };
        bail!(
            "check.threads {threads} needs up to {needed} open files, and the limit is {raised}: raise it (ulimit -Hn, or \
             LimitNOFILE= of systemd){fewer}"
        );
    }
    Ok(())
}

/// The most instants made up for at once: half of what the outbox holds, about 1 kB each, so that they push no results
/// out of it.
fn max_backlog(check: &Check) -> u64 {
    match &check.spool {
        Some(spool) => (spool.max_size / 2 / 1_024).min(1_000_000),
        None => check.outbox as u64 / 2,
    }
}
