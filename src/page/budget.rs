//! How much of the failures that a site's target of uptime allows is left: an interval, because what was not checked may
//! have been good or bad. The figures are those of the view `webmon.slo`.

use schemars::JsonSchema;
use serde::Serialize;

use super::day::Shares;
use crate::site::Slo;

/// What is left of the failures that a target allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Budget {
    /// The uptime that the site is to have, in percent.
    pub target_percent: f64,
    /// Over how many UTC days, today included.
    pub window_days: u32,
    /// How many of the scheduled instants may fail.
    pub allowed: f64,
    /// How many failed.
    pub failure: u32,
    /// How many were not checked.
    pub unchecked: u32,
    /// The uptime, in percent, if all that was not checked was good.
    pub uptime_best_percent: Option<f64>,
    /// The uptime, in percent, if all that was not checked was bad.
    pub uptime_worst_percent: Option<f64>,
    /// What is left if all that was not checked was good. 1 is all of it, below 0 it is overspent. None if nothing may fail.
    pub left_best: Option<f64>,
    /// What is left if all that was not checked was bad.
    pub left_worst: Option<f64>,
}

impl Budget {
    /// What is left of `target` after what happened within its window.
    pub(super) fn of(target: Slo, shares: Shares) -> Budget {
        let (failure, unchecked) = (shares.failure, shares.unchecked);
        let scheduled = f64::from(shares.success) + f64::from(failure) + f64::from(unchecked);
        let allowed = scheduled * f64::from(1_000_000 - target.uptime_ppm.min(1_000_000)) / 1e6;
        let of_scheduled = |part: f64| (scheduled > 0.0).then(|| 100.0 * part / scheduled);
        let left = |spent: f64| (allowed > 0.0).then(|| 1.0 - spent / allowed);
        Budget {
            target_percent: target.uptime_percent(),
            window_days: target.window_days.into(),
            allowed,
            failure,
            unchecked,
            uptime_best_percent: of_scheduled(f64::from(shares.success) + f64::from(unchecked)),
            uptime_worst_percent: of_scheduled(f64::from(shares.success)),
            left_best: left(f64::from(failure)),
            left_worst: left(f64::from(failure) + f64::from(unchecked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_makes_the_budget_an_interval() {
        let target = Slo { uptime_ppm: 990_000, window_days: 30 };
        let shares = Shares { success: 9_930, failure: 50, unchecked: 20, planned: 77 };
        let budget = Budget::of(target, shares);
        assert_eq!((budget.allowed, budget.target_percent), (100.0, 99.0));
        let tenths = |left: Option<f64>| left.map(|left| (left * 10.0).round());
        assert_eq!((tenths(budget.left_best), tenths(budget.left_worst)), (Some(5.0), Some(3.0)));
        assert_eq!((budget.uptime_best_percent, budget.uptime_worst_percent), (Some(99.5), Some(99.3)));
        let overspent = Budget::of(target, Shares { failure: 300, ..shares });
        assert!(overspent.left_best.is_some_and(|left| left < 0.0));
        assert_eq!(Budget::of(target, Shares::default()).left_best, None);
    }
}
