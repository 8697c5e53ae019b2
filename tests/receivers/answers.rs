//! What the answers of receivers mean, and that none of them can hold webmon up.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use webmon::alerts::{Limits, Outcome, beat, send};
use webmon::config::{Config, Heartbeat, Role};

use crate::listener::listening;
use crate::messages::{all_by_http, limits, message, notice, receiver};
use crate::sites::{Authority, BlackHole, ClosedPort, Server, hold, read_head, reset, response};
use crate::support::{config_toml, program_under};

/// How much longer than its timeout a try may take on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

pub(crate) type Handler = Box<dyn Fn(TcpStream) + Send + Sync>;

#[track_caller]
pub(crate) fn retried(outcome: &Outcome, expected: &str) {
    match outcome {
        Outcome::Retry { why, after: None } if why.contains(expected) => {}
        other => panic!("{other:?}, expected {expected}"),
    }
}

#[test]
fn every_status_of_every_receiver_has_its_outcome() {
    for status in [
        200, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 410, 413, 415, 422, 425, 429, 500,
        502, 503,
    ] {
        let headers = ["retry-after: 7", "location: /other"];
        let (server, heard) = listening(response(&format!("{status} Said"), &headers, b"said"));
        for (kind, receiver) in all_by_http(&server.url("/")) {
            let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
            let text = if status == 204 { "HTTP 204".to_owned() } else { format!("HTTP {status}: said") };
            let expected = match status {
                200..=299 => Outcome::Delivered(text),
                400 | 413 | 422 => Outcome::Refused(text),
                410 if kind == "webhook" => Outcome::Gone(text),
                _ => Outcome::Retry { why: text, after: Some(Duration::from_secs(7)) },
            };
            assert_eq!(outcome, expected, "{kind} {status}");
        }
        // No redirect was followed, and nothing was tried twice.
        assert_eq!(heard.take().len(), 4);
    }
}

#[test]
fn a_wrong_key_of_pagerduty_can_be_mended() {
    let body = br#"{"status":"invalid event","errors":["'routing_key' is invalid"]}"#;
    let (server, _heard) = listening(response("400 Bad Request", &[], body));
    let (_, receiver) = all_by_http(&server.url("/")).remove(2);
    retried(&send(&receiver, &message(vec![notice(1)]), &limits()), "routing_key");
}

#[test]
fn an_event_that_is_not_taken_keeps_those_behind_it_back() {
    let (server, heard) = listening(response("500 Oops", &[], b""));
    let (_, receiver) = all_by_http(&server.url("/")).remove(2);
    retried(&send(&receiver, &message(vec![notice(1), notice(2)]), &limits()), "HTTP 500");
    assert_eq!(heard.take().len(), 1);
}

/// Reads the request, says `first`, and then `again` for as long as somebody listens.
fn saying(first: &'static [u8], again: &'static [u8], pause: Duration) -> Handler {
    Box::new(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(first);
        while !again.is_empty() && stream.write_all(again).is_ok() {
            thread::sleep(pause);
        }
        if again.is_empty() && !pause.is_zero() {
            hold(&mut stream);
        }
    })
}

/// Each takes no longer than the timeout, and reads no more than it must.
#[test]
fn a_receiver_that_misbehaves_costs_its_timeout_and_no_more() {
    let slowly = Duration::from_millis(20);
    let late = "no answer within 500ms";
    let head = b"HTTP/1.1 200 OK\r\na: ";
    let cases: Vec<(&str, Handler)> = vec![
        (late, Box::new(|mut stream| hold(&mut stream))),
        (late, saying(b"", b"", slowly)),
        (late, saying(head, b"b", slowly)),
        ("too large a head", saying(head, &[b'b'; 8_192], Duration::ZERO)),
        ("", saying(b"", b"HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO)),
        ("not HTTP", saying(b"220 mail.example ESMTP\r\n\r\n", b"", Duration::ZERO)),
        ("", saying(b"", b"", Duration::ZERO)),
        ("", Box::new(reset)),
    ];
    for (n, (expected, case)) in cases.into_iter().enumerate() {
        let server = Server::start(case);
        let mut receiver = receiver(&format!("type = \"webhook\"\nurl = \"{}\"", server.url("/")));
        receiver.timeout = Duration::from_millis(500);
        let started = Instant::now();
        let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
        assert!(started.elapsed() < receiver.timeout + SLACK, "{n}: {:?}", started.elapsed());
        retried(&outcome, expected);
    }
}

/// The status is an answer. What follows it cannot take it back.
#[test]
fn a_body_without_end_or_of_any_size_is_cut() {
    let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    let hanging = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let odd = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08";
    for case in [
        saying(endless, &[b'x'; 8_192], Duration::ZERO),
        saying(hanging, b"", Duration::from_millis(1)),
        saying(odd, b"", Duration::ZERO),
    ] {
        let server = Server::start(case);
        let mut receiver = receiver(&format!("type = \"webhook\"\nurl = \"{}\"", server.url("/")));
        receiver.timeout = Duration::from_millis(500);
        let started = Instant::now();
        let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
        let Outcome::Delivered(text) = outcome else { panic!("{outcome:?}") };
        assert!(text.chars().count() <= 200 && text.starts_with("HTTP 200"), "{text}");
        assert!(started.elapsed() < receiver.timeout + SLACK);
    }
}

#[test]
fn a_receiver_that_cannot_be_reached_is_tried_again() {
    let closed = ClosedPort::new();
    let hole = BlackHole::new(Ipv4Addr::LOCALHOST, 0);
    for (url, expected) in [
        (format!("http://{}/", closed.address), "refused"),
        (format!("http://{}/", hole.address), "no answer within 300ms"),
        ("http://no-such-name.invalid/".to_owned(), "looked up"),
    ] {
        for (kind, mut receiver) in all_by_http(&url) {
            receiver.timeout = Duration::from_millis(300);
            let started = Instant::now();
            let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
            assert!(started.elapsed() < receiver.timeout + SLACK, "{kind}");
            retried(&outcome, expected);
        }
    }
}

/// In whatever way it is written, and by whatever name.
#[test]
fn a_forbidden_address_is_not_connected_to() {
    let (server, _heard) = listening(response("200 OK", &[], b"ok"));
    let port = server.address.port();
    let networks = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
    let forbidding = Limits { deny_addresses: networks.into(), ..limits() };
    let message = message(vec![notice(1)]);
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]", "2130706433"] {
        for (_, receiver) in all_by_http(&format!("http://{host}:{port}/")) {
            retried(&send(&receiver, &message, &forbidding), "the configuration forbids every address");
        }
        let email = receiver(&format!(
            "type = \"email\"\nserver = \"smtp://{host}:{port}\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]"
        ));
        retried(&send(&email, &message, &forbidding), "the configuration forbids every address");
    }
    assert_eq!(server.accepted(), 0);
}

/// They would send alerts, and their secrets, to whoever set them.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    let proxy = ClosedPort::new();
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let variables = names.map(|name| format!("{name}=http://{}", proxy.address));
    let starter: Vec<&str> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let receiver = format!("[[receiver]]\nname = \"ops\"\ntype = \"slack\"\nurl = \"{}\"\n", server.url("/"));
    let toml = config_toml("127.0.0.1:1", "log", "postgres://127.0.0.1:1/nowhere", &receiver);
    let store = env!("CARGO_BIN_EXE_webmon-store");
    let (code, said, why) = program_under(&starter, store, &toml, &["alerts", "test", "ops"]).finish();
    assert_eq!(code, Some(0), "{said}{why}");
    assert_eq!(heard.take().len(), 2);
}

#[test]
fn a_certificate_must_be_of_an_authority_that_is_trusted() {
    let authority = Authority::new("a test authority");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    // Of several in the file, each counts.
    std::fs::write(&path, format!("{}{}", Authority::new("another").pem(), authority.pem())).unwrap();
    let ca = format!("ca = {path:?}");
    for (name, until, ca, is_right) in [
        ("localhost", 2040, ca.as_str(), true),
        ("localhost", 2040, "", false),
        ("other.example", 2040, ca.as_str(), false),
        ("localhost", 2021, ca.as_str(), false),
    ] {
        let config = authority.server(&[name], 2020, until);
        let server = Server::https(0, config, response("200 OK", &[], b"ok")).unwrap();
        let url = format!("https://localhost:{}/", server.address.port());
        let receiver = receiver(&format!("type = \"slack\"\nurl = \"{url}\"\n{ca}"));
        let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
        if is_right {
            assert_eq!(outcome, Outcome::Delivered("HTTP 200: ok".to_owned()));
        } else {
            retried(&outcome, "TLS failed");
        }
    }
}

fn heartbeat(url: &str) -> Heartbeat {
    let first = "kafka.brokers = [\"h:1\"]\npostgres.url = \"postgres://h/d\"";
    let toml = format!("{first}\n[heartbeat]\nurl = \"{url}\"");
    Config::from_toml(&toml, Role::Store).unwrap().heartbeat.unwrap()
}

#[test]
fn the_heartbeat_is_one_request() {
    let path = "/ping/hunter2hunter2";
    let (server, heard) = listening(response("200 OK", &[], b"OK"));
    let outcome = beat(&heartbeat(&server.url(path)), &limits());
    assert_eq!(outcome, Outcome::Delivered("HTTP 200: OK".to_owned()));
    let asked = heard.take();
    assert_eq!((asked.len(), asked[0].line.as_str()), (1, "GET /ping/hunter2hunter2 HTTP/1.1"));
    assert_eq!((asked[0].header("user-agent"), asked[0].body.as_str()), (Some("webmon/test"), ""));

    let (server, _heard) = listening(response("404 Not Found", &[], b"no /ping/hunter2hunter2"));
    retried(&beat(&heartbeat(&server.url(path)), &limits()), "HTTP 404: no ***");
}
