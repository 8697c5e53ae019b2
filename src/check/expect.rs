//! Judges a response by all of a site's expectations, even after one has failed.

use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::http::HeaderMap;
use url::Url;

use super::json;
use crate::record::Expectation;
use crate::site::Expect;
use crate::text::show_duration;

/// What is judged.
pub(super) struct Judged<'a> {
    /// What answered, after all redirects.
    pub(super) url: &'a Url,
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    /// The body as text, `None` if the response can have none (HEAD).
    pub(super) text: Option<&'a str>,
    /// Whether `text` is only the start of the body.
    pub(super) truncated: bool,
    pub(super) total: Duration,
    /// When the certificate expires, `None` over plain HTTP.
    pub(super) not_after: Option<Timestamp>,
}

/// The verdict on a whole response.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The expectations that failed, sorted, each once; empty on success.
    pub(super) failed: Vec<Expectation>,
    /// Each failure for people, joined by `; `.
    pub(super) message: String,
    /// Whether the body met its patterns; `None` without patterns, or without a body.
    pub(super) body_matched: Option<bool>,
}

impl Verdict {
    fn fail(&mut self, expectation: Expectation, message: &str) {
        self.failed.push(expectation);
        if !self.message.is_empty() {
            self.message.push_str("; ");
        }
        self.message.push_str(message);
    }
}

/// Evaluates every expectation at the instant `now`. Messages quote patterns of the configuration, never what the site
/// sent.
pub(super) fn judge(expect: &Expect, judged: &Judged<'_>, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    if !expect.status.iter().any(|range| range.contains(judged.status)) {
        let mut message = format!("status {}: expected ", judged.status);
        for (index, range) in expect.status.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(message, "{comma}{range}");
        }
        verdict.fail(Expectation::Status, &message);
    }
    judge_body(expect, judged, &mut verdict);
    judge_headers(expect, judged.headers, &mut verdict);
    judge_url(expect, judged.url, &mut verdict);
    if let Some(max_time) = expect.max_time
        && judged.total > max_time
    {
        // To the microsecond, 2.0000001 s would be "2s: expected at most 2s".
        let took = show_duration(judged.total.max(max_time + Duration::from_millis(1)));
        let message = format!("took {took}: expected at most {}", show_duration(max_time));
        verdict.fail(Expectation::MaxTime, &message);
    }
    if let Some(wanted) = expect.certificate {
        match judged.not_after {
            None => verdict.fail(Expectation::Certificate, "there is no certificate: expected one"),
            Some(not_after) => {
                let left = not_after.duration_since(now);
                if left < SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX) {
                    let wanted = show_duration(wanted);
                    let state = match Duration::try_from(left) {
                        Ok(left) => format!("is valid for {}", show_rough(left)),
                        Err(_) => format!("expired {} ago", show_rough(left.unsigned_abs())),
                    };
                    let message = format!("the certificate {state}: expected {wanted}");
                    verdict.fail(Expectation::Certificate, &message);
                }
            }
        }
    }
    verdict.failed.sort_unstable();
    verdict.failed.dedup();
    verdict
}

fn judge_body(expect: &Expect, judged: &Judged<'_>, verdict: &mut Verdict) {
    let Some(text) = judged.text else { return };
    let read = if judged.truncated { " in the part that was read" } else { "" };
    for pattern in &expect.body {
        if !pattern.is_match(text) {
            let message = format!("the body does not match {:?}{read}", pattern.as_str());
            verdict.fail(Expectation::Body, &message);
        }
    }
    for pattern in &expect.not_body {
        if pattern.is_match(text) {
            verdict.fail(Expectation::NotBody, &format!("the body matches {:?}", pattern.as_str()));
        }
    }
    if !(expect.body.is_empty() && expect.not_body.is_empty()) {
        let failed = [Expectation::Body, Expectation::NotBody];
        verdict.body_matched = Some(!failed.iter().any(|failed| verdict.failed.contains(failed)));
    }
    for message in json::faults(&expect.json, text, judged.truncated) {
        verdict.fail(Expectation::Json, &message);
    }
}

fn judge_headers(expect: &Expect, headers: &HeaderMap, verdict: &mut Verdict) {
    let values =
        |name: &str| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    for (name, pattern) in &expect.headers {
        if values(name).next().is_none() {
            verdict.fail(Expectation::Header, &format!("the header {name:?} is missing"));
        } else if !values(name).any(|value| pattern.is_match(&value)) {
            let message = format!("the header {name:?} does not match {:?}", pattern.as_str());
            verdict.fail(Expectation::Header, &message);
        }
    }
    for (name, pattern) in &expect.not_headers {
        if values(name).any(|value| pattern.is_match(&value)) {
            let message = format!("the header {name:?} matches {:?}", pattern.as_str());
            verdict.fail(Expectation::NotHeader, &message);
        }
    }
}

fn judge_url(expect: &Expect, url: &Url, verdict: &mut Verdict) {
    match (expect.tls, url.scheme() == "https") {
        (Some(true), false) => {
            verdict.fail(Expectation::Tls, "the answer came over plain HTTP: expected TLS");
        }
        (Some(false), true) => {
            verdict.fail(Expectation::Tls, "the answer came over TLS: expected plain HTTP");
        }
        _ => {}
    }
    if let Some(pattern) = expect.final_url.as_deref().filter(|pattern| !pattern.is_match(url.as_str())) {
        // The URL may hold a token.
        let message = format!("the final URL does not match {:?}", pattern.as_str());
        verdict.fail(Expectation::FinalUrl, &message);
    }
}

/// A duration in its largest unit: `12d` for 12 days and 5 hours.
fn show_rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    show_duration(Duration::from_secs(seconds / unit * unit))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use regex::Regex;
    use serde_json::json;

    use super::*;
    use crate::site::JsonExpectation;

    fn answer<'a>(url: &'a Url, headers: &'a HeaderMap) -> Judged<'a> {
        Judged {
            url,
            status: 200,
            headers,
            text: Some("a data platform"),
            truncated: false,
            total: Duration::from_millis(100),
            not_after: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        }
    }

    fn now() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn regex(pattern: &str) -> Arc<Regex> {
        Arc::new(Regex::new(pattern).unwrap())
    }

    fn secure() -> Url {
        "https://shop.example/a?token=secret".parse().unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// What `expect` makes of the usual answer with `headers`.
    fn judged(expect: &Expect, headers: &HeaderMap) -> Verdict {
        judge(expect, &answer(&secure(), headers), now())
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn every_expectation_is_evaluated_and_each_failed_one_is_named_once() {
        let headers = headers(&[("server", "old/1")]);
        let expect = Expect {
            status: vec!["204".parse().unwrap(), "3xx".parse().unwrap()],
            body: vec![regex("no such text"), regex("nor this")],
            not_body: vec![regex("platform")],
            headers: vec![("x-a".to_owned(), regex("a")), ("x-b".to_owned(), regex("b"))],
            not_headers: vec![("server".to_owned(), regex("old"))],
            json: vec![JsonExpectation::new("$.a".parse().unwrap())],
            tls: Some(false),
            final_url: Some(regex("^http:")),
            max_time: Some(Duration::from_millis(99)),
            certificate: Some(10 * DAY),
        };
        let verdict = judged(&expect, &headers);
        assert_eq!(verdict.failed, Expectation::ALL);
        assert_eq!(verdict.body_matched, Some(false));
        assert_eq!(
            verdict.message.split("; ").collect::<Vec<_>>(),
            [
                "status 200: expected 204, 300-399",
                "the body does not match \"no such text\"",
                "the body does not match \"nor this\"",
                "the body matches \"platform\"",
                "the body is not JSON: expected value at line 1 column 1",
                "the header \"x-a\" is missing",
                "the header \"x-b\" is missing",
                "the header \"server\" matches \"old\"",
                "the answer came over TLS: expected plain HTTP",
                "the final URL does not match \"^http:\"",
                "took 100ms: expected at most 99ms",
                "the certificate is valid for 9d: expected 10d",
            ]
        );
    }

    #[test]
    fn bounds_belong_to_success() {
        let headers = headers(&[("x-a", "1"), ("x-a", "2")]);
        let expect = Expect {
            status: vec!["200".parse().unwrap()],
            body: vec![regex("data.*platform"), regex("^a")],
            not_body: vec![regex("maintenance"), regex("error")],
            headers: vec![("x-a".to_owned(), regex("^2$")), ("x-a".to_owned(), regex("^1$"))],
            not_headers: vec![("x-a".to_owned(), regex("3")), ("x-absent".to_owned(), regex(""))],
            json: vec![],
            tls: Some(true),
            final_url: Some(regex("/a\\?token=secret$")),
            max_time: Some(Duration::from_millis(100)),
            certificate: Some(9 * DAY),
        };
        let verdict = judged(&expect, &headers);
        assert_eq!(verdict.failed, []);
        assert_eq!((verdict.message.as_str(), verdict.body_matched), ("", Some(true)));
    }

    #[test]
    fn one_missing_or_unwanted_pattern_of_a_list_is_enough_to_fail() {
        let none = HeaderMap::new();
        let expect = Expect { body: vec![regex("data"), regex("shop")], ..Expect::default() };
        assert_eq!(judged(&expect, &none).message, "the body does not match \"shop\"");
        let expect = Expect { not_body: vec![regex("shop"), regex("data")], ..Expect::default() };
        assert_eq!(judged(&expect, &none).failed, [Expectation::NotBody]);
        let two = headers(&[("x-a", "good"), ("x-a", "bad")]);
        let expect = Expect { not_headers: vec![("x-a".to_owned(), regex("bad"))], ..Expect::default() };
        assert_eq!(judged(&expect, &two).message, "the header \"x-a\" matches \"bad\"");
        assert_eq!(judged(&expect, &none).failed, []);
    }

    #[test]
    fn a_body_is_matched_only_where_there_is_a_pattern_and_a_body() {
        let (url, headers) = (secure(), HeaderMap::new());
        assert_eq!(judged(&Expect::default(), &headers).body_matched, None);
        let only_not = Expect { not_body: vec![regex("maintenance")], ..Expect::default() };
        assert_eq!(judged(&only_not, &headers).body_matched, Some(true));
        let json = JsonExpectation::new("$.a".parse().unwrap());
        let with_json = Expect { json: vec![json], ..only_not };
        let head = Judged { text: None, ..answer(&url, &headers) };
        let verdict = judge(&with_json, &head, now());
        assert_eq!((verdict.body_matched, verdict.failed), (None, vec![]));
        // JSON is not a pattern.
        assert_eq!(judged(&with_json, &headers).body_matched, Some(true));
    }

    #[test]
    fn json_is_judged_in_the_body() {
        let (url, headers) = (secure(), HeaderMap::new());
        let status = JsonExpectation {
            equals: Some(json!("ok")),
            ..JsonExpectation::new("$.status".parse().unwrap())
        };
        let expect = Expect { json: vec![status], ..Expect::default() };
        let answered = |text| Judged { text: Some(text), ..answer(&url, &headers) };
        assert_eq!(judge(&expect, &answered(r#"{"status": "ok"}"#), now()).failed, []);
        let verdict = judge(&expect, &answered(r#"{"status": "no"}"#), now());
        assert_eq!(verdict.failed, [Expectation::Json]);
        assert_eq!(verdict.message, "$.status is another text: expected \"ok\"");
    }

    #[test]
    fn plain_http_has_no_certificate_to_expect_days_of() {
        let (plain, headers) = ("http://shop.example/".parse().unwrap(), HeaderMap::new());
        let expect = Expect { certificate: Some(DAY), tls: Some(true), ..Expect::default() };
        let plain = Judged { not_after: None, ..answer(&plain, &headers) };
        let verdict = judge(&expect, &plain, now());
        assert_eq!(verdict.failed, [Expectation::Certificate, Expectation::Tls]);
    }

    #[test]
    fn times_are_said_as_the_configuration_writes_them() {
        let (url, headers) = (secure(), HeaderMap::new());
        let expect = Expect {
            certificate: Some(90 * DAY),
            max_time: Some(Duration::from_secs(2)),
            ..Expect::default()
        };
        for (not_after, total, expected) in [
            (
                "2026-03-13T05:06:07Z",
                2_500,
                "took 2s500ms: expected at most 2s; the certificate is valid for 12d: expected 90d",
            ),
            ("2026-03-01T01:30:00Z", 100, "the certificate is valid for 1h: expected 90d"),
            ("2026-03-01T00:00:00Z", 100, "the certificate is valid for 0s: expected 90d"),
            ("2026-02-26T23:00:00Z", 100, "the certificate expired 2d ago: expected 90d"),
        ] {
            let judged = Judged {
                not_after: Some(not_after.parse().unwrap()),
                total: Duration::from_millis(total),
                ..answer(&url, &headers)
            };
            assert_eq!(judge(&expect, &judged, now()).message, expected);
        }
        let judged =
            Judged { total: Duration::from_nanos(2_000_000_001), not_after: None, ..answer(&url, &headers) };
        let expect = Expect { certificate: None, ..expect };
        assert_eq!(judge(&expect, &judged, now()).message, "took 2s1ms: expected at most 2s");
    }
}
