//! Where one site stands in the account.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::watermark::Watermark;
use crate::record::Gap;
use crate::schedule::Schedule;
use crate::site::Site;

/// Where a site stands.
#[derive(Debug)]
pub(super) struct Track {
    pub site: Arc<Site>,
    /// The schedule in force; the site's own, except while what an earlier one demanded is made up for.
    pub schedule: Schedule,
    /// Everything up to here was handed out.
    pub handed_out_until: Timestamp,
    /// What is announced: the next instant to be handed out.
    pub next: Option<Timestamp>,
    /// Handed out and not settled, oldest first.
    pub open: VecDeque<Open>,
    pub noted: Option<Timestamp>,
}

/// What is handed out, and not settled.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub at: Timestamp,
    pub owed: Owed,
}

/// What a site's chain lacks as long as it is open.
#[derive(Clone, Debug)]
pub(super) enum Owed {
    /// The row of an instant, and the instant after it.
    Row(Option<Timestamp>),
    Gap(Gap),
    /// The beginning of the chain.
    Begin,
}

impl Track {
    pub(super) fn new(site: Arc<Site>, schedule: Schedule, until: Timestamp) -> Track {
        let next = schedule.next_after(until);
        Track { site, schedule, handed_out_until: until, next, open: VecDeque::new(), noted: None }
    }

    pub(super) fn open(&mut self, at: Timestamp, owed: Owed) {
        let place = self.open.partition_point(|open| open.at <= at);
        self.open.insert(place, Open { at, owed });
    }

    /// Whether the row of the instant `at` is still to come.
    pub(super) fn awaits_row(&self, at: Timestamp) -> bool {
        self.open.iter().any(|open| open.at == at && matches!(open.owed, Owed::Row(_)))
    }

    /// Notes that what was owed at `at` is in the outbox. The watermark, if that has moved it.
    pub(super) fn settle(&mut self, at: Timestamp) -> Option<Watermark> {
        // What a reload has closed is settled already.
        let place = self.open.iter().position(|open| open.at == at)?;
        self.open.remove(place);
        let until = match self.open.front() {
            Some(Open { owed: Owed::Begin, .. }) => return None,
            Some(open) => (open.at - SignedDuration::from_secs(1)).min(self.handed_out_until),
            None => self.handed_out_until,
        };
        if self.noted >= Some(until) {
            return None;
        }
        self.noted = Some(until);
        Some(Watermark::new(&self.site.key, until, &self.schedule))
    }
}
