//! How much uptime a site is to have.

/// How much uptime a site is to have, and over how long (a service level objective). Each record holds it. The view
/// `webmon.slo` tells how much of the failures that it allows is left.
///
/// ```
/// use webmon::site::Slo;
///
/// // 99.9 % over 30 days.
/// let slo = Slo { uptime_ppm: 999_000, window_days: 30 };
/// assert_eq!(slo.uptime_percent(), 99.9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slo {
    /// The share of the scheduled instants that must not fail, in millionths. 1 to 999,999.
    pub uptime_ppm: u32,
    /// Over the last so many UTC days, today included. 1 to 90.
    pub window_days: u16,
}

impl Slo {
    /// The share in percent.
    pub fn uptime_percent(self) -> f64 {
        f64::from(self.uptime_ppm) / 10_000.0
    }
}
