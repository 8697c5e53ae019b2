//! A site's windows of maintenance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_MAINTENANCE_S, MAX_TEXT};

/// Planned maintenance of a site: when its windows begin, and how long each lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceWindow {
    /// When a window begins: a cron expression.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub schedule: String,
    /// Its time zone: an IANA name or `UTC`.
    #[schemars(length(min = 1, max = MAX_TEXT))]
    pub timezone: String,
    /// How long it lasts, in seconds.
    #[schemars(range(min = 1, max = MAX_MAINTENANCE_S))]
    pub duration_s: u32,
}
