//! When an attempt is made again, and what is recorded of those before the last one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::record::{CheckResult, ErrorType, Expectation, Try};
use crate::site::Site;

/// The failed attempt as it is recorded, once another one follows it.
pub(super) fn failed_try(result: CheckResult) -> Option<Try> {
    let CheckResult { outcome, error_type, error_detail, total_us, .. } = result;
    error_type.map(|error_type| Try { outcome, error_type, error_detail, total_us })
}

/// Whether the failure is that the site did not answer. An answer counts, whatever the checker did meanwhile.
pub(super) fn is_silence(result: &CheckResult) -> bool {
    match result.error_type {
        Some(ErrorType::ExpectationFailed) => result.failed_expectations == [Expectation::MaxTime],
        Some(ErrorType::Redirect | ErrorType::BlockedAddress) => false,
        _ => true,
    }
}

/// Whether another attempt, and the pause before it, ends before the site's next instant.
pub(super) fn has_time_again(site: &Site, next_at: Option<Timestamp>) -> bool {
    let needed = SignedDuration::try_from(site.retry_pause + site.timeout).unwrap_or(SignedDuration::MAX);
    next_at.is_some_and(|next_at| next_at.duration_since(now()) >= needed)
}

/// Turns the failure into a missed instant that says what was seen.
pub(super) fn suspended(mut result: CheckResult, lost: Duration) -> CheckResult {
    let error_type = result.error_type.map_or("", ErrorType::as_str);
    let detail = result.error_detail.take().unwrap_or_default();
    let message = result.error_message.take().unwrap_or_default();
    let message = format!(
        "the checker itself stood still for {} ms of the attempt: {error_type} {detail}: {message}",
        lost.as_millis()
    );
    result.set_error(ErrorType::Late, Some("suspended"), Some(&message));
    result.failed_expectations.clear();
    result.sample = None;
    result
}

/// The present to the microsecond, as a record holds it.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
