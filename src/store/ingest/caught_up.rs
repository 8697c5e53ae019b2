//! Which partitions are stored up to their end. Whoever judges sites needs to know: a site without new results is silent
//! only if no result of it waits in Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::held::Held;
use crate::kafka::Consumer;

/// How often Kafka is asked about a partition.
const APART: Duration = Duration::from_secs(2);
/// How long it is asked at once, because the writer waits for the answers. What is left is asked at the next heartbeat.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long it is left alone after it did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// When Kafka was asked about which partition.
#[derive(Default)]
pub(super) struct CaughtUp {
    asked: BTreeMap<i32, Instant>,
    silent_until: Option<Instant>,
}

impl CaughtUp {
    /// Asks about the held partitions whose time it is, those that were asked about longest ago first. Returns those of
    /// which every record is stored.
    pub(super) fn look(&mut self, consumer: &mut dyn Consumer, held: &BTreeMap<i32, Held>) -> Vec<i32> {
        let begun = Instant::now();
        if self.silent_until.is_some_and(|until| begun < until) {
            return Vec::new();
        }
        self.asked.retain(|partition, _| held.contains_key(partition));
        let due = |asked: &Option<Instant>| asked.is_none_or(|asked| begun >= asked + APART);
        let mut next: Vec<(Option<Instant>, i32, i64)> = held
            .iter()
            .filter_map(|(partition, held)| {
                Some((self.asked.get(partition).copied(), *partition, held.claim.next_offset?))
            })
            .filter(|(asked, ..)| due(asked))
            .collect();
        next.sort_unstable();
        let mut at_end = Vec::new();
        for (_, partition, next_offset) in next {
            if begun.elapsed() >= AT_ONCE {
                break;
            }
            self.asked.insert(partition, begun);
            match consumer.offsets(partition) {
                Ok(range) if range.end <= next_offset => at_end.push(partition),
                Ok(_) => {}
                Err(error) => {
                    log::debug!(partition, error = error.to_string(); "cannot ask for the end of a partition");
                    self.silent_until = Some(Instant::now() + AFTER_FAILURE);
                    break;
                }
            }
        }
        at_end
    }
}
