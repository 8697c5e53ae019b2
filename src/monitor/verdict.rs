//! What the sentinels' answers say about a check that found no answer: that its site is down, or that the checker has
//! no network.

use crate::record::{CheckResult, ErrorType, Outcome};

/// What a round has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verdict {
    /// A sentinel answered: there is a network.
    pub(super) network: bool,
    /// A sentinel's name was resolved: there is a name server.
    pub(super) names: bool,
}

impl Verdict {
    /// Whether what `result` says is the site's doing, and not the checker's own trouble.
    pub(super) fn blames(self, result: &CheckResult) -> bool {
        self.network && (self.names || !heard_no_name_server(result))
    }
}

/// Whether no name server gave an answer: what a dead one brings about for every site, while addresses answer.
pub(super) fn heard_no_name_server(result: &CheckResult) -> bool {
    let detail = result.error_detail.as_deref().unwrap_or_default();
    match result.error_type {
        Some(ErrorType::Dns) => !matches!(detail, "nxdomain" | "no_address" | "bad_name"),
        Some(ErrorType::Timeout) => detail == "dns",
        _ => false,
    }
}

/// Whether a result is one that a dead network of the checker's own would bring about too.
pub(super) fn is_doubtful(result: &CheckResult) -> bool {
    result.outcome == Outcome::Failure && result.error_type.is_some_and(found_no_answer)
}

pub(super) fn found_no_answer(error_type: ErrorType) -> bool {
    matches!(error_type, ErrorType::Dns | ErrorType::Connect | ErrorType::Timeout)
}

/// The failure as a missed instant that says what was seen.
pub(super) fn network_down(mut result: CheckResult) -> CheckResult {
    let seen = match (result.error_type, &result.error_detail) {
        (Some(error_type), Some(detail)) => format!("{error_type} {detail}"),
        (Some(error_type), None) => error_type.to_string(),
        (None, _) => String::new(),
    };
    let message = result.error_message.take();
    result.set_error(ErrorType::NetworkDown, Some(&seen), message.as_deref());
    result.failed_expectations.clear();
    result.sample = None;
    result
}
