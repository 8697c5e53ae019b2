//! A request is made of what the site's table says: method, body, host, headers and credentials; and its secrets and its
//! body go to the site's own host alone.

#![cfg(feature = "check")]

#[path = "support/sites.rs"]
mod sites;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown as Close, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use webmon::check::{Checker, Settings};
use webmon::config::{Config, ConfigError, Role};
use webmon::record::{CheckResult, ErrorType, Outcome};
use webmon::site::{Origin, Site};

use sites::{Heard, Server, hold, read_head, response};

/// The site of a table, whose relative paths start at `folder`.
fn load(folder: &Path, url: &str, table: &str) -> Result<Arc<Site>, ConfigError> {
    let path = folder.join("config.toml");
    let toml = format!(
        "kafka.brokers = [\"127.0.0.1:9\"]\n[[site]]\nname = \"shop\"\nurl = {url:?}\nschedule = \"@hourly\"\n{table}\n"
    );
    fs::write(&path, toml).unwrap();
    Config::load_with(&path, [], Role::Check).map(|config| Arc::clone(&config.sites[0]))
}

fn site(url: &str, table: &str) -> Arc<Site> {
    load(tempfile::tempdir().unwrap().path(), url, table).unwrap()
}

#[track_caller]
fn assert_fault(table: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path(), "http://shop.example/", table).unwrap_err();
    let ConfigError::Faults(faults) = error else { panic!("{error}") };
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|fault| fault.contains(expected)), "{shown:?}");
    assert!(!format!("{shown:?}").contains("s3cr3t"), "{shown:?}");
}

fn check(site: &Site) -> CheckResult {
    Checker::new(&Settings::new().unwrap()).unwrap().check_now(site, &Origin::new("here", "checker"))
}

/// The head of a request and as much of a body as it announces.
fn read_request(stream: &mut TcpStream) -> String {
    let head = read_head(stream);
    let announced = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; announced.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// A server that hears whole requests and answers each with what `answer` makes of it.
fn listening(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (Server, Heard) {
    let heard = Heard::default();
    let told = heard.clone();
    let server = Server::start(move |mut stream| {
        let request = read_request(&mut stream);
        let answer = answer(&request);
        told.push(request);
        let _ = stream.write_all(&answer);
    });
    (server, heard)
}

fn ok(_: &str) -> Vec<u8> {
    response("200 OK", &[], b"fine")
}

#[test]
fn any_method_is_sent_as_it_is_written() {
    for method in ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE", "PROPFIND"] {
        let (server, heard) = listening(ok);
        let result = check(&site(&server.url("/"), &format!("method = {method:?}")));
        assert_eq!((result.outcome, result.method.as_str()), (Outcome::Success, method), "{result:?}");
        let request = heard.all().remove(0);
        assert!(request.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{request}");
        // Those that usually have a body say that theirs is empty.
        let is_empty = request.to_ascii_lowercase().contains("content-length: 0\r\n");
        assert_eq!(is_empty, ["POST", "PUT", "PATCH"].contains(&method), "{request}");
        assert!(!request.to_ascii_lowercase().contains("expect:"), "{request}");
    }
    for method in ["CONNECT", "TRACE", "GET /", "get", "", "ABCDEFGHIJKLMNOPQ"] {
        assert_fault(&format!("method = {method:?}"), "site[0] \"shop\": method");
    }
}

#[test]
fn a_body_is_sent_whole_with_its_type() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body.xml"), "<a/>").unwrap();
    let large = "x".repeat(300_000);
    for (table, content, content_type) in [
        ("body = \"a=1&b=2\"".to_owned(), "a=1&b=2", "text/plain; charset=utf-8"),
        ("body = \"a=1\"\ncontent_type = \"text/csv\"".to_owned(), "a=1", "text/csv"),
        ("body_file = \"body.xml\"\ncontent_type = \"text/xml\"".to_owned(), "<a/>", "text/xml"),
        ("json = { a = [1, true, \"b\"] }".to_owned(), "{\"a\":[1,true,\"b\"]}", "application/json"),
        (format!("body = {large:?}"), large.as_str(), "text/plain; charset=utf-8"),
        ("body = \"a\"\nheaders = { Content-Type = \"text/x\" }".to_owned(), "a", "text/x"),
    ] {
        let (server, heard) = listening(ok);
        let site = load(folder.path(), &server.url("/"), &format!("method = \"POST\"\n{table}")).unwrap();
        assert_eq!(check(&site).outcome, Outcome::Success);
        let request = heard.all().remove(0);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(body == content, "{} bytes", body.len());
        assert!(head.to_ascii_lowercase().contains(&format!("content-type: {content_type}")), "{head}");
    }
}

#[test]
fn what_cannot_be_sent_is_a_fault() {
    for (table, expected) in [
        ("body = \"a\"", "has a body, but GET sends none: expected method = \"POST\""),
        ("method = \"HEAD\"\njson = {}", "has a body, but HEAD sends none"),
        ("method = \"POST\"\nbody = \"a\"\njson = {}", "has body and json: expected one of them"),
        ("method = \"POST\"\nbody_file = \"gone\"", "cannot be read"),
        ("method = \"POST\"\ncontent_type = \"a/b\"", "has a content_type and no body"),
        ("host = \"a b\"", "is not a host"),
        ("headers = { Host = \"a\" }", "expected the site's host"),
        ("headers = { Expect = \"100-continue\" }", "is set by the check itself"),
        ("headers = { X-A = { file = \"gone\" } }", "cannot be read"),
        ("headers = { X-A = {} }", "file is missing"),
        ("auth = {}", "has 0 kinds of credentials: expected one of bearer, bearer_file, basic, oauth2"),
        ("auth = { bearer = \"s3cr3t a\" }", "has a bearer token with characters"),
        ("auth = { bearer = \"s3cr3t\", basic = {} }", "has 2 kinds of credentials"),
        (
            "auth = { basic = { username = \"s3cr3t:a\", password = \"s3cr3t\" } }",
            "has a username with a colon",
        ),
        ("auth = { basic = { username = \"a\" } }", "password is missing"),
        ("auth = { oauth2 = { client_id = \"a\", client_secret = \"s3cr3t\" } }", "token_url is missing"),
        (
            "auth = { oauth2 = { token_url = \"ftp://s3cr3t\", client_id = \"a\", client_secret = \"b\" } }",
            "is not an http or https URL",
        ),
    ] {
        assert_fault(table, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let both =
        load(folder.path(), "http://a:s3cr3t@shop.example/", "auth = { bearer = \"s3cr3t\" }").unwrap_err();
    let ConfigError::Faults(faults) = both else { panic!("{both}") };
    assert!(faults[0].to_string().contains("has credentials in its url and auth"), "{faults:?}");
}

#[test]
fn a_server_that_reads_no_body_costs_no_more_than_the_timeout() {
    let server = Server::start(|mut stream| {
        let _ = read_head(&mut stream);
        // Everything that fits into the buffers of both sides is sent, then nothing.
        thread::park_timeout(Duration::from_secs(20));
    });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body"), vec![b'x'; 1 << 20]).unwrap();
    let table = "method = \"POST\"\ntimeout = \"500ms\"\nbody_file = \"body\"";
    let site = load(folder.path(), &server.url("/"), table).unwrap();
    let begun = Instant::now();
    let result = check(&site);
    assert_eq!(result.error_type, Some(ErrorType::Timeout), "{result:?}");
    // In which of the two depends on how much the kernel's buffers take.
    assert!(matches!(result.error_detail.as_deref(), Some("request" | "response")), "{result:?}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_is_an_answer_or_a_reset() {
    let server = Server::start(|mut stream| {
        let _ = read_head(&mut stream);
        let _ = stream.write_all(&response("413 Content Too Large", &[], b""));
        let _ = stream.shutdown(Close::Write);
        hold(&mut stream);
    });
    let result = check(&site(&server.url("/"), "method = \"POST\"\nbody = \"a\""));
    assert_eq!((result.http_status, result.outcome), (Some(413), Outcome::Failure), "{result:?}");
}

#[test]
fn a_redirect_takes_the_body_along_only_where_browsers_do_and_only_to_the_same_host() {
    let elsewhere = listening(ok);
    for (status, location, expected) in [
        (307, "/next".to_owned(), Some(("PUT", "data"))),
        (301, "/next".to_owned(), Some(("PUT", "data"))),
        (303, "/next".to_owned(), Some(("GET", ""))),
        (307, elsewhere.0.url("/"), None),
    ] {
        let (server, heard) = listening(move |request| match request.contains(" /next ") {
            true => ok(request),
            false => response(&format!("{status} Moved"), &[&format!("location: {location}")], b""),
        });
        let site =
            site(&server.url("/"), "method = \"PUT\"\nbody = \"data\"\nauth = { bearer = \"s3cr3t\" }");
        let result = check(&site);
        match expected {
            Some((method, body)) => {
                assert_eq!(result.outcome, Outcome::Success, "{status} {result:?}");
                let last = heard.all().pop().unwrap();
                assert!(last.starts_with(&format!("{method} /next ")), "{last}");
                assert_eq!(last.split_once("\r\n\r\n").unwrap().1, body);
            }
            None => {
                let error = (result.error_type, result.error_detail.as_deref());
                assert_eq!(error, (Some(ErrorType::Redirect), Some("other_host")), "{result:?}");
            }
        }
    }
    assert!(elsewhere.1.all().is_empty());
}

#[test]
fn host_and_credentials_go_to_the_sites_own_host_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "s3cr3t\nmore\n").unwrap();
    for (table, expected) in [
        ("auth = { bearer = \"s3cr3t\" }", "authorization: Bearer s3cr3t\r\n"),
        ("auth = { bearer_file = \"token\" }", "authorization: Bearer s3cr3t\r\n"),
        ("auth = { basic = { username = \"a\", password = \"s:p\" } }", "authorization: Basic YTpzOnA=\r\n"),
        (
            "auth = { basic = { username = \"a\", password_file = \"token\" } }",
            "authorization: Basic YTpzM2NyM3Q=\r\n",
        ),
        ("headers = { X-Key = { file = \"token\" } }", "x-key: s3cr3t\r\n"),
        ("host = \"shop.example:8443\"", "host: shop.example:8443\r\n"),
    ] {
        let (elsewhere, others) = listening(ok);
        let away = elsewhere.url("/");
        let (server, heard) = listening(move |_| response("302 Found", &[&format!("location: {away}")], b""));
        let site = load(folder.path(), &server.url("/"), table).unwrap();
        let result = check(&site);
        assert_eq!(result.outcome, Outcome::Success, "{result:?}");
        let request = heard.all().remove(0);
        assert!(request.contains(expected), "{request}");
        let other = others.all().remove(0);
        assert!(!other.contains(expected), "{other}");
        assert!(!format!("{site:?}").contains("s3cr3t"), "{site:?}");
    }
}

const CLIENT: &str = "client_id = \"a b\", client_secret = \"s3cr3t\", scope = \"read\", audience = \"api\"";

/// A site that wants a token of the endpoint at `token_url`.
fn with_token(url: &str, token_url: &str) -> Arc<Site> {
    site(url, &format!("timeout = \"5s\"\nauth = {{ oauth2 = {{ token_url = {token_url:?}, {CLIENT} }} }}"))
}

fn token(value: &str, expires_in: u64) -> Vec<u8> {
    let body =
        format!("{{\"access_token\":{value:?},\"token_type\":\"Bearer\",\"expires_in\":{expires_in}}}");
    response("200 OK", &["content-type: application/json"], body.as_bytes())
}

#[test]
fn a_token_is_asked_for_once_for_all_checks() {
    let (endpoint, asked) = listening(|_| token("t0ken", 3_600));
    let (server, heard) = listening(ok);
    let site = with_token(&server.url("/"), &endpoint.url("/token"));
    let together = Arc::new(Barrier::new(8));
    let checks: Vec<_> = (0..8)
        .map(|_| {
            let (site, together) = (Arc::clone(&site), Arc::clone(&together));
            thread::spawn(move || {
                together.wait();
                check(&site).outcome
            })
        })
        .collect();
    assert!(checks.into_iter().all(|check| check.join().unwrap() == Outcome::Success));
    let asked = asked.all();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("POST /token HTTP/1.1\r\n"), "{}", asked[0]);
    // "a+b:s3cr3t" (RFC 6749, section 2.3.1)
    assert!(asked[0].contains("authorization: Basic YStiOnMzY3IzdA==\r\n"), "{}", asked[0]);
    assert!(
        asked[0].ends_with("\r\n\r\ngrant_type=client_credentials&scope=read&audience=api"),
        "{}",
        asked[0]
    );
    assert!(heard.all().iter().all(|request| request.contains("authorization: Bearer t0ken\r\n")));
}

#[test]
fn a_token_that_the_site_refuses_is_asked_for_again_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let (endpoint, asked) =
        listening(move |_| token(&format!("token-{}", count.fetch_add(1, Ordering::SeqCst)), 3_600));
    let (server, _heard) = listening(|request| match request.contains("Bearer token-1\r\n") {
        true => ok(request),
        false => response("401 Unauthorized", &[], b""),
    });
    let result = check(&with_token(&server.url("/"), &endpoint.url("/")));
    assert_eq!((result.outcome, result.attempts, asked.all().len()), (Outcome::Success, 1, 2), "{result:?}");

    // One that refuses every token is asked twice, and has failed.
    let (endpoint, asked) = listening(|_| token("useless", 3_600));
    let (server, heard) = listening(|_| response("401 Unauthorized", &[], b""));
    let result = check(&with_token(&server.url("/"), &endpoint.url("/")));
    assert_eq!((result.http_status, result.outcome), (Some(401), Outcome::Failure), "{result:?}");
    assert_eq!((asked.all().len(), heard.all().len()), (2, 2));
}

#[test]
fn a_token_that_cannot_be_had_is_never_the_sites_failure() {
    let silent = Server::start(|mut stream| hold(&mut stream));
    let closed = sites::ClosedPort::new();
    let refusing = listening(|_| response("401 Unauthorized", &[], b"{\"error\":\"s3cr3t\"}"));
    let nonsense = listening(|_| response("200 OK", &[], b"{\"access_token\":7}"));
    let unsendable = listening(|_| token("a\nb", 60));
    let leading_away = listening(|_| response("302 Found", &["location: /elsewhere"], b""));
    for (endpoint, expected) in [
        (silent.url("/"), "timed out waiting for the response"),
        (format!("http://{}/", closed.address), "connect"),
        (refusing.0.url("/"), "the token endpoint answered with status 401"),
        (nonsense.0.url("/"), "has no access_token"),
        (unsendable.0.url("/"), "cannot be sent"),
        (leading_away.0.url("/"), "status 302"),
    ] {
        let (server, heard) = listening(ok);
        let site = site(
            &server.url("/"),
            &format!(
                "timeout = \"300ms\"\nretries = 1\nauth = {{ oauth2 = {{ token_url = {endpoint:?}, {CLIENT} }} }}"
            ),
        );
        let result = check(&site);
        let error = (result.outcome, result.error_type, result.error_detail.as_deref());
        assert_eq!(error, (Outcome::Missed, Some(ErrorType::Cancelled), Some("no_token")), "{result:?}");
        let message = result.error_message.unwrap();
        assert!(message.contains(expected) && !message.contains("s3cr3t"), "{message}");
        assert!(heard.all().is_empty());
        // Others do not ask at once again.
        let again = check(&site);
        assert_eq!(again.error_detail.as_deref(), Some("no_token"));
    }
    assert_eq!(refusing.1.all().len(), 1);
}

#[test]
fn a_token_is_asked_for_again_before_it_expires() {
    let (endpoint, asked) = listening(|_| token("short", 1));
    let (server, _heard) = listening(ok);
    let site = with_token(&server.url("/"), &endpoint.url("/"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while asked.all().len() < 2 {
        assert_eq!(check(&site).outcome, Outcome::Success);
        assert!(Instant::now() < deadline);
    }
}
