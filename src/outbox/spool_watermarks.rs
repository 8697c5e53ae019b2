//! The monitor's watermarks, kept beside the records of a spool.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::contract::Outbox;
use super::spool::Spool;
use crate::monitor::{Account, Limits, Step, Watermark, Watermarks};
use crate::site::Origin;

/// The watermarks of one location that a spool keeps beside its records.
pub struct SpoolWatermarks {
    spool: Arc<Spool>,
    location: String,
}

impl SpoolWatermarks {
    /// Those of `location` in `spool`.
    pub fn new(spool: Arc<Spool>, location: &str) -> SpoolWatermarks {
        SpoolWatermarks { spool, location: location.to_owned() }
    }

    /// Ends the chains of other locations, which a checker leaves behind in its spool when it is given another
    /// location: what is known of them is recorded as for sites that are gone, see [`Account::resume`]. To be called
    /// before the monitor starts; returns how many sites it were.
    pub fn end_other_locations(&self, checker: &str, now: Timestamp) -> usize {
        let mut others = self.spool.watermarks().load();
        others.remove(&self.location);
        let sites = others.values().map(Vec::len).sum();
        for (location, marks) in others {
            log::warn!(location, sites = marks.len(); "the checker has another location now: chains are ended");
            // None of its sites is there any more, so no limit is asked for.
            let limits = Limits { max_lateness: Duration::ZERO, backfill: Duration::ZERO, max_backlog: 0 };
            let steps = Account::new(Origin::new(location.as_str(), checker), limits, now).resume(marks, &[]);
            let mut retired = Vec::new();
            for step in steps {
                match step {
                    Step::Record(record) => self.spool.enqueue(record),
                    Step::Retire { site } => retired.push(site),
                    Step::Check(_) | Step::Begin { .. } => {}
                }
            }
            self.spool.flush();
            for site in retired {
                self.spool.watermarks().forget(&location, &site);
            }
        }
        sites
    }
}

impl Watermarks for SpoolWatermarks {
    fn load(&self) -> Vec<Watermark> {
        self.spool.watermarks().load().remove(&self.location).unwrap_or_default()
    }

    fn note(&self, watermark: &Watermark) {
        self.spool.watermarks().note(&self.location, watermark);
    }

    fn forget(&self, site: &str) {
        self.spool.watermarks().forget(&self.location, site);
    }
}
