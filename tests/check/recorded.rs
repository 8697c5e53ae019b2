//! An answer is recorded as it came: status, times, body, certificate, sample.

use std::io::Write;
use std::time::Duration;

use httpmock::MockServer;
use jiff::Timestamp;
use webmon::limits::MAX_SAMPLE_HEADERS;
use webmon::record::{ErrorType, Expectation, HttpVersion, Outcome};
use webmon::site::{Method, Site};

use crate::site::{LOCALHOST, assert_error, check, check_with, regex, settings, site};
use crate::sites::{Heard, Server, read_head, response};

#[test]
fn a_status_is_a_success_only_where_it_is_expected() {
    let server = MockServer::start();
    let all = ["2xx", "200-204", "404", "3xx"];
    for (status, expected, success) in [
        (200, &["2xx"][..], true),
        (204, &["2xx"], true),
        (301, &["2xx"], false),
        (304, &["2xx"], false),
        (404, &["2xx"], false),
        (500, &["2xx"], false),
        (503, &["2xx"], false),
        (404, &all, true),
        (301, &all, true),
        (205, &["200-204"], false),
    ] {
        let mut mock = server.mock(|when, then| {
            when.path("/");
            then.status(status);
        });
        let mut site = site(&server.url("/"));
        site.expect.status = expected.iter().map(|range| range.parse().unwrap()).collect();
        let result = check(&site);
        assert_eq!(result.http_status, Some(status));
        assert_eq!(result.outcome, if success { Outcome::Success } else { Outcome::Failure }, "{status}");
        if !success {
            assert_error(&result, ErrorType::ExpectationFailed, "status");
            assert_eq!(result.failed_expectations, [Expectation::Status]);
            let message = result.error_message.unwrap();
            assert!(message.starts_with(&format!("status {status}: expected 2")), "{message}");
        }
        mock.delete();
    }
}

#[test]
fn a_success_has_every_measurement_of_its_kind_and_no_other() {
    let server = Server::answering(response("200 OK", &[], b"hello"));
    let before = Timestamp::now();
    let result = check_with(
        &settings(&["shop.example"]),
        &site(&format!("http://shop.example:{}/", server.address.port())),
    );
    assert_eq!(result.outcome, Outcome::Success);
    for (name, phase) in [
        ("dns", result.dns_us),
        ("connect", result.connect_us),
        ("ttfb", result.ttfb_us),
        ("download", result.download_us),
    ] {
        assert!(phase.unwrap() <= result.total_us.unwrap(), "{name}");
    }
    assert_eq!((result.tls_us, result.tls_version, result.cert_not_after), (None, None, None));
    assert_eq!((result.body_bytes, result.body_truncated, result.body_matched), (Some(5), false, None));
    assert_eq!(result.remote_ip, Some(LOCALHOST));
    assert_eq!(result.http_version, Some(HttpVersion::Http11));
    assert_eq!((result.attempts, result.redirects, result.final_url), (1, 0, None));
    let started_at = result.started_at.unwrap();
    assert!(started_at.as_microsecond() >= before.as_microsecond() && started_at <= Timestamp::now());
    assert_eq!(started_at.subsec_nanosecond() % 1_000, 0);
}

#[test]
fn an_address_in_the_url_is_never_looked_up() {
    let server = Server::answering(response("200 OK", &[], b""));
    let result = check(&site(&server.url("/")));
    assert_eq!((result.outcome, result.dns_us), (Outcome::Success, None));
}

#[test]
fn the_request_is_the_sites_own() {
    let heard = Heard::default();
    let hears = heard.clone();
    let server = Server::start(move |mut stream| {
        hears.push(read_head(&mut stream));
        let _ = stream.write_all(&response("200 OK", &[], b""));
    });
    let mut site = site(&format!("http://us%40er:pass@{}/a?b=c#d", server.address));
    site.headers = vec![
        ("X-Api-Key".to_owned(), "k".repeat(6_000)),
        ("host".to_owned(), "virtual.example".to_owned()),
        ("User-Agent".to_owned(), "probe".to_owned()),
    ];
    assert_eq!(check(&site).outcome, Outcome::Success);
    let head = heard.all().remove(0);
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    for line in [
        "connection: close",
        "accept-encoding: gzip, br",
        "host: virtual.example",
        "user-agent: probe",
        "authorization: Basic dXNAZXI6cGFzcw==",
        &format!("x-api-key: {}", "k".repeat(6_000)),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
}

#[test]
fn a_head_request_has_no_body_to_expect_anything_of() {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\ncontent-encoding: gzip\r\n\r\n");
    let mut site = site(&server.url("/"));
    site.method = Method::Head;
    site.expect.body = vec![regex("data platform")];
    let result = check(&site);
    assert_eq!(result.outcome, Outcome::Success);
    assert_eq!((result.body_bytes, result.download_us, result.body_matched), (None, None, None));
    assert_eq!(result.method, "HEAD");
}

#[test]
fn body_and_headers_are_expected_as_written() {
    let server = MockServer::start();
    server.mock(|when, then| {
        when.path("/");
        then.status(200)
            .header("content-type", "text/html; charset=iso-8859-1")
            .header("X-Cache", "HIT")
            .body(b"our data\nplatform, gr\xfc\xdfe");
    });
    let mut site = site(&server.url("/"));
    site.expect.body = vec![regex(r"(?s)data.*platform, grüße")];
    site.expect.not_body = vec![regex("maintenance")];
    site.expect.headers = vec![("x-cache".to_owned(), regex("^HIT$"))];
    let result = check(&site);
    assert_eq!((result.outcome, result.body_matched), (Outcome::Success, Some(true)), "{result:?}");

    site.expect.body = vec![regex("something else")];
    site.expect.not_body = vec![regex("our")];
    site.expect.headers = vec![("x-missing".to_owned(), regex(""))];
    site.expect.max_time = Some(Duration::ZERO);
    let result = check(&site);
    assert_error(&result, ErrorType::ExpectationFailed, "body");
    assert_eq!(result.body_matched, Some(false));
    use Expectation::{Body, Header, MaxTime, NotBody};
    assert_eq!(result.failed_expectations, [Body, NotBody, Header, MaxTime]);
}

#[test]
fn a_sample_is_bounded_and_taken_only_of_a_failure_that_asked_for_it() {
    let headers: Vec<String> =
        (0..60).map(|index| format!("x-{index}: {}", "v".repeat(index * 30))).collect();
    let mut lines = vec!["set-cookie: session=secret", "location: /next?token=secret", "x-latin: gr\u{fc}n"];
    lines.extend(headers.iter().map(String::as_str));
    let body = "\0ü".repeat(4_000);
    let server = Server::answering(response("503 Service Unavailable", &lines, body.as_bytes()));
    let mut site = site(&server.url("/"));
    assert_eq!(check(&site).sample, None);
    site.sample = true;
    let sample = check(&site).sample.unwrap();
    assert_eq!(sample.headers.len(), MAX_SAMPLE_HEADERS);
    assert!(sample.body.starts_with("\u{fffd}ü") && sample.body.len() > 4_000, "{}", sample.body.len());
    assert!(!format!("{sample:?}").contains("secret"));
    site.expect.status = vec!["503".parse().unwrap()];
    assert_eq!(check(&site).sample, None);
}

#[test]
fn a_sampled_location_is_one_of_the_site_that_sent_it() {
    let other = Server::answering(response("503 Sorry", &["location: next?token=secret"], b""));
    let location = format!("location: {}", other.url("/a/b"));
    let server = Server::answering(response("302 Found", &[&location], b""));
    let site = Site { sample: true, ..site(&server.url("/")) };
    let sample = check(&site).sample.unwrap();
    let location = sample.headers.iter().find(|(name, _)| name == "location").unwrap();
    assert_eq!(location.1, other.url("/a/next?token=..."));
}
