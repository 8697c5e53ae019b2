//! The records that the account makes itself: of instants that nobody checks.

use jiff::Timestamp;

use super::step::Step;
use crate::record::{ErrorType, Gap, GapReason, GapRecord, Record, RecordVersion};
use crate::schedule::Due;
use crate::site::{Origin, Site};

/// Makes records in the name of one checker.
#[derive(Debug)]
pub(super) struct Records(pub Origin);

impl Records {
    /// An instant that was missed.
    pub(super) fn missed(
        &self,
        due: &Due<Site>,
        error_type: ErrorType,
        detail: Option<&str>,
        message: &str,
    ) -> Step {
        let mut result = self.0.blank(&due.item, due.scheduled_at, due.next_at);
        result.set_error(error_type, detail, Some(message));
        Step::Record(Record::Result(Box::new(result)))
    }

    /// A gap of `site`.
    pub(super) fn gap(&self, site: &str, gap: Gap) -> Step {
        let Origin { location, checker } = self.0.clone();
        let site = site.to_owned();
        Step::Record(Record::Gap(GapRecord { v: RecordVersion, site, location, checker, gap }))
    }

    /// The gap for an instant that was announced and will not come; none where `next`, the first instant of the
    /// new schedule, is the one announced. Where the new one begins earlier no stretch joins the two: the old
    /// chain ends.
    pub(super) fn taken_back(
        &self,
        site: &str,
        announced: Option<Timestamp>,
        next: Option<Timestamp>,
    ) -> Option<Step> {
        let from = announced.filter(|announced| next != Some(*announced))?;
        let to = next.filter(|next| *next > from);
        Some(self.gap(site, Gap { from, to, instants: 1, reason: GapReason::Rescheduled }))
    }
}
