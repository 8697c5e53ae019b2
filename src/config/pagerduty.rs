//! A service of PagerDuty.

use super::credentials::secret;
use super::endpoint::{Endpoint, optional_endpoint};
use super::table::Table;
use crate::secret::Secret;

/// Where PagerDuty takes events.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// A service of PagerDuty, by its Events API v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagerDuty {
    /// Where events are sent. By default PagerDuty's own address, in the USA.
    pub url: Endpoint,
    /// The integration key of the service.
    pub routing_key: Secret,
}

pub(super) fn pagerduty(table: &Table) -> Option<PagerDuty> {
    let routing_key = secret(table, "routing_key", "routing_key_file");
    if routing_key.is_none() {
        table.missing("routing_key", "the integration key, or routing_key_file");
    }
    let url = match optional_endpoint(table) {
        Some(url) => url,
        None => Endpoint::new(URL).ok(),
    };
    Some(PagerDuty { url: url?, routing_key: routing_key.flatten()? })
}
