//! Moves records from an outbox to Kafka: the oldest first, each kept until its own report has come.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Outbox;
use crate::kafka::{Delivery, Outgoing, Producer};
use crate::shutdown::Shutdown;

/// Records of one round to the broker.
const BATCH: usize = 1_000;
const IDLE: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A thread that publishes.
pub struct Publisher {
    thread: JoinHandle<()>,
    stop: Shutdown,
}

impl Publisher {
    /// Starts publishing from `outbox` in a thread of its own.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub fn start(
        outbox: Arc<dyn Outbox>,
        producer: impl Producer + 'static,
        drain: Duration,
    ) -> std::io::Result<Publisher> {
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || publish(outbox.as_ref(), producer, &stopped, drain))?;
        Ok(Publisher { thread, stop })
    }

    /// Publishes what waits, for as long as `drain` allowed, and ends. Call it when nothing is appended any more.
    pub fn stop(self) {
        self.stop.request();
        if self.thread.join().is_err() {
            log::error!("the publishing thread panicked");
        }
    }
}

/// Publishes until `stop` is requested, and then goes on until the outbox is empty or `drain` is over.
pub fn publish(outbox: &dyn Outbox, mut producer: impl Producer, stop: &Shutdown, drain: Duration) {
    let mut backoff = BACKOFF_MIN;
    let mut drain_until: Option<Instant> = None;
    loop {
        if stop.is_requested() {
            let until = *drain_until.get_or_insert_with(|| Instant::now() + drain);
            if outbox.is_empty() || Instant::now() >= until {
                return;
            }
        }
        let batch = outbox.peek(BATCH, IDLE);
        if batch.is_empty() {
            continue;
        }
        let records: Vec<Outgoing> = batch
            .iter()
            .map(|(_, record)| Outgoing { key: record.key().to_owned(), value: record.encode() })
            .collect();
        let mut done = Vec::with_capacity(batch.len());
        let mut trouble = None;
        for ((sequence, _), delivery) in batch.iter().zip(producer.produce(&records)) {
            match delivery {
                Delivery::Delivered => done.push(*sequence),
                // The outbox keeps it, or accounts for it; what comes after it goes on.
                Delivery::Refused(reason) => outbox.reject(*sequence, &reason),
                Delivery::Retry(error) => trouble = Some(error),
            }
        }
        outbox.acknowledge(&done);
        match trouble {
            None => backoff = BACKOFF_MIN,
            Some(error) => {
                log::warn!(error = error.to_string(), waiting = outbox.len(); "cannot publish, trying again");
                // A stop cuts the pause short once; afterwards the pause itself must limit the tries.
                if !stop.is_requested() {
                    stop.wait(backoff);
                } else {
                    std::thread::sleep(backoff.min(drain / 10));
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}
