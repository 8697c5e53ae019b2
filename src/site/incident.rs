//! Which failures make an incident.

/// Which failures of a site make an incident. Each record holds these thresholds; those of the site's newest record
/// decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// How many consecutive failures make the site down, seen from one location. 1 to 100, default 2.
    pub failures: u16,
    /// From how many locations it must be down. 1 to 100, default 1.
    pub locations: u16,
}

impl Default for Incident {
    fn default() -> Self {
        Incident { failures: 2, locations: 1 }
    }
}
