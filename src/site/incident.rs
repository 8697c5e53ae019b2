//! Which failures make an incident.

/// Which failures of a site make an incident. Each record holds these thresholds; those of the site's newest record
/// decide.
///
/// At each location, missed instants abstain: they neither add to a series of failures or successes nor end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// How many consecutive failures take a location down. It is down from the first of them on. 1 to 100, default 2.
    pub failures: u16,
    /// How many consecutive successes take a location up again. It is up from the first of them on; until there are so
    /// many, it stays down. 1 to 100, default 1.
    pub recoveries: u16,
    /// At how many locations the site must be down. Default 1.
    pub locations: Locations,
    /// How many locations must be in use. With fewer there is no incident. 1 to 100, default 1.
    pub min_voters: u16,
}

impl Default for Incident {
    fn default() -> Self {
        Incident { failures: 2, recoveries: 1, locations: Locations::Count(1), min_voters: 1 }
    }
}

/// At how many locations a site must be down to make an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locations {
    /// At so many. 1 to 100.
    Count(u16),
    /// At so many percent of those in use at that time. 1 to 100.
    Percent(u16),
}

impl Locations {
    /// How many of `voters` locations in use must be down. At least 1. A percentage is rounded up. A number is taken as it
    /// is, so it may be more than there are.
    ///
    /// ```
    /// use webmon::site::Locations;
    ///
    /// assert_eq!(Locations::Percent(50).needed(3), 2);
    /// assert_eq!(Locations::Count(2).needed(3), 2);
    /// ```
    pub fn needed(self, voters: u16) -> u16 {
        match self {
            Locations::Count(count) => count.max(1),
            Locations::Percent(percent) => {
                let needed = (u32::from(voters) * u32::from(percent)).div_ceil(100);
                u16::try_from(needed).unwrap_or(u16::MAX).max(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_of_locations_is_rounded_up_and_never_none() {
        for (percent, voters, needed) in [
            (50, 0, 1),
            (50, 1, 1),
            (50, 2, 1),
            (50, 3, 2),
            (50, 4, 2),
            (1, 100, 1),
            (1, 101, 2),
            (34, 3, 2),
            (33, 3, 1),
            (100, 3, 3),
            (99, 100, 99),
            (100, u16::MAX, u16::MAX),
        ] {
            assert_eq!(Locations::Percent(percent).needed(voters), needed, "{percent} % of {voters}");
        }
    }

    #[test]
    fn a_number_of_locations_does_not_depend_on_how_many_there_are() {
        for voters in [0, 1, 5] {
            assert_eq!(Locations::Count(2).needed(voters), 2);
        }
    }
}
