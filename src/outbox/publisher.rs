//! Moves records from an outbox to their [`Deliver`]: the oldest first, each kept until its own report has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contract::{Outbox, Sequence};
use super::deliver::{Deliver, Undelivered};
use crate::backoff::Backoff;
use crate::panicked::Panicked;
use crate::record::Record;
use crate::shutdown::Shutdown;
use crate::watched::Watched;

/// Records of one round.
const BATCH: usize = 1_000;
const IDLE: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A thread that publishes. Dropped without [`Publisher::stop`] it goes on until the process ends.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use webmon::outbox::{Deliver, MemoryOutbox, Outbox, Publisher, Undelivered};
/// use webmon::record::Record;
///
/// /// Takes everything.
/// struct Anywhere;
///
/// impl Deliver for Anywhere {
///     fn deliver(&mut self, records: &[Record]) -> Vec<Result<(), Undelivered>> {
///         records.iter().map(|_| Ok(())).collect()
///     }
/// }
///
/// let outbox = Arc::new(MemoryOutbox::new(1_000));
/// let publisher = Publisher::start(outbox.clone(), Anywhere, Duration::from_secs(15))?;
/// // … outbox.append(record) …
/// publisher.stop()?;
/// assert!(outbox.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher {
    thread: Watched,
    stop: Shutdown,
}

impl Publisher {
    /// Starts publishing from `outbox` in a thread of its own. After a stop it has `drain` to empty the outbox: at
    /// least the time of one round, as a round is not cut short.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub fn start(
        outbox: Arc<dyn Outbox>,
        deliverer: impl Deliver + 'static,
        drain: Duration,
    ) -> std::io::Result<Publisher> {
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let work = move || publish(outbox.as_ref(), deliverer, &stopped, drain);
        Ok(Publisher { thread: Watched::spawn("publish", work)?, stop })
    }

    /// Whether it still publishes. Once it does not, results wait for ever: end the program, see [`Publisher::stop`].
    pub fn is_running(&self) -> bool {
        self.thread.is_running()
    }

    /// Publishes what waits, for as long as `drain` allowed, and ends. Call it when nothing is appended any more.
    ///
    /// # Errors
    /// [`Panicked`], where outbox or deliverer did.
    pub fn stop(self) -> Result<(), Panicked> {
        self.stop.request();
        self.thread.join()
    }
}

/// Publishes until `stop` is requested, and then goes on until the outbox is empty or `drain` is over.
pub fn publish(outbox: &dyn Outbox, mut deliverer: impl Deliver, stop: &Shutdown, drain: Duration) {
    let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
    let mut draining_since: Option<Instant> = None;
    loop {
        if stop.is_requested() {
            let since = draining_since.get_or_insert_with(Instant::now);
            if outbox.is_empty() || since.elapsed() >= drain {
                return;
            }
        }
        let batch = outbox.peek(BATCH, IDLE);
        if batch.is_empty() {
            continue;
        }
        let (sequences, records): (Vec<Sequence>, Vec<Record>) = batch.into_iter().unzip();
        let mut done = Vec::with_capacity(sequences.len());
        let mut trouble = None;
        for (sequence, report) in sequences.into_iter().zip(deliverer.deliver(&records)) {
            match report {
                Ok(()) => done.push(sequence),
                // The outbox keeps it, or accounts for it; what comes after it goes on.
                Err(Undelivered::Refused(reason)) => outbox.reject(sequence, &reason),
                Err(Undelivered::Retry(error)) => trouble = Some(error),
            }
        }
        outbox.acknowledge(&done);
        match trouble {
            None => backoff.reset(),
            Some(error) => {
                log::warn!(error = error.to_string(), waiting = outbox.len(); "cannot publish, trying again");
                let pause = backoff.pause();
                // A stop cuts the pause short once; afterwards the pause itself must limit the tries.
                if stop.is_requested() {
                    std::thread::sleep(pause.min(drain / 10));
                } else {
                    stop.wait(pause);
                }
            }
        }
    }
}
