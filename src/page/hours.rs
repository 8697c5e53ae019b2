//! The last hours of some sites.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;

use super::histogram::Histogram;
use crate::database::DatabaseError;

/// How many hours a sparkline has, the current one included.
pub(super) const HOURS: usize = 24;

/// The response times of a site in the last [`HOURS`] hours.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// The time in microseconds that 95 % of the checks did not exceed.
    pub p95_us: Option<u32>,
    /// The same of each hour, the oldest first.
    pub p95_by_hour_us: Vec<Option<u32>>,
}

/// Reads the last hours of the sites with these numbers.
///
/// # Errors
/// [`DatabaseError::Statement`].
pub(super) fn recent(
    client: &mut Client,
    site_ids: &[i32],
    now: Timestamp,
) -> Result<HashMap<i32, Recent>, DatabaseError> {
    let fault = DatabaseError::statement("cannot read the last hours");
    let last = Timestamp::from_second(now.as_second().div_euclid(3_600) * 3_600).unwrap_or(now);
    let first = last.saturating_sub(SignedDuration::from_hours(HOURS as i64 - 1)).unwrap_or(last);
    let mut sites: HashMap<i32, Vec<Histogram>> = HashMap::new();
    let rows = client
        .query(include_str!("../../sql/queries/page/recent_hours.sql"), &[&site_ids, &first])
        .map_err(fault)?;
    for row in rows {
        let hour: Timestamp = row.get("hour");
        let place = usize::try_from(hour.duration_since(first).as_hours()).unwrap_or(HOURS);
        let hours = sites.entry(row.get("site_id")).or_insert_with(|| vec![Histogram::default(); HOURS]);
        if let Some(histogram) = hours.get_mut(place) {
            let (buckets, counts): (Vec<i16>, Vec<i32>) = (row.get("buckets"), row.get("counts"));
            histogram.add(&buckets, &counts);
        }
    }
    let recent = |(site_id, hours): (i32, Vec<Histogram>)| {
        let p95_by_hour_us = hours.iter().map(|hour| hour.percentile(0.95)).collect();
        let mut all = Histogram::default();
        hours.iter().for_each(|hour| all.merge(hour));
        (site_id, Recent { p95_us: all.percentile(0.95), p95_by_hour_us })
    };
    Ok(sites.into_iter().map(recent).collect())
}
