//! Up to where each site is accounted for, kept across restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::account::{Account, Limits, Step};
use crate::outbox::{Outbox, Spool};
use crate::schedule::Schedule;
use crate::site::Origin;

/// Up to where a site's instants are in the outbox, and by which schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The site's key.
    pub site: String,
    /// Every instant up to this one, itself included, has its row or gap in the outbox. A whole second, not
    /// necessarily an instant.
    pub until: Timestamp,
    /// The schedule's expression.
    pub expression: String,
    /// The schedule's zone.
    pub timezone: String,
}

impl Watermark {
    /// The watermark of `site` at `until`.
    pub fn new(site: &str, until: Timestamp, schedule: &Schedule) -> Watermark {
        Watermark {
            site: site.to_owned(),
            until,
            expression: schedule.expression().to_owned(),
            timezone: schedule.timezone().to_owned(),
        }
    }
}

/// Keeps the watermarks of one location. What a restart finds must not be ahead of what the outbox has kept:
/// durable ones are written after the outbox's records. Being behind is safe, as what is recorded again is
/// absorbed.
pub trait Watermarks: Send + Sync {
    /// All of them; asked for once, at the start.
    fn load(&self) -> Vec<Watermark>;

    /// Takes note of one, after everything up to it was appended to the outbox. Called once a result, one call at
    /// a time, in order; it must not wait for a disk.
    fn note(&self, watermark: &Watermark);

    /// Forgets a site that was retired.
    fn forget(&self, site: &str);
}

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
        let mut others: BTreeMap<String, Vec<Watermark>> = BTreeMap::new();
        for mark in self.spool.watermarks().load() {
            if mark.location != self.location {
                others.entry(mark.location.clone()).or_default().push(own(mark));
            }
        }
        let sites = others.values().map(Vec::len).sum();
        for (location, marks) in others {
            log::warn!(location, sites = marks.len(); "the checker has another location now: chains are ended");
            // None of its sites is there any more, so no limit is asked for.
            let limits = Limits { max_lateness: Duration::ZERO, backfill: Duration::ZERO, max_backlog: 0 };
            let steps = Account::new(Origin::new(location.as_str(), checker), limits, now).resume(
                marks,
                &[],
                Vec::new(),
            );
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
                self.spool.watermarks().forget(&site, &location);
            }
        }
        sites
    }
}

fn own(mark: crate::outbox::spool::Watermark) -> Watermark {
    let crate::outbox::spool::Watermark { site, instant, expression, timezone, .. } = mark;
    Watermark { site, until: instant, expression, timezone }
}

impl Watermarks for SpoolWatermarks {
    fn load(&self) -> Vec<Watermark> {
        let marks = self.spool.watermarks().load().into_iter();
        marks.filter(|mark| mark.location == self.location).map(own).collect()
    }

    fn note(&self, watermark: &Watermark) {
        let Watermark { site, until, expression, timezone } = watermark;
        self.spool.watermarks().note(site, &self.location, *until, expression, timezone);
    }

    fn forget(&self, site: &str) {
        self.spool.watermarks().forget(site, &self.location);
    }
}

/// Watermarks in memory: gone with the process, so that every site is new after a restart.
#[derive(Debug, Default)]
pub struct MemoryWatermarks(Mutex<BTreeMap<String, Watermark>>);

impl Watermarks for MemoryWatermarks {
    fn load(&self) -> Vec<Watermark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn note(&self, watermark: &Watermark) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match marks.get_mut(&watermark.site) {
            Some(mark) => mark.clone_from(watermark),
            None => drop(marks.insert(watermark.site.clone(), watermark.clone())),
        }
    }

    fn forget(&self, site: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(site);
    }
}
