//! The account of what an outbox had to let go of: gaps by site and location, neighbours merged.

use std::collections::{BTreeMap, VecDeque};

use crate::result::{CheckResult, Gap, GapReason, GapRecord, Record, RecordVersion};

/// Gaps that wait to be sent, at most `capacity` of them as long as no site has its first.
pub(super) struct Gaps {
    capacity: usize,
    by_site: BTreeMap<(String, String), VecDeque<GapRecord>>,
    count: usize,
}

impl Gaps {
    pub fn new(capacity: usize) -> Gaps {
        Gaps { capacity, by_site: BTreeMap::new(), count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Accounts for a record that will not be sent: a result for `reason`, a gap for its own.
    pub fn cover(&mut self, record: Record, reason: GapReason) {
        match record {
            Record::Result(result) => self.add(gap_of(&result, reason)),
            Record::Gap(gap) => self.add(gap),
        }
    }

    /// Neighbours merge. Where there are too many gaps strangers merge too: the stretch then spans instants that
    /// have rows, and `instants` says how many have none.
    pub fn add(&mut self, gap: GapRecord) {
        let gaps = self.by_site.entry((gap.site.clone(), gap.location.clone())).or_default();
        let full = self.count >= self.capacity;
        match gaps.back_mut() {
            Some(last) if last.gap.reason == gap.gap.reason && (full || adjoins(&last.gap, &gap.gap)) => {
                last.gap.to = last.gap.to.max(gap.gap.to);
                last.gap.from = last.gap.from.min(gap.gap.from);
                last.gap.instants += gap.gap.instants;
            }
            _ => {
                gaps.push_back(gap);
                self.count += 1;
            }
        }
    }

    /// Takes out the first gap, after which nothing merges with it any more.
    pub fn pop(&mut self) -> Option<GapRecord> {
        let mut entry = self.by_site.first_entry()?;
        let gap = entry.get_mut().pop_front();
        if entry.get().is_empty() {
            entry.remove();
        }
        self.count -= usize::from(gap.is_some());
        gap
    }

    pub fn iter(&self) -> impl Iterator<Item = &GapRecord> {
        self.by_site.values().flatten()
    }
}

fn adjoins(a: &Gap, b: &Gap) -> bool {
    a.to == Some(b.from) || b.to == Some(a.from)
}

fn gap_of(result: &CheckResult, reason: GapReason) -> GapRecord {
    GapRecord {
        v: RecordVersion,
        site: result.site.clone(),
        location: result.location.clone(),
        checker: result.checker.clone(),
        gap: Gap { from: result.scheduled_at, to: result.next_at, instants: 1, reason },
    }
}
