//! How far back the account makes up for what was not checked.

use std::time::Duration;

/// What is still recorded or checked late, and what is not.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long after its instant (and its site's spread) a check may start.
    pub max_lateness: Duration,
    /// Instants longer ago than this that were not handed out become one gap a site.
    pub backfill: Duration,
    /// The most instants made up for at once, of all sites; each has its share, 1 to 3,600, and what exceeds it is
    /// in the gap too.
    pub max_backlog: u64,
}
