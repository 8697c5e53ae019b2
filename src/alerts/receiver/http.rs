//! One request to a receiver, and its answer. No redirect is followed, no proxy is used, and time and size are limited.

use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use ureq::config::Config;
use ureq::http::{HeaderMap, HeaderValue, Request as HttpRequest, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, SendBody};
use url::Url;

use super::addresses::addresses;
use super::limits::Limits;
use super::outcome::Outcome;
use crate::config::Authorities;
use crate::text::show_duration;

/// The most bytes of an answer's body that are read.
const MAX_ANSWER: u64 = 64 << 10;
/// The longest pause that a receiver may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// A request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) headers: Vec<(&'a str, String)>,
    /// The content, with its type.
    pub(super) body: Option<(&'a str, Vec<u8>)>,
    pub(super) ca: Option<&'a Authorities>,
    /// For the whole: name, connection, TLS, request and answer.
    pub(super) timeout: Duration,
    /// When that is over.
    pub(super) until: Instant,
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    /// What the answer means for the message. A redirect, and a refusal of the sender, may be mended in the
    /// configuration, so the message is tried again.
    pub(super) fn outcome(self) -> Outcome {
        let Answer { status, body, retry_after } = self;
        let body = body.trim();
        let text = if body.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {body}") };
        match status {
            200..=299 => Outcome::Delivered(text),
            400 | 413 | 422 => Outcome::Refused(text),
            _ => Outcome::Retry { why: text, after: retry_after },
        }
    }
}

/// Makes the request.
///
/// # Errors
/// Why there is no answer, without any part of the URL.
pub(super) fn ask(request: Request, limits: &Limits) -> Result<Answer, String> {
    let Request { method, url, headers, body, ca, timeout, until } = request;
    let roots = match ca {
        Some(ca) => {
            let der = ca.certificates().into_iter().filter_map(|certificate| certificate.to_der().ok());
            let certificates: Vec<_> = der.map(|der| Certificate::from_der(&der).to_owned()).collect();
            RootCerts::new_with_certs(&certificates)
        }
        None => RootCerts::PlatformVerifier,
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let config = Config::builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(until.saturating_duration_since(Instant::now())))
        .user_agent(limits.user_agent.as_str())
        .build();
    let resolver = Allowed { deny: limits.deny_addresses.clone(), until };
    let agent = Agent::with_parts(config, DefaultConnector::new(), resolver);

    let mut http = HttpRequest::builder().method(method).uri(url.as_str());
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes());
        http = http
            .header(name, value.map_err(|_| format!("the header {name} has a value that cannot be sent"))?);
    }
    let content =
        body.map(|(content_type, content)| (HeaderValue::from_bytes(content_type.as_bytes()), content));
    let unusable = |_| "the request cannot be made of its URL and headers".to_owned();
    let answer = match content {
        Some((content_type, content)) => {
            let content_type = content_type.map_err(|_| "the content_type cannot be sent".to_owned())?;
            agent.run(http.header("content-type", content_type).body(content).map_err(unusable)?)
        }
        None => agent.run(http.body(SendBody::none()).map_err(unusable)?),
    };
    let answer = answer.map_err(|error| told(&error, timeout))?;
    let (head, body) = answer.into_parts();
    let mut content = Vec::new();
    // The status says it all: an answer that breaks off, or has no end, is as good.
    let _ = body.into_reader().take(MAX_ANSWER).read_to_end(&mut content);
    Ok(Answer {
        status: head.status.as_u16(),
        body: String::from_utf8_lossy(&content).into_owned(),
        retry_after: retry_after(&head.headers, Timestamp::now()),
    })
}

/// What went wrong. Some errors of ureq hold the URL, so only those that do not are shown as they are.
fn told(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {}", show_duration(timeout)),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            format!("no answer within {}", show_duration(timeout))
        }
        ureq::Error::Io(error) => format!("the connection failed: {error}"),
        ureq::Error::NativeTls(error) => format!("TLS failed: {error}"),
        ureq::Error::Protocol(error) => format!("the answer is not HTTP: {error}"),
        ureq::Error::LargeResponseHeader(..) => "the answer has too large a head".to_owned(),
        ureq::Error::Other(error) => error.to_string(),
        ureq::Error::ConnectionFailed => "no address of the host can be connected to".to_owned(),
        _ => "the request failed".to_owned(),
    }
}

/// The header `Retry-After` as seconds or a date, up to an hour.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = PARSER.parse_timestamp(text).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        }
    };
    Some(pause.min(MAX_PAUSE))
}

/// Gives ureq the addresses that no rule forbids.
struct Allowed {
    deny: Vec<IpNet>,
    until: Instant,
}

impl Resolver for Allowed {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let found = addresses(host, port, &self.deny, self.until)
            .map_err(|problem| ureq::Error::Other(Box::new(Unresolved(problem))))?;
        let mut allowed = self.empty();
        found.into_iter().for_each(|address| allowed.push(address));
        Ok(allowed)
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowed").field("deny", &self.deny).finish_non_exhaustive()
    }
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_ask_for_a_pause_of_an_hour_at_most() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let pause = |text: &str| {
            let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), text.parse().unwrap())]);
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        for (text, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86400", Some(3_600)),
            ("18446744073709551615", Some(3_600)),
            ("99999999999999999999", None),
            ("-1", None),
            ("soon", None),
            ("Sun, 01 Mar 2026 12:01:30 GMT", Some(90)),
            ("Sun, 01 Mar 2026 11:00:00 GMT", Some(0)),
            ("Mon, 01 Mar 2027 12:00:00 GMT", Some(3_600)),
        ] {
            assert_eq!(pause(text), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn every_status_has_its_outcome() {
        let outcome =
            |status| Answer { status, body: " well \n".to_owned(), retry_after: Some(MAX_PAUSE) }.outcome();
        for status in 100..600 {
            let text = format!("HTTP {status}: well");
            let expected = match status {
                200..=299 => Outcome::Delivered(text),
                400 | 413 | 422 => Outcome::Refused(text),
                _ => Outcome::Retry { why: text, after: Some(MAX_PAUSE) },
            };
            assert_eq!(outcome(status), expected);
        }
    }
}
