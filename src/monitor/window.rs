//! A maintenance, asked instant by instant.

use jiff::Timestamp;

use crate::site::{Maintenance, Site};

/// A maintenance, and the stretch of time asked about last.
#[derive(Debug)]
pub(super) struct Window {
    maintenance: Maintenance,
    known: (Timestamp, Timestamp, bool),
}

impl Window {
    pub(super) fn new(maintenance: Maintenance) -> Window {
        Window { maintenance, known: (Timestamp::MAX, Timestamp::MAX, false) }
    }

    pub(super) fn covers(&mut self, site: &Site, instant: Timestamp) -> bool {
        if !(self.known.0..self.known.1).contains(&instant) {
            self.known = self.maintenance.stretch_at(instant);
        }
        self.known.2 && self.maintenance.applies_to(site)
    }
}
