//! What makes an incident of failures.

/// What makes an incident of a site's failures. Each record carries it; the site's newest decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Failures on end that make the site down, seen from one location. 1 to 100, default 2.
    pub failures: u16,
    /// Locations from which it must be down. 1 to 100, default 1.
    pub locations: u16,
}

impl Default for Incident {
    fn default() -> Self {
        Incident { failures: 2, locations: 1 }
    }
}
