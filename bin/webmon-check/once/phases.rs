//! Where the time of a check went: each request with its phases, one after another.

use std::net::IpAddr;

use webmon::record::{CheckResult, ErrorType, Hop};

/// What no phase measured is left out if it is shorter, in microseconds.
const SHOWN: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Dns,
    Connect,
    Tls,
    /// From the request to the head of the response.
    Wait,
    Download,
    /// What no phase measured.
    Other,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Wait => "wait",
            Phase::Download => "download",
            Phase::Other => "other",
        }
    }
}

/// A phase on the time line of the check, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub phase: Phase,
    pub from: u64,
    pub length: u64,
    /// Whether the check ended in it.
    pub failed: bool,
}

/// One request of the check: to a URL that redirected, or the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub url: String,
    pub status: Option<u16>,
    pub ip: Option<IpAddr>,
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    pub legs: Vec<Leg>,
    pub total: u64,
}

/// The time line of the last attempt. `None` if nothing was measured.
pub fn timeline(result: &CheckResult) -> Option<Timeline> {
    let total = u64::from(result.total_us?);
    let mut at = 0;
    let mut legs: Vec<Leg> = result.hops.iter().map(|hop| redirect(hop, &mut at)).collect();
    let failed = failed_phase(result);
    let phases = [
        (Phase::Dns, result.dns_us),
        (Phase::Connect, result.connect_us),
        (Phase::Tls, result.tls_us),
        (Phase::Wait, result.ttfb_us),
        (Phase::Download, result.download_us),
    ];
    let mut spans = spans(&mut at, phases, failed);
    // What is left was spent in the phase that failed; else between the phases, and on the verdict.
    let rest = total.saturating_sub(at);
    match failed {
        Some(phase) if spans.iter().all(|span| !span.failed) => {
            spans.push(Span { phase, from: at, length: rest, failed: true });
        }
        _ if rest * 100 >= total && rest >= SHOWN => {
            spans.push(Span { phase: Phase::Other, from: at, length: rest, failed: false });
        }
        _ => {}
    }
    legs.push(Leg {
        url: result.final_url.as_ref().unwrap_or(&result.url).clone(),
        status: answer(result),
        ip: result.remote_ip,
        spans,
    });
    Some(Timeline { legs, total: total.max(at) })
}

/// The status of the last request's answer. The record holds that of the last response, which may be of a redirect.
pub fn answer(result: &CheckResult) -> Option<u16> {
    result.http_status.filter(|_| result.hops.is_empty() || result.ttfb_us.is_some())
}

/// A request that was redirected. Its body is not read.
fn redirect(hop: &Hop, at: &mut u64) -> Leg {
    let phases = [
        (Phase::Dns, hop.dns_us),
        (Phase::Connect, hop.connect_us),
        (Phase::Tls, hop.tls_us),
        (Phase::Wait, hop.ttfb_us),
    ];
    let spans = spans(at, phases, None);
    Leg { url: hop.url.clone(), status: Some(hop.http_status), ip: hop.remote_ip, spans }
}

fn spans(
    at: &mut u64,
    phases: impl IntoIterator<Item = (Phase, Option<u32>)>,
    failed: Option<Phase>,
) -> Vec<Span> {
    let mut spans = Vec::new();
    for (phase, length) in phases {
        let Some(length) = length.map(u64::from) else { continue };
        spans.push(Span { phase, from: *at, length, failed: failed == Some(phase) });
        *at += length;
    }
    spans
}

/// The phase in which the check ended without a whole response.
fn failed_phase(result: &CheckResult) -> Option<Phase> {
    let detail = result.error_detail.as_deref().unwrap_or_default();
    let in_phase = |word: &str| match word {
        "dns" => Some(Phase::Dns),
        "connect" => Some(Phase::Connect),
        "tls" => Some(Phase::Tls),
        "response" => Some(Phase::Wait),
        "body" => Some(Phase::Download),
        _ => None,
    };
    match result.error_type? {
        ErrorType::Dns => Some(Phase::Dns),
        ErrorType::Connect => Some(Phase::Connect),
        ErrorType::Tls => Some(Phase::Tls),
        ErrorType::Timeout => in_phase(detail),
        ErrorType::Protocol => Some(Phase::Wait),
        ErrorType::Body => Some(Phase::Download),
        // The detail says what was seen: "dns_error servfail", "timeout connect".
        ErrorType::NetworkDown => match detail.split_once(' ') {
            Some(("dns_error", _)) => Some(Phase::Dns),
            Some(("connect_error", _)) => Some(Phase::Connect),
            Some(("timeout", phase)) => in_phase(phase),
            _ if detail.starts_with("no_route") => Some(Phase::Connect),
            _ => None,
        },
        _ => None,
    }
}
