//! The account of what an outbox had to let go of: gaps by site, location and reason, merged with what they touch.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::result::{Gap, GapReason, GapRecord, Record};

/// The gaps of one site, location and reason, by their beginning.
type Stretches = BTreeMap<Timestamp, GapRecord>;

/// Gaps that wait to be sent: at most `capacity`, and one more for each site, location and reason.
pub(super) struct Gaps {
    capacity: usize,
    stretches: BTreeMap<(String, String, GapReason), Stretches>,
    count: usize,
}

impl Gaps {
    pub fn new(capacity: usize) -> Gaps {
        Gaps { capacity, stretches: BTreeMap::new(), count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Accounts for a record that will not be sent: a result for `reason`, a gap for its own.
    pub fn cover(&mut self, record: Record, reason: GapReason) {
        match record {
            Record::Result(result) => self.add(result.gap(reason)),
            Record::Gap(gap) => self.add(gap),
        }
    }

    /// Adds a gap, merged with whatever it touches.
    pub fn add(&mut self, gap: GapRecord) {
        let key = (gap.site.clone(), gap.location.clone(), gap.gap.reason);
        let stretches = self.stretches.entry(key).or_default();
        let before = stretches.len();
        join(stretches, gap, self.count >= self.capacity);
        self.count = self.count + stretches.len() - before;
    }

    /// Takes out the first gap, after which nothing merges with it any more.
    pub fn pop(&mut self) -> Option<GapRecord> {
        let mut entry = self.stretches.first_entry()?;
        let gap = entry.get_mut().pop_first().map(|(_, gap)| gap);
        if entry.get().is_empty() {
            entry.remove();
        }
        self.count -= usize::from(gap.is_some());
        gap
    }

    pub fn iter(&self) -> impl Iterator<Item = &GapRecord> {
        self.stretches.values().flat_map(BTreeMap::values)
    }
}

/// Adds `gap`, merged with whatever it touches. Where there are too many gaps it merges with a stranger too: the
/// stretch then spans instants that have rows, and `instants` says how many have none.
fn join(stretches: &mut Stretches, mut gap: GapRecord, too_many: bool) {
    let mut found = touching(stretches, &gap.gap);
    if found.is_none() && too_many {
        found = stretches
            .range(..gap.gap.from)
            .next_back()
            .or_else(|| stretches.iter().next())
            .map(|(from, _)| *from);
    }
    while let Some(other) = found.and_then(|from| stretches.remove(&from)) {
        gap.gap = union(&other.gap, &gap.gap);
        found = touching(stretches, &gap.gap);
    }
    stretches.insert(gap.gap.from, gap);
}

/// The beginning of a stretch that adjoins or overlaps `gap`.
fn touching(stretches: &Stretches, gap: &Gap) -> Option<Timestamp> {
    let before = stretches
        .range(..=gap.from)
        .next_back()
        .filter(|(from, other)| **from == gap.from || other.gap.to.is_some_and(|to| to >= gap.from));
    let after =
        || stretches.range(gap.from..).next().filter(|(from, _)| gap.to.is_some_and(|to| to >= **from));
    before.or_else(after).map(|(from, _)| *from)
}

fn union(a: &Gap, b: &Gap) -> Gap {
    let to = match (a.to, b.to) {
        (Some(a), Some(b)) => Some(a.max(b)),
        // No end: the site was retired there, unless the other one comes later.
        _ if a.from > b.from => a.to,
        _ => b.to,
    };
    let mut gap = Gap { from: a.from.min(b.from), to, instants: 1, reason: b.reason };
    // An instant may be in both: as a result and, later, as a better one.
    gap.instants = a.instants.saturating_add(b.instants).min(gap.max_instants());
    gap
}
