//! What an attempt came to.

use super::again::now;
use super::expect::{self, Judged};
use super::fault::Fault;
use crate::record::{CheckResult, ErrorType, Outcome};
use crate::site::Site;

/// Sets the outcome of an attempt without a whole response.
pub(super) fn set_fault(site: &Site, fault: &Fault, result: &mut CheckResult) {
    let message = site.hidden.in_text(&fault.message);
    result.set_error(fault.error_type, Some(fault.detail), Some(&message));
}

/// Sets the outcome of a whole response.
pub(super) fn judge(site: &Site, judged: &Judged<'_>, result: &mut CheckResult) {
    let verdict = expect::judge(&site.expect, judged, now());
    result.body_matched = verdict.body_matched;
    match verdict.failed.first() {
        None => {
            result.outcome = Outcome::Success;
            result.degraded = site.degraded.is_some_and(|degraded| judged.total > degraded);
        }
        Some(first) => {
            let message = site.hidden.in_text(&verdict.message);
            result.set_error(ErrorType::ExpectationFailed, Some(first.as_str()), Some(&message));
            result.failed_expectations = verdict.failed;
        }
    }
}
