//! Which partitions are stored up to their end. Whoever judges sites needs to know: a site without new results is silent
//! only if no result of it waits in Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::held::Held;
use crate::kafka::Consumer;

/// How often Kafka is asked.
const APART: Duration = Duration::from_secs(2);
/// How long it is left alone after it did not answer, because each question holds the writer up.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// When Kafka is to be asked.
#[derive(Default)]
pub(super) struct CaughtUp {
    next: Option<Instant>,
}

impl CaughtUp {
    /// Asks, if it is time, and returns the held partitions of which every record is stored.
    pub(super) fn look(&mut self, consumer: &mut dyn Consumer, held: &BTreeMap<i32, Held>) -> Vec<i32> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.next = Some(now + APART);
        let mut at_end = Vec::new();
        for (partition, held) in held {
            let Some(next_offset) = held.claim.next_offset else { continue };
            match consumer.offsets(*partition) {
                Ok(range) if range.end <= next_offset => at_end.push(*partition),
                Ok(_) => {}
                Err(error) => {
                    log::debug!(partition, error = error.to_string(); "cannot ask for the end of a partition");
                    self.next = Some(Instant::now() + AFTER_FAILURE);
                    break;
                }
            }
        }
        at_end
    }
}
