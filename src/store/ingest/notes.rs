//! Notes for those who judge sites: which locations a batch has news of.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::batch::Batch;
use super::columns::Instant;
use crate::record::Outcome;

/// Notes sites and locations.
pub(super) const NOTE: &str = include_str!("../../../sql/queries/ingest/note_alerts.sql");

/// The columns of [`NOTE`].
#[derive(Default)]
pub(super) struct News {
    pub sites: Vec<i32>,
    pub locations: Vec<i32>,
    pub newest: Vec<Instant>,
    /// Whether there is a failure or a slow success.
    pub bad: Vec<bool>,
}

impl News {
    /// What `batch` has news of, each site and location once.
    pub(super) fn of(batch: &Batch) -> News {
        let results = batch.results.iter().map(|row| {
            let bad = row.result.outcome == Outcome::Failure || row.result.degraded;
            (row.ids.site, row.ids.location, row.result.scheduled_at, bad)
        });
        // A gap is looked for after the newest result, so it is noted as just before itself.
        let before = |from: Timestamp| from.checked_sub(SignedDuration::from_secs(1)).unwrap_or(from);
        let gaps =
            batch.gaps.iter().map(|row| (row.ids.site, row.ids.location, before(row.gap.gap.from), false));
        let mut places = BTreeMap::new();
        for (site, location, at, bad) in results.chain(gaps) {
            let place = places.entry((site, location)).or_insert((at, bad));
            *place = (at.max(place.0), bad || place.1);
        }
        let mut news = News::default();
        for ((site, location), (at, bad)) in places {
            news.sites.push(site);
            news.locations.push(location);
            news.newest.push(Instant(at));
            news.bad.push(bad);
        }
        news
    }
}
