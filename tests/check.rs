//! Checks against sites on loopback: what each kind of answer, and each kind of trouble, comes to in the record.

#![cfg(feature = "check")]

#[path = "support/sites.rs"]
mod sites;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use httpmock::MockServer;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use regex::Regex;
use webmon::check::{Checker, Pool, PoolOptions, Resolve, ResolveError, Settings};
use webmon::limits::MAX_SAMPLE_HEADERS;
use webmon::record::{CheckResult, ErrorType, Expectation, HttpVersion, Outcome, Record, TlsVersion};
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;
use webmon::site::{Method, Origin, Site};

use sites::{
    Authority, BlackHole, ClosedPort, Heard, Server, hold, read_head, reset, response, self_signed,
    self_signed_authority,
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The timeout of checks that are to run into it.
const SHORT: Duration = Duration::from_millis(300);

/// Names as a test wants them; never a real look-up.
#[derive(Default)]
struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve(&self, host: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            "servfail.example" => Err(ResolveError::ServFail),
            "refused.example" => Err(ResolveError::Refused),
            "no-address.example" => Ok(Vec::new()),
            "panic.example" => panic!("a resolver with a bug"),
            _ => self.0.get(host).cloned().ok_or(ResolveError::NxDomain),
        }
    }
}

/// Settings in which every name in `names` is 127.0.0.1.
fn settings(names: &[&'static str]) -> Settings {
    let names = names.iter().map(|name| (*name, vec![LOCALHOST])).collect();
    Settings::with_resolver(Arc::new(Names(names)))
}

fn site(url: &str) -> Site {
    Site { timeout: Duration::from_secs(10), ..Site::new("shop", url.parse().unwrap(), a_schedule()) }
}

fn a_schedule() -> Schedule {
    Schedule::new("@hourly", "UTC").unwrap()
}

fn origin() -> Origin {
    Origin { location: "test-1".to_owned(), checker: "test".to_owned() }
}

/// The present, in whole seconds: an instant as schedules have them.
fn due() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

fn after(instant: Timestamp, seconds: i64) -> Timestamp {
    instant + SignedDuration::from_secs(seconds)
}

/// Asserts what holds for every result there is, then hands it back.
fn valid(result: CheckResult) -> CheckResult {
    Record::Result(Box::new(result.clone())).validate().unwrap();
    let json = Record::Result(Box::new(result.clone())).encode();
    assert_eq!(Record::decode(&json).unwrap(), Record::Result(Box::new(result.clone())));
    assert_eq!(result.outcome == Outcome::Success, result.error_type.is_none(), "{result:?}");
    assert_eq!(result.attempts > 0, result.started_at.is_some(), "{result:?}");
    assert!(result.failed_expectations.is_sorted(), "{result:?}");
    result
}

fn check_with(settings: &Settings, site: &Site) -> CheckResult {
    let mut checker = Checker::new(settings).unwrap();
    let due = due();
    valid(checker.check(site, &origin(), due, Some(after(due, 60)), &Shutdown::new()))
}

fn check(site: &Site) -> CheckResult {
    check_with(&settings(&[]), site)
}

#[track_caller]
fn assert_error(result: &CheckResult, error_type: ErrorType, detail: &str) {
    assert_eq!(
        (result.error_type, result.error_detail.as_deref()),
        (Some(error_type), Some(detail)),
        "{result:?}"
    );
}

fn regex(pattern: &str) -> Arc<Regex> {
    Arc::new(Regex::new(pattern).unwrap())
}

// ---- What is recorded of an answer.

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
    site.expect.body = Some(regex("data platform"));
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
    site.expect.body = Some(regex(r"(?s)data.*platform, grüße"));
    site.expect.not_body = Some(regex("maintenance"));
    site.expect.headers = vec![("x-cache".to_owned(), regex("^HIT$"))];
    let result = check(&site);
    assert_eq!((result.outcome, result.body_matched), (Outcome::Success, Some(true)), "{result:?}");

    site.expect.body = Some(regex("something else"));
    site.expect.not_body = Some(regex("our"));
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

// ---- Redirects.

#[test]
fn redirects_are_followed_counted_and_named() {
    let server = MockServer::start();
    for (path, status, location) in [("/a", 302, "/b?token=secret"), ("/b", 308, "c"), ("/c", 303, "/end")] {
        server.mock(|when, then| {
            when.path(path);
            then.status(status).header("location", location);
        });
    }
    server.mock(|when, then| {
        when.path("/end");
        then.status(200).body("the end");
    });
    let mut site = site(&server.url("/a"));
    site.expect.body = Some(regex("the end"));
    let result = check(&site);
    assert_eq!((result.outcome, result.redirects), (Outcome::Success, 3), "{result:?}");
    assert_eq!(result.final_url, Some(server.url("/end")));

    site.max_redirects = 3;
    assert_eq!(check(&site).outcome, Outcome::Success);

    site.max_redirects = 2;
    let result = check(&site);
    assert_error(&result, ErrorType::Redirect, "too_many_redirects");
    assert_eq!((result.http_status, result.redirects), (Some(303), 2));
    assert_eq!(result.final_url, Some(server.url("/c")));

    site.max_redirects = 1;
    assert_eq!(check(&site).final_url, Some(server.url("/b?token=...")));

    site.max_redirects = 0;
    site.expect.body = None;
    let result = check(&site);
    assert_error(&result, ErrorType::ExpectationFailed, "status");
    assert_eq!((result.http_status, result.redirects, result.final_url), (Some(302), 0, None));
}

#[test]
fn a_redirect_that_leads_nowhere_is_a_redirect_error() {
    for (location, detail) in [
        ("ftp://shop.example/", "bad_scheme"),
        ("http://[", "invalid_location"),
        ("http://shop.example:99999/", "invalid_location"),
    ] {
        let server = Server::answering(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n"));
        let result = check(&site(&server.url("/")));
        assert_error(&result, ErrorType::Redirect, detail);
        assert_eq!((result.http_status, result.redirects), (Some(302), 0));
    }
}

#[test]
fn a_redirect_without_a_location_is_an_answer() {
    for headers in [&[][..], &["location:"], &["location: "]] {
        let server = Server::answering(response("302 Found", headers, b""));
        let result = check(&site(&server.url("/")));
        assert_error(&result, ErrorType::ExpectationFailed, "status");
        assert_eq!((result.redirects, server.accepted()), (0, 1), "{headers:?}");
    }
}

#[test]
fn the_phases_are_those_of_the_hop_that_failed() {
    let nobody = ClosedPort::new();
    let server = Server::answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: http://next.example:{}/\r\n\r\n",
        nobody.address.port()
    ));
    let result = check_with(&settings(&["next.example"]), &site(&server.url("/")));
    assert_error(&result, ErrorType::Connect, "refused");
    assert_eq!((result.http_status, result.redirects), (Some(302), 1));
    assert!(result.dns_us.is_some());
    assert_eq!((result.connect_us, result.ttfb_us, result.remote_ip), (None, None, Some(LOCALHOST)));
}

#[test]
fn the_sites_secrets_go_to_no_other_host() {
    let heard = Heard::default();
    let hears = heard.clone();
    let other = Server::start(move |mut stream| {
        hears.push(read_head(&mut stream));
        let _ = stream.write_all(&response("200 OK", &[], b""));
    });
    let hears = heard.clone();
    let port = other.address.port();
    let server = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let location = if head.starts_with("GET /first ") {
            "/second".to_owned()
        } else {
            format!("http://u:p@other.example:{port}/")
        };
        hears.push(head);
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n").as_bytes());
    });
    let mut site = site(&format!("http://user:secret@shop.example:{}/first", server.address.port()));
    site.headers = vec![("x-api-key".to_owned(), "secret".to_owned())];
    let result = check_with(&settings(&["shop.example", "other.example"]), &site);
    assert_eq!((result.outcome, result.redirects), (Outcome::Success, 2), "{result:?}");
    let heads = heard.all();
    for head in &heads[..2] {
        assert!(head.contains("authorization: Basic ") && head.contains("x-api-key: secret"), "{head}");
    }
    assert!(!heads[2].contains("authorization") && !heads[2].contains("x-api-key"), "{}", heads[2]);
}

// ---- Sites that misbehave.

#[test]
fn a_site_that_misbehaves_is_named_for_what_it_did() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(2_000));
    let large_header = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(100_000));
    for (sent, error_type, detail, status) in [
        ("", ErrorType::Protocol, "closed_early", None),
        ("HTTP/1.1 200 OK\r\ncontent-le", ErrorType::Protocol, "closed_early", None),
        ("SSH-2.0-OpenSSH_9.7\r\n", ErrorType::Protocol, "bad_status_line", None),
        ("<html>hello</html>\r\n\r\n", ErrorType::Protocol, "bad_status_line", None),
        ("\u{16}\u{3}\u{1}\0\0", ErrorType::Protocol, "bad_status_line", None),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", ErrorType::Protocol, "bad_header", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", ErrorType::Protocol, "bad_header", None),
        (&many_headers, ErrorType::Protocol, "header_too_large", None),
        (&large_header, ErrorType::Protocol, "header_too_large", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", ErrorType::Body, "length_mismatch", Some(200)),
        (&format!("{chunked}5\r\nhel"), ErrorType::Body, "closed_early", Some(200)),
        (&format!("{chunked}nonsense\r\n"), ErrorType::Body, "bad_chunk", Some(200)),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nnot gzip",
            ErrorType::Body,
            "bad_encoding",
            Some(200),
        ),
    ] {
        let server = Server::answering(sent);
        let mut site = site(&server.url("/"));
        site.sample = true;
        let result = check(&site);
        assert_error(&result, error_type, detail);
        assert_eq!(result.http_status, status, "{sent:.80}");
        assert_eq!(result.sample.is_some(), status.is_some());
        assert!(result.total_us.is_some() && result.connect_us.is_some());
        assert_eq!(result.failed_expectations, []);
    }
}

#[test]
fn a_response_may_have_many_headers() {
    for count in [129, 1_000] {
        let headers: Vec<String> = (1..=count).map(|number| format!("x-{number}: {number}")).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let server = Server::answering(response("200 OK", &headers, b"hello"));
        let mut site = site(&server.url("/"));
        site.expect.headers = vec![(format!("x-{count}"), regex(&format!("^{count}$")))];
        site.expect.body = Some(regex("^hello$"));
        let result = check(&site);
        assert_eq!((result.outcome, result.body_bytes), (Outcome::Success, Some(5)), "{result:?}");
    }
}

#[test]
fn informational_responses_are_skipped_and_bounded() {
    let early = "HTTP/1.1 100 Continue\r\nx-a: b\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let mut answer = early.repeat(100).into_bytes();
    answer.extend(response("200 OK", &["x-last: yes"], b"hello"));
    // In pieces that end anywhere.
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        for piece in answer.chunks(77) {
            let _ = stream.write_all(piece);
        }
    });
    let mut site = site(&server.url("/"));
    site.expect.headers = vec![("x-last".to_owned(), regex("^yes$"))];
    let result = check(&site);
    assert_eq!((result.outcome, result.http_status), (Outcome::Success, Some(200)), "{result:?}");
    assert_eq!(result.body_bytes, Some(5));

    let endless = Server::start(|mut stream| {
        read_head(&mut stream);
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
    });
    let site = Site { timeout: Duration::from_secs(60), ..self::site(&endless.url("/")) };
    assert_error(&check(&site), ErrorType::Protocol, "header_too_large");
}

#[test]
fn a_head_that_fits_the_limit_is_read_however_it_comes() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 2\r\n\r\nok", "b".repeat(60_000));
        for piece in head.as_bytes().chunks(7_000) {
            let _ = stream.write_all(piece);
        }
    });
    let result = check(&site(&server.url("/")));
    assert_eq!((result.outcome, result.body_bytes), (Outcome::Success, Some(2)), "{result:?}");
}

#[test]
fn a_reset_is_told_from_an_end() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        reset(stream);
    });
    assert_error(&check(&site(&server.url("/"))), ErrorType::Protocol, "reset");

    // The reset comes only when the client has read the head: it says so by reading on, and then on it waits.
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf");
        let _ = stream.flush();
        while unread(&stream) > 0 {
            thread::yield_now();
        }
        reset(stream);
    });
    let result = check(&site(&server.url("/")));
    assert_error(&result, ErrorType::Body, "reset");
    assert_eq!((result.http_status, result.body_bytes), (Some(200), Some(4)));
}

/// Bytes sent to the peer that its kernel has not acknowledged.
fn unread(stream: &TcpStream) -> i32 {
    use std::os::fd::AsRawFd;
    let mut bytes = 0;
    // SAFETY: TIOCOUTQ writes one int, for which there is room.
    unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    bytes
}

#[test]
fn a_body_without_end_is_read_to_the_limit_and_no_further() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 8_192]).is_ok() {}
    });
    let mut site = site(&server.url("/"));
    site.max_body = 100_001;
    site.expect.body = Some(regex("^x{1000}"));
    let result = check(&site);
    assert_eq!(result.outcome, Outcome::Success, "{result:?}");
    assert_eq!((result.body_bytes, result.body_truncated), (Some(100_001), true));
}

#[test]
fn a_compressed_bomb_is_read_to_the_limit_and_no_further() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 50 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let server = Server::answering(response("200 OK", &["content-encoding: gzip"], &bomb));
    let mut site = site(&server.url("/"));
    // The header is there for expectations although the body is decoded.
    site.expect.headers = vec![("content-encoding".to_owned(), regex("^gzip$"))];
    let result = check(&site);
    assert_eq!(result.outcome, Outcome::Success, "{result:?}");
    assert_eq!((result.body_bytes, result.body_truncated), (Some(1 << 20), true));
}

#[test]
fn a_coding_that_was_not_asked_for_fails_only_a_pattern() {
    let server = Server::answering(response("200 OK", &["content-encoding: zstd"], b"\x28\xb5\x2f\xfd"));
    let mut site = site(&server.url("/"));
    assert_eq!(check(&site).outcome, Outcome::Success);
    site.expect.body = Some(regex("data platform"));
    assert_error(&check(&site), ErrorType::Body, "unknown_encoding");
}

// ---- Time.

/// A resolver that answers only when the time is over.
struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _: &str, timeout: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let (_sender, receiver) = mpsc::channel::<()>();
        assert_eq!(receiver.recv_timeout(timeout), Err(mpsc::RecvTimeoutError::Timeout));
        Err(ResolveError::Timeout)
    }
}

#[test]
fn a_timeout_names_the_phase_in_which_the_time_was_over() {
    let hole = BlackHole::new(Ipv4Addr::LOCALHOST, 0);
    let mute = Server::start(|mut stream| hold(&mut stream));
    let half_head = Server::start(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-wait");
        hold(&mut stream);
    });
    let half_body = Server::start(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        hold(&mut stream);
    });
    for (url, phase, status) in [
        ("http://shop.example/".to_owned(), "dns", None),
        (format!("http://{}/", hole.address), "connect", None),
        (format!("https://{}/", mute.address), "tls", None),
        (mute.url("/"), "response", None),
        (half_head.url("/"), "response", None),
        (half_body.url("/"), "body", Some(200)),
    ] {
        let site = Site { timeout: SHORT, ..site(&url) };
        let result = check_with(&Settings::with_resolver(Arc::new(Silent)), &site);
        assert_error(&result, ErrorType::Timeout, phase);
        assert_eq!(result.http_status, status);
        let total = Duration::from_micros(result.total_us.unwrap().into());
        assert!(total >= SHORT && total < SHORT + Duration::from_secs(2), "{phase}: {total:?}");
    }
}

#[test]
fn bytes_that_drip_do_not_stretch_the_time() {
    // A byte whenever the last one has been taken: were each read to have the whole time, it would not end.
    let drip = |start: &'static [u8]| {
        Server::start(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(start);
            let (_sender, pace) = mpsc::channel::<()>();
            while stream.write_all(b"x").is_ok() {
                let _ = pace.recv_timeout(Duration::from_millis(20));
            }
        })
    };
    for (start, phase) in
        [(&b"HTTP/1.1 200 OK\r\nx-drip: "[..], "response"), (b"HTTP/1.1 200 OK\r\n\r\n", "body")]
    {
        let server = drip(start);
        let site = Site { timeout: SHORT, ..site(&server.url("/")) };
        let result = check(&site);
        assert_error(&result, ErrorType::Timeout, phase);
        assert!(result.total_us.unwrap() < 2_300_000);
    }
}

#[test]
fn redirects_share_one_time() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        let (_sender, pace) = mpsc::channel::<()>();
        let _ = pace.recv_timeout(Duration::from_millis(60));
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /again\r\n\r\n");
    });
    let site = Site { timeout: SHORT, max_redirects: 20, ..site(&server.url("/")) };
    let result = check(&site);
    // In which phase of which hop is chance; a hop takes 60 ms, so five of them are all there is time for.
    assert_eq!(result.error_type, Some(ErrorType::Timeout), "{result:?}");
    assert!((1..=5).contains(&result.redirects), "{}", result.redirects);
}

// ---- Names and addresses.

#[test]
fn a_name_that_does_not_resolve_is_a_dns_error() {
    for (host, detail) in [
        ("no-such-name.invalid", "nxdomain"),
        ("servfail.example", "servfail"),
        ("refused.example", "refused"),
        ("no-address.example", "no_address"),
    ] {
        let result = check(&site(&format!("http://{host}/")));
        assert_error(&result, ErrorType::Dns, detail);
        assert!(result.dns_us.is_some());
        assert_eq!((result.connect_us, result.http_status), (None, None));
    }
}

fn addresses(list: &[&str]) -> Settings {
    let list = list.iter().map(|address| address.parse().unwrap()).collect();
    Settings::with_resolver(Arc::new(Names(HashMap::from([("shop.example", list)]))))
}

#[test]
fn the_next_address_is_tried_when_one_refuses_or_is_silent() {
    let server = Server::answering(response("200 OK", &[], b""));
    let port = server.address.port();
    let site = Site { timeout: Duration::from_secs(2), ..site(&format!("http://shop.example:{port}/")) };

    let result = check_with(&addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]), &site);
    assert_eq!((result.outcome, result.remote_ip), (Outcome::Success, Some(LOCALHOST)), "{result:?}");

    let hole = BlackHole::new(Ipv4Addr::new(127, 0, 0, 4), port);
    let result = check_with(&addresses(&["127.0.0.4", "127.0.0.1"]), &site);
    assert_eq!((result.outcome, result.remote_ip), (Outcome::Success, Some(LOCALHOST)), "{result:?}");
    drop(hole);

    // Bounded: the ninth address is not tried.
    let nine: Vec<String> =
        (2..=9).map(|last| format!("127.0.0.{last}")).chain(["127.0.0.1".to_owned()]).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    assert_error(&check_with(&addresses(&nine), &site), ErrorType::Connect, "refused");
}

#[test]
fn a_forbidden_address_is_connected_to_on_no_hop() {
    let forbidden = Server::answering(response("200 OK", &[], b""));
    let port = forbidden.address.port();
    let redirecting =
        Server::answering(format!("HTTP/1.1 302 Found\r\nlocation: http://inner.example:{port}/\r\n\r\n"));
    let names = HashMap::from([
        ("inner.example", vec![LOCALHOST]),
        ("mapped.example", vec!["::ffff:127.0.0.1".parse().unwrap()]),
        ("shop.example", vec!["127.0.0.2".parse().unwrap()]),
    ]);
    let mut settings = Settings::with_resolver(Arc::new(Names(names)));
    settings.deny_addresses = vec!["127.0.0.1/32".parse().unwrap()];
    for host in ["127.0.0.1", "inner.example", "mapped.example", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
    {
        let result = check_with(&settings, &site(&format!("http://{host}:{port}/")));
        assert_error(&result, ErrorType::BlockedAddress, "denied");
        assert_eq!(result.connect_us, None);
    }
    // By a redirect: the rule moves to the address of the second hop.
    settings.deny_addresses = vec!["127.0.0.2/32".parse().unwrap()];
    let location = format!("http://shop.example:{port}/");
    let server = Server::answering(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n"));
    let result = check_with(&settings, &site(&server.url("/")));
    assert_error(&result, ErrorType::BlockedAddress, "denied");
    assert_eq!((result.http_status, result.redirects, result.final_url), (Some(302), 1, Some(location)));
    // A literal as the target of a redirect.
    settings.deny_addresses = vec![];
    assert_eq!(check_with(&settings, &site(&redirecting.url("/"))).outcome, Outcome::Success);
    assert_eq!(forbidden.accepted(), 1);
}

#[test]
fn where_nothing_was_connected_the_address_tried_is_recorded() {
    let nobody = ClosedPort::new();
    let result = check(&site(&format!("http://{}/", nobody.address)));
    assert_error(&result, ErrorType::Connect, "refused");
    assert_eq!((result.connect_us, result.remote_ip, result.http_status), (None, Some(LOCALHOST), None));

    let hole = BlackHole::new(Ipv4Addr::new(127, 0, 0, 5), 0);
    let result = check(&Site { timeout: SHORT, ..site(&format!("http://{}/", hole.address)) });
    assert_error(&result, ErrorType::Timeout, "connect");
    assert_eq!((result.connect_us, result.remote_ip), (None, Some(hole.address.ip())));

    // Of several the last.
    let url = format!("http://shop.example:{}/", nobody.address.port());
    let result = check_with(&addresses(&["127.0.0.2", "127.0.0.3"]), &site(&url));
    assert_eq!(result.remote_ip, Some("127.0.0.3".parse().unwrap()));
}

// ---- TLS.

fn https(config: &Arc<rustls::ServerConfig>) -> Server {
    Server::https(0, Arc::clone(config), response("200 OK", &[], b"a secure page")).unwrap()
}

fn year(year: i16) -> Timestamp {
    jiff::civil::date(year, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

#[test]
fn the_certificate_is_known_whether_it_is_trusted_or_not() {
    let authority = Authority::new("a test authority");
    let stranger = Authority::new("a stranger");
    let mut settings = settings(&["shop.example", "other.example"]);
    settings.extra_roots = vec![authority.root()];
    for (config, host, detail, not_after) in [
        (authority.server(&["shop.example"], 2020, 2040), "shop.example", None, 2040),
        (authority.server(&["127.0.0.1"], 2020, 2040), "127.0.0.1", None, 2040),
        (authority.server(&["shop.example"], 2020, 2021), "shop.example", Some("certificate_expired"), 2021),
        (
            authority.server(&["shop.example"], 2039, 2040),
            "shop.example",
            Some("certificate_not_yet_valid"),
            2040,
        ),
        (authority.server(&["shop.example"], 2020, 2040), "other.example", Some("name_mismatch"), 2040),
        (stranger.server(&["shop.example"], 2020, 2040), "shop.example", Some("unknown_issuer"), 2040),
        (self_signed(&["shop.example"]), "shop.example", Some("self_signed"), 2040),
    ] {
        let server = https(&config);
        let mut site = site(&format!("https://{host}:{}/", server.address.port()));
        site.expect.body = Some(regex("a secure page"));
        let result = check_with(&settings, &site);
        assert_eq!(result.cert_not_after, Some(year(not_after)), "{host} {detail:?} {result:?}");
        assert_eq!(result.tls_version, Some(TlsVersion::Tls13));
        assert!(result.connect_us.is_some());
        match detail {
            None => {
                assert_eq!(
                    (result.outcome, result.body_matched),
                    (Outcome::Success, Some(true)),
                    "{result:?}"
                );
                assert!(result.tls_us.unwrap() > 0);
            }
            Some(detail) => {
                assert_error(&result, ErrorType::Tls, detail);
                assert_eq!((result.tls_us, result.http_status), (None, None));
            }
        }
    }
}

#[test]
fn a_certificate_that_is_trusted_by_name_may_call_itself_an_authority() {
    let url = |host: &str, server: &Server| format!("https://{host}:{}/", server.address.port());
    for (to_year, host, is_root, detail) in [
        (2040, "shop.example", true, None),
        (2040, "other.example", true, Some("name_mismatch")),
        (2021, "shop.example", true, Some("certificate_expired")),
        (2040, "shop.example", false, Some("self_signed")),
    ] {
        let (config, certificate) = self_signed_authority(&["shop.example"], to_year);
        let server = https(&config);
        let mut settings = settings(&["shop.example", "other.example"]);
        // One of the same name and another key is another one.
        let stranger = self_signed_authority(&["shop.example"], to_year).1;
        settings.extra_roots = vec![stranger, if is_root { certificate } else { Authority::new("x").root() }];
        let result = check_with(&settings, &site(&url(host, &server)));
        match detail {
            None => assert_eq!(result.outcome, Outcome::Success, "{result:?}"),
            Some(detail) => assert_error(&result, ErrorType::Tls, detail),
        }
    }
}

#[test]
fn where_a_certificate_is_valid_by_the_sites_own_clock_the_detail_says_so() {
    let authority = Authority::new("a test authority");
    let mut settings = settings(&["shop.example"]);
    settings.extra_roots = vec![authority.root()];
    for (from_year, to_year, date, detail) in [
        (2020, 2021, "Mon, 01 Jun 2020 12:00:00 GMT", "certificate_expired_clocks_differ"),
        (2039, 2040, "Wed, 01 Jun 2039 12:00:00 GMT", "certificate_not_yet_valid_clocks_differ"),
        // Expired by both clocks.
        (2020, 2021, "Wed, 01 Jun 2022 12:00:00 GMT", "certificate_expired"),
        (2020, 2021, "yesterday", "certificate_expired"),
    ] {
        let config = authority.server(&["shop.example"], from_year, to_year);
        let (heard, answer) = (Heard::default(), response("200 OK", &[&format!("date: {date}")], b""));
        let hears = heard.clone();
        let server = Server::start(move |stream| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let head = read_head(&mut stream);
            if !head.is_empty() {
                hears.push(head);
                let _ = stream.write_all(&answer);
            }
        });
        let mut site = site(&format!("https://user:s3cr3t@shop.example:{}/s3cr3t", server.address.port()));
        site.headers = vec![("x-api-key".to_owned(), "s3cr3t".to_owned())];
        let result = check_with(&settings, &site);
        assert_error(&result, ErrorType::Tls, detail);
        // Whoever has no valid certificate hears nothing of the check.
        let host = "HEAD / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
        assert_eq!(heard.all(), [host]);
    }
}

#[test]
fn the_certificate_is_seen_on_every_check_of_a_thread() {
    let authority = Authority::new("a test authority");
    let server = https(&authority.server(&["127.0.0.1"], 2020, 2040));
    let mut settings = settings(&[]);
    settings.extra_roots = vec![authority.root()];
    let mut checker = Checker::new(&settings).unwrap();
    let site = site(&format!("https://{}/", server.address));
    for _ in 0..3 {
        let result = valid(checker.check(&site, &origin(), due(), None, &Shutdown::new()));
        assert_eq!((result.outcome, result.cert_not_after), (Outcome::Success, Some(year(2040))));
    }
    // What one check saw is not the next one's.
    let plain = Server::answering(response("200 OK", &[], b""));
    let result = valid(checker.check(&self::site(&plain.url("/")), &origin(), due(), None, &Shutdown::new()));
    assert_eq!((result.cert_not_after, result.tls_us, result.tls_version), (None, None, None));
}

#[test]
fn a_certificate_about_to_expire_fails_its_expectation_only() {
    let authority = Authority::new("a test authority");
    let server = https(&authority.server(&["127.0.0.1"], 2020, 2040));
    let mut settings = settings(&[]);
    settings.extra_roots = vec![authority.root()];
    let mut site = site(&format!("https://{}/", server.address));
    site.expect.certificate = Some(Duration::from_secs(86_400));
    assert_eq!(check_with(&settings, &site).outcome, Outcome::Success);
    site.expect.certificate = Some(Duration::from_secs(50 * 365 * 86_400));
    let result = check_with(&settings, &site);
    assert_error(&result, ErrorType::ExpectationFailed, "certificate");
    assert_eq!(result.failed_expectations, [Expectation::Certificate]);
}

#[test]
fn what_is_not_tls_is_a_tls_error() {
    let plain = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        hold(&mut stream);
    });
    let closing = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 5]);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        hold(&mut stream);
    });
    let resetting = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 5]);
        reset(stream);
    });
    let alert = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 5]);
        let _ = stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28");
        hold(&mut stream);
    });
    for (server, detail) in
        [(&plain, "not_tls"), (&closing, "closed_early"), (&resetting, "reset"), (&alert, "handshake")]
    {
        let result = check(&site(&format!("https://{}/", server.address)));
        assert_error(&result, ErrorType::Tls, detail);
        assert_eq!((result.tls_us, result.cert_not_after), (None, None));
    }
}

// ---- Secrets.

#[test]
fn no_secret_of_a_url_is_in_any_record() {
    let refusing = ClosedPort::new();
    let failing = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        // Some sites send their visitors' secrets to the next page.
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let headers = [format!("location: {path}&more=s3cr3t"), "set-cookie: id=s3cr3t".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let _ = stream.write_all(&response("503 Service Unavailable", &headers, b"sorry"));
    });
    let looping = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {path}&s3cr3t\r\n\r\n").as_bytes());
    });
    let leading_away =
        Server::answering("HTTP/1.1 302 Found\r\nlocation: foo://s3cr3t:s3cr3t@x/?s3cr3t\r\n\r\n");
    let garbage = Server::answering("s3cr3t\r\n\r\n");
    let tls = https(&self_signed(&["shop.example"]));
    for (scheme, host) in [
        ("http", refusing.address.to_string()),
        ("http", failing.address.to_string()),
        ("http", looping.address.to_string()),
        ("http", leading_away.address.to_string()),
        ("http", garbage.address.to_string()),
        ("https", tls.address.to_string()),
        ("http", "no-such-name.invalid".to_owned()),
    ] {
        let mut site = site(&format!("{scheme}://s3cr3t:s3cr3t@{host}/path?token=s3cr3t&s3cr3t#s3cr3t"));
        site.headers = vec![("authorization".to_owned(), "Bearer s3cr3t".to_owned())];
        site.sample = true;
        let result = check(&site);
        assert_eq!(result.outcome, Outcome::Failure, "{result:?}");
        let json = String::from_utf8(Record::Result(Box::new(result)).encode()).unwrap();
        assert!(!json.contains("s3cr3t"), "{json}");
    }
}

// ---- Retries and trouble of the checker's own.

/// Fails `failures` requests with a 503, then answers 200.
fn recovering(failures: usize) -> Server {
    let seen = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        read_head(&mut stream);
        let status = if seen.fetch_add(1, Ordering::SeqCst) < failures { "503 Sorry" } else { "200 OK" };
        let _ = stream.write_all(&response(status, &[], b""));
    })
}

#[test]
fn a_failure_is_believed_only_when_every_attempt_fails() {
    for (failures, retries, attempts, outcome) in [
        (0, 2, 1, Outcome::Success),
        (1, 0, 1, Outcome::Failure),
        (1, 2, 2, Outcome::Success),
        (2, 2, 3, Outcome::Success),
        (3, 2, 3, Outcome::Failure),
    ] {
        let server = recovering(failures);
        let site = Site { retries, retry_pause: Duration::from_millis(1), ..site(&server.url("/")) };
        let result = check(&site);
        assert_eq!((result.outcome, result.attempts), (outcome, attempts), "{failures} of {retries}");
        assert_eq!(server.accepted(), usize::from(attempts));
    }
}

#[test]
fn a_failure_that_could_not_be_confirmed_is_missed() {
    let server = recovering(usize::MAX);
    let site = Site { retries: 1, retry_pause: Duration::from_secs(60), ..site(&server.url("/")) };
    let shutdown = Shutdown::new();
    shutdown.request();
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let result = valid(checker.check(&site, &origin(), due(), None, &shutdown));
    assert_error(&result, ErrorType::Cancelled, "stopped");
    assert_eq!((result.outcome, result.attempts, result.http_status), (Outcome::Missed, 1, None));
}

#[test]
fn a_panic_is_missed_and_the_checker_goes_on() {
    let server = Server::answering(response("200 OK", &[], b""));
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let result =
        valid(checker.check(&site("http://panic.example/"), &origin(), due(), None, &Shutdown::new()));
    assert_error(&result, ErrorType::Cancelled, "panic");
    assert_eq!(result.outcome, Outcome::Missed);
    let result = valid(checker.check(&site(&server.url("/")), &origin(), due(), None, &Shutdown::new()));
    assert_eq!(result.outcome, Outcome::Success);
}

#[test]
fn an_instant_too_far_off_to_be_recorded_is_late() {
    let mut checker = Checker::new(&settings(&[])).unwrap();
    for seconds in [-3_000, 3_000] {
        let instant = after(due(), seconds);
        let site = site("http://no-such-name.invalid/");
        let result = valid(checker.check(&site, &origin(), instant, None, &Shutdown::new()));
        assert_eq!((result.outcome, result.error_type), (Outcome::Missed, Some(ErrorType::Late)));
        assert_eq!(result.started_at, None);
    }
}

/// Runs in a process of its own, as it leaves none of its files to others.
#[test]
fn a_checker_out_of_files_misses_and_blames_no_site() {
    const CHILD: &str = "WEBMON_TEST_OUT_OF_FILES";
    if std::env::var_os(CHILD).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_checker_out_of_files_misses_and_blames_no_site", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: it only reads the limit, which outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let server = Server::answering(response("200 OK", &[], b""));
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let site = Site { retries: 3, ..site(&server.url("/")) };
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    let result = checker.check(&site, &origin(), due(), None, &Shutdown::new());
    drop(open);
    let result = valid(result);
    assert_error(&result, ErrorType::Saturated, "too_many_open_files");
    assert_eq!((result.outcome, result.attempts), (Outcome::Missed, 1));
    let result = valid(checker.check(&site, &origin(), due(), None, &Shutdown::new()));
    assert_eq!(result.outcome, Outcome::Success);
}

// ---- The pool.

/// A resolver that lets no check pass before it is told to.
#[derive(Default)]
struct Gate {
    state: Mutex<(usize, usize)>,
    changed: std::sync::Condvar,
}

impl Gate {
    /// Lets `checks` more pass.
    fn open(&self, checks: usize) {
        let mut state = self.state.lock().unwrap();
        state.1 = state.1.saturating_add(checks);
        self.changed.notify_all();
    }

    /// Waits until `checks` have come to the gate in all.
    fn await_arrivals(&self, checks: usize) {
        let state = self.state.lock().unwrap();
        let (state, waited) = self
            .changed
            .wait_timeout_while(state, Duration::from_secs(20), |state| state.0 < checks)
            .unwrap();
        assert!(!waited.timed_out(), "only {} of {checks} have come", state.0);
    }
}

impl Resolve for Gate {
    fn resolve(&self, _: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.1 == 0).unwrap();
        state.1 -= 1;
        Err(ResolveError::NxDomain)
    }
}

/// A gate that is open for good when the test ends, however it ends.
struct OpenAtTheEnd(Arc<Gate>);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open(usize::MAX);
    }
}

impl std::ops::Deref for OpenAtTheEnd {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

struct Gated {
    pool: Pool,
    gate: OpenAtTheEnd,
    results: mpsc::Receiver<CheckResult>,
    due: Timestamp,
}

impl Gated {
    fn new(threads: usize, queue: usize) -> Gated {
        Gated::keeping(Duration::from_secs(60), threads, queue)
    }

    /// One that keeps threads without work for so long.
    fn keeping(keep_threads: Duration, threads: usize, queue: usize) -> Gated {
        let gate = Arc::new(Gate::default());
        let (sender, results) = mpsc::channel();
        let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
        let options = PoolOptions {
            threads,
            keep_threads,
            queue,
            max_lateness: Duration::from_secs(300),
            ..PoolOptions::new(origin())
        };
        let pool = Pool::start(&Settings::with_resolver(gate.clone()), options, sink).unwrap();
        Gated { pool, gate: OpenAtTheEnd(gate), results, due: due() }
    }

    /// Submits the site `key` for the `instant`th second from the start.
    fn submit(&self, key: &str, instant: i64) {
        let site = Arc::new(Site { key: key.to_owned(), ..site("http://shop.example/") });
        let due = after(self.due, instant);
        self.pool.submit(site, due, Some(after(due, 1)));
    }

    fn result(&self) -> CheckResult {
        self.results.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Ends the pool and hands back what it has yielded and not been asked for yet: all there will ever be, as the
    /// iteration ends when the last of the pool's threads, and the sink with it, has gone.
    fn finish(self) -> mpsc::IntoIter<CheckResult> {
        let Gated { pool, gate, results, .. } = self;
        drop((pool, gate));
        results.into_iter()
    }
}

#[test]
fn a_site_is_checked_once_at_a_time() {
    let gated = Gated::new(4, 4);
    gated.submit("shop", 0);
    gated.gate.await_arrivals(1);
    gated.submit("shop", 1);
    let overlap = gated.result();
    assert_eq!((overlap.error_type, overlap.started_at), (Some(ErrorType::Overlap), None));
    assert_eq!(overlap.scheduled_at, after(gated.due, 1));
    gated.gate.open(1);
    assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    gated.gate.open(1);
    gated.submit("shop", 2);
    assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
}

#[test]
fn a_full_pool_says_so_and_takes_what_it_has_room_for() {
    let gated = Gated::new(2, 3);
    for index in 0..5 {
        gated.submit(&format!("site-{index}"), 0);
    }
    gated.submit("one-too-many", 0);
    let saturated = gated.result();
    assert_error(&saturated, ErrorType::Saturated, "queue_full");
    assert_eq!((saturated.site.as_str(), saturated.started_at), ("one-too-many", None));
    gated.gate.await_arrivals(2);
    gated.gate.open(5);
    for _ in 0..5 {
        assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    }
}

#[test]
fn an_instant_that_is_past_is_late() {
    let gated = Gated::new(1, 8);
    gated.submit("shop", -301);
    let late = gated.result();
    assert_eq!((late.error_type, late.started_at, late.attempts), (Some(ErrorType::Late), None, 0));
}

#[test]
fn an_instant_that_waited_too_long_for_a_thread_is_late() {
    let gate = Arc::new(Gate::default());
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let due = due();
    let now = Timestamp::now().duration_since(due);
    let max_lateness = now.unsigned_abs() + Duration::from_millis(500);
    let options = PoolOptions { threads: 1, max_lateness, ..PoolOptions::new(origin()) };
    let pool = Pool::start(&Settings::with_resolver(gate.clone()), options, sink).unwrap();
    for key in ["first", "second"] {
        pool.submit(Arc::new(Site { key: key.to_owned(), ..site("http://shop.example/") }), due, None);
    }
    gate.await_arrivals(1);
    // The clock is what makes it late.
    while Timestamp::now().duration_since(due) <= SignedDuration::try_from(max_lateness).unwrap() {
        thread::sleep(Duration::from_millis(50));
    }
    gate.open(2);
    assert_error(&results.recv().unwrap(), ErrorType::Dns, "nxdomain");
    let late = results.recv().unwrap();
    assert_eq!((late.site.as_str(), late.error_type), ("second", Some(ErrorType::Late)));
    assert_eq!((late.started_at, late.attempts), (None, 0));
}

#[test]
fn stopping_lets_the_running_end_within_the_grace_and_cancels_the_waiting() {
    let gated = Gated::new(1, 8);
    gated.submit("running", 0);
    gated.gate.await_arrivals(1);
    gated.submit("waiting", 0);
    thread::scope(|scope| {
        let stopping = scope.spawn(|| gated.pool.stop(Duration::from_secs(20)));
        let waiting = gated.result();
        assert_error(&waiting, ErrorType::Cancelled, "stopped");
        assert_eq!((waiting.site.as_str(), waiting.started_at), ("waiting", None));
        gated.gate.open(1);
        stopping.join().unwrap();
    });
    let running = gated.result();
    assert_eq!((running.site.as_str(), running.outcome), ("running", Outcome::Failure));
    gated.submit("afterwards", 0);
    assert_error(&gated.result(), ErrorType::Cancelled, "stopped");
}

#[test]
fn a_straggler_is_cancelled_and_its_own_result_discarded() {
    let gated = Gated::new(2, 8);
    gated.submit("straggler", 0);
    gated.gate.await_arrivals(1);
    gated.pool.stop(Duration::ZERO);
    let result = gated.result();
    assert_error(&result, ErrorType::Cancelled, "stopped");
    assert!(result.started_at.is_some() && result.attempts == 1);
    gated.gate.open(1);
    assert_eq!(gated.finish().count(), 0);
}

#[test]
fn a_panic_in_a_check_costs_one_instant_and_no_thread() {
    let server = Server::answering(response("200 OK", &[], b""));
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let options = PoolOptions { threads: 1, ..PoolOptions::new(origin()) };
    let pool = Pool::start(&settings(&[]), options, sink).unwrap();
    pool.submit(Arc::new(site("http://panic.example/")), due(), None);
    assert_error(&results.recv().unwrap(), ErrorType::Cancelled, "panic");
    pool.submit(Arc::new(site(&server.url("/"))), due(), None);
    assert_eq!(results.recv().unwrap().outcome, Outcome::Success);
}

#[test]
fn a_burst_as_large_as_the_pool_is_taken_whole() {
    let gated = Gated::new(64, 0);
    for index in 0..64 {
        gated.submit(&format!("site-{index}"), 0);
    }
    gated.gate.await_arrivals(64);
    gated.gate.open(64);
    for _ in 0..64 {
        assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
    }
}

#[test]
fn threads_that_no_check_needs_any_more_end_and_come_back() {
    let gated = Gated::keeping(Duration::from_millis(200), 64, 0);
    let mut arrivals = 0;
    let mut burst = |name: &str| {
        for index in 0..20 {
            gated.submit(&format!("{name}-{index}"), 0);
        }
        arrivals += 20;
        gated.gate.await_arrivals(arrivals);
        assert!(gated.pool.threads() >= 20);
        gated.gate.open(20);
        (0..20).for_each(|_| drop(gated.result()));
        // Whichever thread takes it up, one check at a time needs one.
        let patience = Instant::now() + Duration::from_secs(30);
        while gated.pool.threads() > 2 {
            assert!(Instant::now() < patience, "{} threads are left", gated.pool.threads());
            gated.gate.open(1);
            gated.submit("steady", 0);
            arrivals += 1;
            assert_error(&gated.result(), ErrorType::Dns, "nxdomain");
        }
    };
    burst("first");
    burst("second");
}

#[test]
fn a_sink_that_panics_is_noted_and_holds_up_no_stop() {
    let sink = Arc::new(|result: CheckResult| assert_ne!(result.site, "shop", "cannot take it"));
    let pool = Pool::start(&settings(&[]), PoolOptions::new(origin()), sink).unwrap();
    let submit = |key: &str| {
        let site = Site { key: key.to_owned(), ..site("http://no-such-name.invalid/") };
        pool.submit(Arc::new(site), due(), None);
    };
    submit("other");
    submit("shop");
    let patience = Instant::now() + Duration::from_secs(30);
    while pool.fault().is_none() {
        assert!(Instant::now() < patience, "nobody has noted it");
        thread::park_timeout(Duration::from_millis(10));
    }
    let fault = pool.fault().unwrap();
    assert!(fault.thread.starts_with("check-") && fault.message.contains("cannot take it"), "{fault}");
    pool.stop(Duration::from_secs(20));
}

/// Twenty redirects, a chain of certificates as long as is verified, decoding, charset and a regex over the body.
#[test]
fn the_deepest_check_fits_the_stack_of_a_pools_thread() {
    let root = Authority::new("a test authority");
    // The longest chain that webpki follows.
    let authority =
        (0..5).fold(root.intermediate("first"), |above, number| above.intermediate(&number.to_string()));
    let page = response(
        "200 OK",
        &["content-encoding: gzip", "content-type: text/html; charset=utf-16le"],
        &utf16_page(),
    );
    let end = Server::https(0, authority.server(&["127.0.0.1"], 2020, 2040), page).unwrap();
    let last = format!("https://{}/", end.address);
    let hops = AtomicUsize::new(0);
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        let location = if hops.fetch_add(1, Ordering::SeqCst) < 19 { "/again" } else { &last };
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n").as_bytes());
    });
    let mut settings = settings(&[]);
    settings.extra_roots = vec![root.root()];
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let pool = Pool::start(&settings, PoolOptions::new(origin()), sink).unwrap();
    let mut site = Site { max_redirects: 20, sample: true, ..site(&server.url("/")) };
    site.expect.body = Some(regex(r"(?i)(?:(?:data|\p{Greek}+)[\s\S]{0,20}){2,5}platform$"));
    site.expect.status = vec!["404".parse().unwrap()];
    pool.submit(Arc::new(site), due(), None);
    let result = results.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(result.failed_expectations, [Expectation::Status], "{result:?}");
    assert_eq!((result.redirects, result.body_matched), (20, Some(true)));
    assert!(result.tls_us.is_some() && result.sample.is_some());

    let brotli = Server::answering(response("200 OK", &["content-encoding: br"], b"\x0b\x02\x80hello\x03"));
    let mut site = self::site(&brotli.url("/"));
    site.expect.body = Some(regex("^hello$"));
    pool.submit(Arc::new(site), due(), None);
    let result = results.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((result.outcome, result.body_bytes), (Outcome::Success, Some(5)), "{result:?}");
}

/// A page in UTF-16, compressed.
fn utf16_page() -> Vec<u8> {
    let text = format!("{}data δεδομένα data platform", "x".repeat(100_000));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Release(u8),
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..6).prop_map(Step::Submit),
        4 => (1u8..3).prop_map(Step::Release),
        1 => Just(Step::Stop),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_submitted_instant_yields_exactly_one_result(
        steps in steps(),
        threads in 1usize..4,
        queue in 0usize..3,
    ) {
        let gated = Gated::new(threads, queue);
        let mut submitted = Vec::new();
        for (instant, step) in (0..).zip(&steps) {
            match step {
                Step::Submit(site) => {
                    let key = format!("site-{site}");
                    gated.submit(&key, instant);
                    submitted.push((key, after(gated.due, instant)));
                }
                Step::Release(checks) => gated.gate.open(usize::from(*checks)),
                Step::Stop => gated.pool.stop(Duration::ZERO),
            }
        }
        gated.pool.stop(Duration::ZERO);
        let mut seen: Vec<_> = gated.finish().map(|result| (result.site, result.scheduled_at)).collect();
        seen.sort();
        submitted.sort();
        prop_assert_eq!(seen, submitted);
    }
}

#[test]
fn stopping_while_others_submit_loses_and_doubles_nothing() {
    const SUBMITTERS: i64 = 4;
    const EACH: i64 = 200;
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let options = PoolOptions {
        threads: 4,
        queue: 16,
        max_lateness: Duration::from_secs(300),
        ..PoolOptions::new(origin())
    };
    let pool = Pool::start(&settings(&[]), options, sink).unwrap();
    let due = due();
    let started = Barrier::new(SUBMITTERS as usize + 1);
    thread::scope(|scope| {
        for submitter in 0..SUBMITTERS {
            let (pool, started) = (&pool, &started);
            scope.spawn(move || {
                started.wait();
                for instant in 0..EACH {
                    let key = format!("site-{}", (submitter + instant) % 8);
                    let site = Arc::new(Site { key, ..site("http://no-such-name.invalid/") });
                    pool.submit(site, after(due, submitter * EACH + instant), None);
                }
            });
        }
        started.wait();
        pool.stop(Duration::from_millis(1));
    });
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut seen: Vec<_> = results.iter().map(|result| result.scheduled_at).collect();
    seen.sort();
    let all: Vec<_> = (0..SUBMITTERS * EACH).map(|instant| after(due, instant)).collect();
    assert_eq!(seen, all);
}
