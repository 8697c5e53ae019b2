//! Judges a response by all of a site's expectations, even after one has failed.

use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::http::HeaderMap;

use crate::record::Expectation;
use crate::site::Expect;

/// What is judged.
pub(super) struct Judged<'a> {
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
    if let Some(text) = judged.text {
        let read = if judged.truncated { " in the part that was read" } else { "" };
        if let Some(pattern) = &expect.body {
            let found = pattern.is_match(text);
            verdict.body_matched = Some(found);
            if !found {
                verdict.fail(
                    Expectation::Body,
                    &format!("the body does not match {:?}{read}", pattern.as_str()),
                );
            }
        }
        if let Some(pattern) = &expect.not_body {
            let found = pattern.is_match(text);
            verdict.body_matched = Some(verdict.body_matched.unwrap_or(true) && !found);
            if found {
                verdict.fail(Expectation::NotBody, &format!("the body matches {:?}", pattern.as_str()));
            }
        }
    }
    for (name, pattern) in &expect.headers {
        let mut values = judged.headers.get_all(name.as_str()).iter().peekable();
        if values.peek().is_none() {
            verdict.fail(Expectation::Header, &format!("the header {name:?} is missing"));
        } else if !values.any(|value| pattern.is_match(&String::from_utf8_lossy(value.as_bytes()))) {
            let message = format!("the header {name:?} does not match {:?}", pattern.as_str());
            verdict.fail(Expectation::Header, &message);
        }
    }
    if let Some(max_time) = expect.max_time
        && judged.total > max_time
    {
        let message =
            format!("took {} ms: expected at most {} ms", judged.total.as_millis(), max_time.as_millis());
        verdict.fail(Expectation::MaxTime, &message);
    }
    if let Some(wanted) = expect.certificate {
        match judged.not_after {
            None => verdict.fail(Expectation::Certificate, "no certificate: expected one"),
            Some(not_after) => {
                let wanted = SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX);
                if not_after.duration_since(now) < wanted {
                    let message = format!(
                        "the certificate expires at {not_after}: expected {} s more",
                        wanted.as_secs()
                    );
                    verdict.fail(Expectation::Certificate, &message);
                }
            }
        }
    }
    verdict.failed.sort_unstable();
    verdict.failed.dedup();
    verdict
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use regex::Regex;

    use super::*;

    fn answer<'a>(headers: &'a HeaderMap) -> Judged<'a> {
        Judged {
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

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn every_expectation_is_evaluated_and_each_failed_one_is_named_once() {
        let headers = HeaderMap::new();
        let expect = Expect {
            status: vec!["204".parse().unwrap(), "3xx".parse().unwrap()],
            body: Some(regex("no such text")),
            not_body: Some(regex("platform")),
            headers: vec![("x-a".to_owned(), regex("a")), ("x-b".to_owned(), regex("b"))],
            max_time: Some(Duration::from_millis(99)),
            certificate: Some(10 * DAY),
        };
        let verdict = judge(&expect, &answer(&headers), now());
        assert_eq!(verdict.failed, Expectation::ALL);
        assert_eq!(verdict.body_matched, Some(false));
        assert!(
            verdict.message.starts_with("status 200: expected 204, 300-399; the body"),
            "{}",
            verdict.message
        );
    }

    #[test]
    fn bounds_belong_to_success() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        let expect = Expect {
            status: vec!["200".parse().unwrap()],
            body: Some(regex("data.*platform")),
            not_body: Some(regex("maintenance")),
            headers: vec![("x-a".to_owned(), regex("^2$"))],
            max_time: Some(Duration::from_millis(100)),
            certificate: Some(9 * DAY),
        };
        let verdict = judge(&expect, &answer(&headers), now());
        assert_eq!(verdict.failed, []);
        assert_eq!((verdict.message.as_str(), verdict.body_matched), ("", Some(true)));
    }

    #[test]
    fn a_body_is_matched_only_where_there_is_a_pattern_and_a_body() {
        let headers = HeaderMap::new();
        assert_eq!(judge(&Expect::default(), &answer(&headers), now()).body_matched, None);
        let only_not = Expect { not_body: Some(regex("maintenance")), ..Expect::default() };
        assert_eq!(judge(&only_not, &answer(&headers), now()).body_matched, Some(true));
        let head = Judged { text: None, ..answer(&headers) };
        let verdict = judge(&only_not, &head, now());
        assert_eq!((verdict.body_matched, verdict.failed), (None, vec![]));
    }

    #[test]
    fn plain_http_has_no_certificate_to_expect_days_of() {
        let headers = HeaderMap::new();
        let expect = Expect { certificate: Some(DAY), ..Expect::default() };
        let plain = Judged { not_after: None, ..answer(&headers) };
        assert_eq!(judge(&expect, &plain, now()).failed, [Expectation::Certificate]);
    }
}
