//! How a monitor is set up.

use std::time::Duration;

use crate::check::{PoolOptions, Settings};
use crate::site::Sentinel;

/// How to check.
#[derive(Clone)]
pub struct MonitorOptions {
    /// The pool's options, the checker's name and location among them.
    pub pool: PoolOptions,
    /// What all checks share, those of the sentinels included.
    pub settings: Settings,
    /// Instants longer ago than this that were not handed out become one gap a site; 1 h unless told.
    pub backfill: Duration,
    /// The most instants made up for at once, of all sites; 1,000,000 unless told.
    pub max_backlog: u64,
    /// None, or at least two: with one only, its own trouble would hide that of all sites.
    pub sentinels: Vec<Sentinel>,
}

impl MonitorOptions {
    /// The defaults for a pool whose checks share `settings`.
    pub fn new(pool: PoolOptions, settings: Settings) -> MonitorOptions {
        MonitorOptions {
            pool,
            settings,
            backfill: Duration::from_secs(3_600),
            max_backlog: 1_000_000,
            sentinels: Vec::new(),
        }
    }
}
