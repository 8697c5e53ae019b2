//! The windows of maintenance, asked instant by instant.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::site::{Maintenance, Site};

/// The windows that were asked about, and of each the stretch of time asked about last. Many sites have the same ones.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<Maintenance, (Timestamp, Timestamp, bool)>);

impl Windows {
    /// Whether `site` is under maintenance at `instant`.
    pub(super) fn cover(&mut self, site: &Site, instant: Timestamp) -> bool {
        site.maintenance.iter().any(|maintenance| {
            let known = match self.0.get(maintenance) {
                Some(known) if (known.0..known.1).contains(&instant) => *known,
                _ => {
                    let found = maintenance.stretch_at(instant);
                    self.0.insert(maintenance.clone(), found);
                    found
                }
            };
            known.2
        })
    }
}
