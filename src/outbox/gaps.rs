//! The account of what an outbox had to drop: gaps by site, location and reason, merged with what they touch.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::record::{Gap, GapReason, GapRecord, Record};

/// The gaps of one site, location and reason, by their beginning.
type Stretches = BTreeMap<Timestamp, Stretch>;

/// Gaps that wait to be sent: at most `capacity`, and one more for each site, location and reason.
pub(super) struct Gaps {
    capacity: usize,
    stretches: BTreeMap<(String, String, GapReason), Stretches>,
    count: usize,
}

impl Gaps {
    pub(super) fn new(capacity: usize) -> Gaps {
        Gaps { capacity, stretches: BTreeMap::new(), count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Accounts for a record that will not be sent: a result for `reason`, a gap for its own.
    pub(super) fn cover(&mut self, record: Record, reason: GapReason) {
        match record {
            Record::Result(result) => self.add(result.gap(reason)),
            Record::Gap(gap) => self.add(gap),
        }
    }

    /// Adds a gap, merged with whatever it touches.
    pub(super) fn add(&mut self, gap: GapRecord) {
        let key = (gap.site.clone(), gap.location.clone(), gap.gap.reason);
        let stretches = self.stretches.entry(key).or_default();
        let before = stretches.len();
        join(stretches, Stretch::new(gap), self.count >= self.capacity);
        self.count = self.count + stretches.len() - before;
    }

    /// Takes out the first gap, after which nothing merges with it any more.
    pub(super) fn pop(&mut self) -> Option<GapRecord> {
        let mut entry = self.stretches.first_entry()?;
        let gap = entry.get_mut().pop_first().map(|(_, stretch)| stretch.record);
        if entry.get().is_empty() {
            entry.remove();
        }
        self.count -= usize::from(gap.is_some());
        gap
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &GapRecord> {
        self.stretches.values().flat_map(BTreeMap::values).map(|stretch| &stretch.record)
    }
}

/// A gap that still grows, and what is known of the instants it counts, so that none is counted twice.
struct Stretch {
    record: GapRecord,
    /// Every instant up to this one is counted.
    whole_to: Timestamp,
    /// None after this one is.
    last: Timestamp,
}

impl Stretch {
    fn new(record: GapRecord) -> Stretch {
        let Gap { from, to, instants, reason } = &record.gap;
        let last = match to {
            _ if *instants == 1 => *from,
            Some(to) => to.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(*from),
            None => Timestamp::MAX,
        };
        // The calendar says how many instants a checker was down for. Another gap of several may have holes.
        let whole = *instants == 1 || *reason == GapReason::CheckerDown;
        Stretch { whole_to: if whole { last } else { *from }, last, record }
    }

    fn gap(&self) -> &Gap {
        &self.record.gap
    }

    /// This one and a newer one in one.
    fn with(&self, newer: Stretch) -> Stretch {
        let (a, b) = if self.gap().from <= newer.gap().from { (self, &newer) } else { (&newer, self) };
        let (first, second) = (a.gap(), b.gap());
        let to = match (first.to, second.to) {
            (Some(first), Some(second)) => Some(first.max(second)),
            // No end: the site was retired there, unless the other one comes later.
            _ => second.to,
        };
        let overlap = second.from <= a.whole_to;
        let twice = if b.last <= a.whole_to {
            second.instants
        } else if first.from == second.from && a.last <= b.whole_to {
            first.instants
        } else {
            // Of the others it is not known: at worst they are counted twice.
            u64::from(overlap)
        };
        let whole_to = if overlap {
            a.whole_to.max(b.whole_to)
        } else if a.whole_to == a.last && first.to == Some(second.from) {
            b.whole_to
        } else {
            a.whole_to
        };
        let mut gap = Gap { from: first.from, to, instants: 1, reason: second.reason };
        let instants = first.instants.saturating_add(second.instants) - twice;
        gap.instants = instants.min(gap.max_instants());
        let last = a.last.max(b.last);
        Stretch { record: GapRecord { gap, ..newer.record }, whole_to, last }
    }
}

/// Adds a stretch, merged with whatever it touches. Where there are too many it merges with a stranger too: it then
/// spans instants that have rows, and `instants` says how many have none.
fn join(stretches: &mut Stretches, mut stretch: Stretch, too_many: bool) {
    let mut found = touching(stretches, stretch.gap());
    if found.is_none() && too_many {
        found = stretches
            .range(..stretch.gap().from)
            .next_back()
            .or_else(|| stretches.iter().next())
            .map(|(from, _)| *from);
    }
    while let Some(other) = found.and_then(|from| stretches.remove(&from)) {
        stretch = other.with(stretch);
        found = touching(stretches, stretch.gap());
    }
    stretches.insert(stretch.gap().from, stretch);
}

/// The beginning of a stretch that adjoins or overlaps `gap`.
fn touching(stretches: &Stretches, gap: &Gap) -> Option<Timestamp> {
    let before = stretches
        .range(..=gap.from)
        .next_back()
        .filter(|(from, other)| **from == gap.from || other.gap().to.is_some_and(|to| to >= gap.from));
    let after =
        || stretches.range(gap.from..).next().filter(|(from, _)| gap.to.is_some_and(|to| to >= **from));
    before.or_else(after).map(|(from, _)| *from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::record::RecordVersion;

    /// A gap of the one site, by the numbers of its instants' seconds.
    fn gap(from: i64, to: i64, instants: u64, reason: GapReason) -> GapRecord {
        let at = |second| Timestamp::from_second(second).unwrap();
        GapRecord {
            v: RecordVersion,
            site: "shop".to_owned(),
            location: "here".to_owned(),
            checker: "test".to_owned(),
            gap: Gap { from: at(from), to: Some(at(to)), instants, reason },
        }
    }

    fn drain(gaps: &mut Gaps) -> Vec<GapRecord> {
        std::iter::from_fn(|| gaps.pop()).collect()
    }

    /// What the gaps should be: each stretch of instants that follow each other in the schedule, counted one by one.
    fn reference(instants: &[i64], dropped: &BTreeSet<usize>) -> Vec<GapRecord> {
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for n in dropped {
            match stretches.last_mut() {
                Some((_, end)) if *end == *n => *end = n + 1,
                _ => stretches.push((*n, n + 1)),
            }
        }
        stretches
            .into_iter()
            .map(|(from, to)| gap(instants[from], instants[to], (to - from) as u64, GapReason::OutboxFull))
            .collect()
    }

    /// The instants of a schedule, with pauses of any length between them, and which of them are dropped, in which order.
    fn drops() -> impl Strategy<Value = (Vec<i64>, Vec<usize>)> {
        prop::collection::vec(1..100i64, 2..30).prop_flat_map(|pauses| {
            let instants: Vec<i64> = pauses
                .iter()
                .scan(0, |at, pause| {
                    *at += pause;
                    Some(*at)
                })
                .collect();
            let last = instants.len() - 1;
            (Just(instants), prop::collection::vec(0..last, 0..60))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn merged_gaps_count_each_instant_once((instants, drops) in drops()) {
            let mut gaps = Gaps::new(1_000);
            for n in &drops {
                gaps.add(gap(instants[*n], instants[n + 1], 1, GapReason::OutboxFull));
            }
            let expected = reference(&instants, &drops.into_iter().collect());
            prop_assert_eq!(gaps.len(), expected.len());
            prop_assert_eq!(drain(&mut gaps), expected);
            prop_assert_eq!(gaps.len(), 0);
        }

        #[test]
        fn where_strangers_merge_no_instant_is_left_out((instants, drops) in drops(), capacity in 1..4usize) {
            let mut gaps = Gaps::new(capacity);
            for n in &drops {
                gaps.add(gap(instants[*n], instants[n + 1], 1, GapReason::OutboxFull));
            }
            prop_assert!(gaps.len() <= capacity + 1);
            let distinct: BTreeSet<usize> = drops.iter().copied().collect();
            let all = drain(&mut gaps);
            let counted: u64 = all.iter().map(|gap| gap.gap.instants).sum();
            // Once each where none came twice, and never fewer.
            prop_assert!((distinct.len()..=drops.len()).contains(&(counted as usize)), "{}", counted);
            for n in distinct {
                let at = Timestamp::from_second(instants[n]).unwrap();
                let within = |gap: &GapRecord| gap.gap.from <= at && gap.gap.to.is_some_and(|to| at < to);
                prop_assert_eq!(all.iter().filter(|gap| within(gap)).count(), 1);
            }
        }
    }

    #[test]
    fn the_time_a_checker_was_down_counts_once_however_often_it_is_recorded() {
        let down = |from, to| gap(from, to, (to - from) as u64 / 10, GapReason::CheckerDown);
        // The second start found the watermark of before the first one.
        for records in [[down(100, 200), down(100, 400)], [down(100, 400), down(100, 200)]] {
            let mut gaps = Gaps::new(10);
            records.into_iter().for_each(|record| gaps.add(record));
            assert_eq!(drain(&mut gaps), [down(100, 400)]);
        }
    }

    #[test]
    fn a_new_schedules_instants_within_the_last_pause_of_the_old_one_count_too() {
        let mut gaps = Gaps::new(10);
        for (from, to) in [(0, 60), (60, 120), (70, 80), (80, 90), (90, 100)] {
            gaps.add(gap(from, to, 1, GapReason::OutboxFull));
        }
        assert_eq!(drain(&mut gaps), [gap(0, 120, 5, GapReason::OutboxFull)]);
    }
}
