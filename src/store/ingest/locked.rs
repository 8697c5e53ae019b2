//! Decides which partitions to log that are free but that nobody can take, because a process of the database server
//! keeps their rows locked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long until the same partition is logged again.
const AGAIN: Duration = Duration::from_secs(60);

/// The partitions seen locked so far.
#[derive(Default)]
pub(crate) struct Locked {
    seen: BTreeMap<i32, Seen>,
    looked_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Seen {
    since: Instant,
    told_at: Option<Instant>,
}

impl Locked {
    /// Notes the partitions that are `locked` at `now`. Returns those to log, with how long each has been locked: first
    /// after a lease, then once a minute. After a lease without a look it starts over, because nobody knows what
    /// happened meanwhile.
    pub(super) fn look(&mut self, now: Instant, lease: Duration, locked: &[i32]) -> Vec<(i32, Duration)> {
        if self.looked_at.replace(now).is_some_and(|at| now.duration_since(at) >= lease) {
            self.seen.clear();
        }
        self.seen.retain(|partition, _| locked.contains(partition));
        let mut named = Vec::new();
        for &partition in locked {
            let seen = self.seen.entry(partition).or_insert(Seen { since: now, told_at: None });
            let lasts = now.duration_since(seen.since);
            if lasts >= lease && seen.told_at.is_none_or(|at| now.duration_since(at) >= AGAIN) {
                seen.told_at = Some(now);
                named.push((partition, lasts));
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    /// The seconds at which partition 1 is named, and for how long it had been locked, of looks at these seconds.
    fn named(looks: impl Iterator<Item = (u64, &'static [i32])>) -> Vec<(u64, u64)> {
        let (mut book, start) = (Locked::default(), Instant::now());
        let mut named = Vec::new();
        for (second, locked) in looks {
            for (partition, lasts) in book.look(start + Duration::from_secs(second), LEASE, locked) {
                assert_eq!(partition, 1);
                named.push((second, lasts.as_secs()));
            }
        }
        named
    }

    #[test]
    fn a_partition_is_named_after_a_lease_and_then_once_a_minute() {
        assert_eq!(named((0..=140).map(|s| (s, &[1][..]))), [(10, 10), (70, 70), (130, 130)]);
    }

    #[test]
    fn one_that_is_locked_for_a_moment_now_and_then_is_not_named() {
        // It was free in between, whether that was seen or nobody looked.
        assert_eq!(named((0..60).map(|s| (s, if s % 5 == 4 { &[][..] } else { &[1] }))), []);
        assert_eq!(named([0, 3_600, 7_200].map(|s| (s, &[1][..])).into_iter()), []);
    }
}
