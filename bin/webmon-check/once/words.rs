//! Times, amounts and reasons in words.

use std::time::Duration;

use jiff::Timestamp;
use webmon::check::Observed;
use webmon::record::{CheckResult, ErrorType};
use webmon::site::Site;
use webmon::text::show_duration;

/// What is said of an answer whose certificate is not verified.
pub const UNVERIFIED: &str = "not verified: whoever answered may be anybody";

/// A time in three digits: `0.04 ms`, `48.2 ms`, `131 ms`, `1.23 s`.
pub fn time(us: u64) -> String {
    let ms = us as f64 / 1_000.0;
    match us {
        0..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..10_000_000 => format!("{:.2} s", ms / 1_000.0),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

pub fn percent(part: u64, total: u64) -> String {
    let percent = (part * 100 + total / 2) / total.max(1);
    if percent == 0 && part > 0 { "<1 %".to_owned() } else { format!("{percent} %") }
}

/// A number of bytes: `812 B`, `12.3 kB`.
pub fn bytes(bytes: u32) -> String {
    bytesize::ByteSize(u64::from(bytes)).display().si().to_string()
}

/// How long a certificate is still valid: `58 days left`, `5 hours left`, `expired 3 days ago`.
pub fn validity(not_after: Timestamp, now: Timestamp) -> String {
    let left = not_after.duration_since(now).as_secs();
    let (amount, unit) = match left.unsigned_abs() {
        seconds if seconds >= 86_400 => (seconds / 86_400, "day"),
        seconds if seconds >= 3_600 => (seconds / 3_600, "hour"),
        seconds => (seconds / 60, "minute"),
    };
    let plural = if amount == 1 { "" } else { "s" };
    if left < 0 {
        format!("expired {amount} {unit}{plural} ago")
    } else {
        format!("{amount} {unit}{plural} left")
    }
}

/// `200 OK`, `418`.
pub fn status(code: u16) -> String {
    let reason = ureq::http::StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}

/// The words of the record for what went wrong, as in tables and logs: `tls_error: self_signed`.
pub fn class(result: &CheckResult) -> Option<String> {
    let error_type = result.error_type?;
    let detail = match error_type {
        ErrorType::ExpectationFailed => {
            let names = result.failed_expectations.iter().map(|expectation| expectation.as_str());
            names.collect::<Vec<_>>().join(", ")
        }
        _ => result.error_detail.clone().unwrap_or_default(),
    };
    Some(if detail.is_empty() { error_type.to_string() } else { format!("{error_type}: {detail}") })
}

/// Why a check was no success: what was expected and what came, a sentence each.
pub fn why(site: &Site, observed: &Observed) -> Vec<String> {
    let result = &observed.result;
    let Some(error_type) = result.error_type else { return degraded(site, result).into_iter().collect() };
    let message = result.error_message.as_deref().unwrap_or_default();
    let detail = result.error_detail.as_deref().unwrap_or_default();
    let limit = show_duration(site.timeout);
    let better = match (error_type, detail) {
        (ErrorType::Timeout, _) => Some(format!("{message}: expected the whole answer within {limit}")),
        (ErrorType::Dns, "nxdomain") => {
            Some(format!("the name \"{}\" does not exist: expected an address", host(result)))
        }
        (ErrorType::Dns, "no_address") => {
            Some(format!("the name \"{}\" has no address: expected one", host(result)))
        }
        (ErrorType::Connect, "refused") => {
            Some(format!("nobody listens at {}: expected a server", peer(result)))
        }
        (ErrorType::Connect, _) => Some(format!("no connection to {}: {message}", peer(result))),
        (ErrorType::Tls, "unknown_issuer") => Some(format!(
            "the certificate is issued by nobody who is trusted{}: expected a public authority, or one of check.ca or tls.ca",
            issuer(result)
        )),
        (ErrorType::Tls, "self_signed") => Some(
            "the certificate is signed by itself: expected a public authority, or this certificate in check.ca or tls.ca"
                .to_owned(),
        ),
        (ErrorType::Tls, "name_mismatch") => {
            Some(format!("the certificate is for {}: expected {}", names(result), host(result)))
        }
        (ErrorType::Tls, "certificate_expired") => Some(match result.cert_not_after {
            Some(at) => format!("the certificate {}, at {at}", validity(at, Timestamp::now())),
            None => "the certificate has expired".to_owned(),
        }),
        (ErrorType::Tls, "not_tls") => {
            Some("the server does not speak TLS: expected it for an https URL".to_owned())
        }
        (ErrorType::Protocol, "bad_status_line") => {
            Some("the server does not speak HTTP/1.1: its answer has no status line".to_owned())
        }
        (ErrorType::Protocol, "closed_early") => {
            Some("the server closed the connection before it had answered: expected a whole head".to_owned())
        }
        (ErrorType::NetworkDown, seen) if !seen.starts_with("no_route") => Some(format!(
            "no sentinel answers either, so the network of this host seems to be down; seen was {seen}: {message}"
        )),
        _ => None,
    };
    match better {
        Some(better) => vec![better],
        None => {
            sentences(message).into_iter().map(|sentence| with_header(sentence, site, observed)).collect()
        }
    }
}

/// Why a success is degraded.
fn degraded(site: &Site, result: &CheckResult) -> Option<String> {
    let (limit, took) = (site.degraded.filter(|_| result.degraded)?, result.total_us?);
    Some(format!("degraded: took {}, expected at most {}", time(u64::from(took)), show_duration(limit)))
}

/// A sentence on a header, with what came in it.
fn with_header(sentence: String, site: &Site, observed: &Observed) -> String {
    let mut judged = site.expect.headers.iter().chain(&site.expect.not_headers).map(|(name, _)| name);
    let Some(name) = judged.find(|name| sentence.starts_with(&format!("the header {name:?} "))) else {
        return sentence;
    };
    let came: Vec<&str> =
        observed.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
    if came.is_empty() { sentence } else { format!("{sentence}: it came as {}", came.join(", ")) }
}

/// The parts of a message that are joined with `; `, which may also be in a quoted pattern.
fn sentences(message: &str) -> Vec<String> {
    let (mut sentences, mut sentence) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in message.chars() {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        if c == ' ' && !quoted && sentence.ends_with(';') {
            sentence.pop();
            sentences.push(std::mem::take(&mut sentence));
        } else {
            sentence.push(c);
        }
    }
    sentences.push(sentence);
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn peer(result: &CheckResult) -> String {
    let url = last_url(result);
    let port = url.as_ref().and_then(url::Url::port_or_known_default).unwrap_or_default();
    match result.remote_ip {
        Some(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        None => host(result),
    }
}

fn host(result: &CheckResult) -> String {
    last_url(result).and_then(|url| Some(url.host_str()?.to_owned())).unwrap_or_default()
}

fn last_url(result: &CheckResult) -> Option<url::Url> {
    url::Url::parse(result.final_url.as_ref().unwrap_or(&result.url)).ok()
}

/// ` ("CN=R11, O=Let's Encrypt, C=US")`, if it is known.
fn issuer(result: &CheckResult) -> String {
    let issuer = result.certificate.as_ref().map_or("", |certificate| &certificate.issuer);
    if issuer.is_empty() { String::new() } else { format!(" (\"{issuer}\")") }
}

/// The first names of the certificate.
fn names(result: &CheckResult) -> String {
    const SHOWN: usize = 4;
    let names = result.certificate.as_ref().map_or(&[][..], |certificate| &certificate.subject_names);
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "other names".to_owned() } else { format!("{shown}{more}") }
}

/// The time since the epoch's start of a round, for people: `14:03:22Z`.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// `1 check`, `2 checks`.
pub fn checks(count: u64) -> String {
    if count == 1 { "1 check".to_owned() } else { format!("{count} checks") }
}

pub fn took(elapsed: Duration) -> String {
    time(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_said_in_few_digits() {
        for (us, expected) in [
            (0, "0.00 ms"),
            (40, "0.04 ms"),
            (9_990, "9.99 ms"),
            (48_211, "48.2 ms"),
            (131_400, "131 ms"),
            (1_234_000, "1.23 s"),
            (600_000_000, "600.0 s"),
        ] {
            assert_eq!(time(us), expected);
        }
        assert_eq!([percent(0, 0), percent(1, 1_000), percent(996, 1_000)], ["0 %", "<1 %", "100 %"]);
    }

    #[test]
    fn a_message_is_taken_apart_between_its_sentences_only() {
        let message =
            r#"status 503: expected 200-299; the body does not match "a; \"b; c"; the header "x" is missing"#;
        assert_eq!(
            sentences(message),
            [
                "status 503: expected 200-299",
                r#"the body does not match "a; \"b; c""#,
                r#"the header "x" is missing"#
            ]
        );
        assert_eq!(sentences(""), [""; 0]);
    }

    #[test]
    fn what_is_left_of_a_certificate_is_said_in_days() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        for (not_after, expected) in [
            ("2026-04-28T12:00:00Z", "58 days left"),
            ("2026-03-02T00:00:00Z", "1 day left"),
            ("2026-03-01T05:00:00Z", "5 hours left"),
            ("2026-02-26T00:00:00Z", "expired 3 days ago"),
        ] {
            assert_eq!(validity(not_after.parse().unwrap(), now), expected);
        }
    }
}
