//! What holds for every result of a check, and what a test expects of one.

#![allow(dead_code, reason = "each test program uses a part")]

use webmon::record::{CheckResult, ErrorType, Outcome, Record};

/// Asserts what holds for every result there is, then hands it back.
pub fn valid(result: CheckResult) -> CheckResult {
    let record = Record::Result(Box::new(result.clone()));
    record.validate().unwrap();
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    assert_eq!(result.outcome == Outcome::Success, result.error_type.is_none(), "{result:?}");
    assert_eq!(result.attempts > 0, result.started_at.is_some(), "{result:?}");
    assert!(result.failed_expectations.is_sorted(), "{result:?}");
    result
}

#[track_caller]
pub fn assert_error(result: &CheckResult, error_type: ErrorType, detail: &str) {
    let seen = (result.error_type, result.error_detail.as_deref());
    assert_eq!(seen, (Some(error_type), Some(detail)), "{result:?}");
    assert_eq!(result.outcome, error_type.outcome());
}

#[track_caller]
pub fn assert_success(result: &CheckResult) {
    assert_eq!(result.outcome, Outcome::Success, "{result:?}");
}
