//! `slo`: how much uptime a site is to have.

use super::entry::Entry;
use super::table::Table;
use super::units::DAY;
use crate::limits::{MAX_SLO_UPTIME_PPM, MAX_SLO_WINDOW_DAYS};
use crate::site::Slo;

/// Millionths in a percent.
const PERCENT: f64 = 10_000.0;
const DEFAULT_WINDOW_DAYS: u16 = 30;

/// The target that the key `slo` of `table` sets. The inner none is `false`: there is no target.
pub(super) fn slo(table: &Table) -> Option<Option<Slo>> {
    if table.is_off("slo") {
        return Some(None);
    }
    let table = table.table("slo")?;
    if table.get("uptime").is_none() {
        table.missing("uptime", "a percentage, such as 99.9");
    }
    let uptime = table.get("uptime").and_then(|entry| uptime_ppm(&entry));
    let window = match table.get("window") {
        Some(entry) => window_days(&entry),
        None => Some(DEFAULT_WINDOW_DAYS),
    };
    table.refuse_unknown();
    Some(Some(Slo { uptime_ppm: uptime?, window_days: window? }))
}

fn uptime_ppm(entry: &Entry) -> Option<u32> {
    let ppm = entry.number()? * PERCENT;
    let rounded = ppm.round();
    // So close that only the binary form of the number makes the difference.
    let is_whole = (ppm - rounded).abs() < 1e-6;
    if is_whole && (1.0..=f64::from(MAX_SLO_UPTIME_PPM)).contains(&rounded) {
        return Some(rounded as u32);
    }
    entry.out_of_range("0.0001 to 99.9999, with at most 4 decimals")
}

fn window_days(entry: &Entry) -> Option<u16> {
    let window = entry.duration(DAY, DAY * u32::from(MAX_SLO_WINDOW_DAYS))?;
    if window.as_nanos() % DAY.as_nanos() != 0 {
        return entry.out_of_range("whole days");
    }
    u16::try_from(window.as_secs() / DAY.as_secs()).ok()
}
