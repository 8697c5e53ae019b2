//! What the account hands out to be done.

use jiff::Timestamp;

use crate::record::Record;
use crate::schedule::Due;
use crate::site::Site;

/// Something to be done. Once it is in the outbox, [`Account::settle`](super::Account::settle) must be told.
#[derive(Clone, Debug)]
pub enum Step {
    /// Have the site checked; the result is to be appended and settled.
    Check(Due<Site>),
    /// Append this, and settle it.
    Record(Record),
    /// Settle this once everything before it is appended: the site's chain begins here.
    Begin {
        /// The site's key.
        site: String,
        /// Where it begins.
        at: Timestamp,
    },
    /// Forget the site's watermark once everything before this is appended: the site is gone, or begins again.
    Retire {
        /// The site's key.
        site: String,
    },
}

impl Step {
    /// What to settle once this is done. None for a check, as its result is what gets settled, and for a site
    /// that is gone.
    pub fn settles(&self) -> Option<(&str, Timestamp)> {
        match self {
            Step::Check(_) | Step::Retire { .. } => None,
            Step::Record(Record::Result(result)) => Some((&result.site, result.scheduled_at)),
            Step::Record(Record::Gap(gap)) => Some((&gap.site, gap.gap.from)),
            Step::Begin { site, at } => Some((site, *at)),
        }
    }
}
