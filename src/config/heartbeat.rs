//! `[heartbeat]`: what is asked while results are being stored, so that somebody else notices when they are not.

use std::time::Duration;

use super::endpoint::{Endpoint, optional_endpoint};
use super::table::Table;
use super::units::{DAY, MILLISECOND, MINUTE, SECOND};

/// `[heartbeat]`: what is asked while results are being stored, so that somebody else notices when they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// What is asked, by GET.
    pub url: Endpoint,
    /// How often. 10 s to 1 day, default 1 min.
    pub every: Duration,
    /// How long one request may take, name and all. 100 ms to 15 s, default 10 s.
    pub timeout: Duration,
}

/// None without a URL.
pub(super) fn heartbeat(table: &Table) -> Option<Heartbeat> {
    let url = optional_endpoint(table);
    let every = table.duration("every", SECOND * 10, DAY).unwrap_or(MINUTE);
    let timeout = table.duration("timeout", MILLISECOND * 100, SECOND * 15).unwrap_or(SECOND * 10);
    if timeout > every {
        table.fault("has a timeout that is longer than every: expected a shorter one".to_owned());
    }
    table.refuse_unknown();
    Some(Heartbeat { url: url.flatten()?, every, timeout })
}
