//! Up to where each site is accounted for, kept across restarts.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;

use crate::mutex::lock;
use crate::schedule::Schedule;

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

/// Watermarks in memory: gone with the process, so that every site is new after a restart.
#[derive(Debug, Default)]
pub struct MemoryWatermarks(Mutex<BTreeMap<String, Watermark>>);

impl Watermarks for MemoryWatermarks {
    fn load(&self) -> Vec<Watermark> {
        lock(&self.0).values().cloned().collect()
    }

    fn note(&self, watermark: &Watermark) {
        let mut marks = lock(&self.0);
        match marks.get_mut(&watermark.site) {
            Some(mark) => mark.clone_from(watermark),
            None => drop(marks.insert(watermark.site.clone(), watermark.clone())),
        }
    }

    fn forget(&self, site: &str) {
        lock(&self.0).remove(site);
    }
}
