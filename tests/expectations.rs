//! What a site may expect of its answer, against servers on loopback: all that is expected must hold, and what fails is
//! told without a secret.

#![cfg(feature = "check")]

#[path = "support/checked.rs"]
mod checked;
#[path = "support/sites.rs"]
mod sites;

use std::io::Write;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use webmon::check::{Checker, Pool, PoolOptions, Settings};
use webmon::config::{Config, Role};
use webmon::record::{CheckResult, Expectation, Outcome};
use webmon::site::{Origin, Site};

use checked::{assert_success, valid};
use sites::{Authority, Server, read_head, response};

fn origin() -> Origin {
    Origin::new("test-1", "test")
}

/// The site that `keys` make of `url`, as a configuration has it.
fn site(url: &str, keys: &str) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let text = format!(
        "kafka.brokers = [\"127.0.0.1:9092\"]\n[[site]]\nname = \"shop\"\nurl = \"{url}\"\nschedule = \"@hourly\"\n{keys}"
    );
    std::fs::write(&path, text).unwrap();
    let config = Config::load_with(&path, [] as [(String, String); 0], Role::Check).unwrap();
    Site::clone(&config.sites[0])
}

fn check_with(settings: &Settings, site: &Site) -> CheckResult {
    valid(Checker::new(settings).unwrap().check_now(site, &origin()))
}

fn check(url: &str, keys: &str) -> CheckResult {
    check_with(&Settings::new().unwrap(), &site(url, keys))
}

#[track_caller]
fn assert_fails(result: &CheckResult, failed: &[Expectation], message: &str) {
    assert_eq!(result.failed_expectations, failed, "{result:?}");
    assert_eq!(result.error_message.as_deref(), Some(message));
}

#[test]
fn all_wanted_patterns_must_be_found_and_none_of_the_unwanted() {
    let server = Server::answering(response("200 OK", &[], b"our data platform"));
    let url = server.url("/");
    assert_success(&check(&url, "expect.body = ['data', 'platform$']\nexpect.not_body = ['error', 'fatal']"));
    assert_fails(
        &check(&url, "expect.body = ['data', 'shop']\nexpect.not_body = ['error', 'our']"),
        &[Expectation::Body, Expectation::NotBody],
        r#"the body does not match "shop"; the body matches "our""#,
    );
    // One pattern needs no list.
    assert_success(&check(&url, "expect.body = 'data'\nexpect.not_body = 'error'"));
}

#[test]
fn an_unwanted_header_fails_if_any_of_its_values_matches() {
    let headers = ["server: nginx", "set-cookie: a=1", "set-cookie: b=2; secret"];
    let server = Server::answering(response("200 OK", &headers, b""));
    let url = server.url("/");
    let keys = "expect.header = { Set-Cookie = ['^a', '^b'], server = 'nginx' }
        expect.not_header = { server = ['/\\d', 'apache'], x-debug = '^' }";
    assert_success(&check(&url, keys));
    assert_fails(
        &check(&url, "expect.not_header = { Set-Cookie = ['^c', '^b'] }"),
        &[Expectation::NotHeader],
        r#"the header "set-cookie" matches "^b""#,
    );
    assert_fails(
        &check(&url, "expect.header = { set-cookie = ['^a', '^c'] }"),
        &[Expectation::Header],
        r#"the header "set-cookie" does not match "^c""#,
    );
}

const HEALTH: &[u8] = br#"{
    "status": "degraded", "version": "2.14.1", "queue": 1204, "load": 0.5, "primary": true, "error": null,
    "checks": [
        {"name": "db", "status": "ok", "critical": true},
        {"name": "mail", "status": "down", "critical": false}
    ]
}"#;

#[test]
fn every_value_at_a_path_must_be_as_expected() {
    let server = Server::answering(response("200 OK", &["content-type: application/json"], HEALTH));
    let url = server.url("/");
    let keys = r#"expect.json = [
        { path = "$.status", equals = "degraded" },
        { path = "$.version", matches = '^2\.' },
        { path = "$.queue", min = 1, max = 1204.0 },
        { path = "$['load']", equals = 0.5 },
        { path = "$.primary", equals = true },
        { path = "$.error", exists = true },
        { path = "$.absent", exists = false },
        { path = "$.checks[?@.critical == true].status", equals = "ok" },
        { path = "$.checks[0]", equals = { name = "db", status = "ok", critical = true } },
        { path = "$..name", matches = '^[a-z]+$' },
    ]"#;
    assert_success(&check(&url, keys));

    for (expectation, message) in [
        (r#"path = "$.status", equals = "ok""#, r#"$.status is another text: expected "ok""#),
        (r#"path = "$.version", matches = '^3'"#, r#"$.version does not match "^3""#),
        (r#"path = "$.queue", max = 1000"#, "$.queue is 1204: expected at most 1000"),
        (r#"path = "$.error", exists = false"#, "$.error is there: expected that it is not"),
        (r#"path = "$.absent", exists = true"#, "$.absent is missing"),
        (r#"path = "$.absent.status", equals = "ok""#, "$.absent.status is missing"),
        (
            r#"path = "$.checks[*].status", equals = "ok""#,
            r#"$.checks[*].status (2 of 2) is another text: expected "ok""#,
        ),
    ] {
        let result = check(&url, &format!("expect.json = [{{ {expectation} }}]"));
        assert_fails(&result, &[Expectation::Json], message);
        assert_eq!(result.error_detail.as_deref(), Some("json"));
    }
}

#[test]
fn a_body_that_is_no_json_or_not_whole_fails_the_json_expectation() {
    let json = "expect.json = [{ path = \"$\", exists = true }]\n";
    let html = Server::answering(response("200 OK", &[], b"<html>our secret page</html>"));
    let expected = "the body is not JSON: expected value at line 1 column 1";
    assert_fails(&check(&html.url("/"), json), &[Expectation::Json], expected);
    let health = Server::answering(response("200 OK", &[], HEALTH));
    let cut = check(&health.url("/"), &format!("max_body = 100\n{json}"));
    let expected = "the body is longer than max_body, so its JSON was not read";
    assert_fails(&cut, &[Expectation::Json], expected);
    // The whole body, to the byte.
    assert_success(&check(&health.url("/"), &format!("max_body = {}\n{json}", HEALTH.len())));
}

/// A body is the site's, and the stack of a check's thread is small.
#[test]
fn deep_and_wide_json_fits_the_stack_of_the_pool() {
    let deepest = [b"{\"a\":[".repeat(24), b"1".to_vec(), b"]}".repeat(24)].concat();
    let deep = Server::answering(response("200 OK", &[], &deepest));
    let too_deep = Server::answering(response("200 OK", &[], &b"[".repeat(100_000)));
    let (sender, results) = mpsc::channel();
    let sink = Arc::new(move |result| sender.send(valid(result)).unwrap_or_default());
    let pool = Pool::start(&Settings::new().unwrap(), PoolOptions::new(origin()), sink).unwrap();
    let due = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let paths = r#"expect.json = [
        { path = "$..[?@.a[?length(@) == 1 && (@ == 1 || !(@.b))]]", exists = true },
        { path = "$..[?count(@.a[*]) == 1 && (((((((@.a[0])))))))].a[?@ == 1]", equals = 1 },
        { path = "$..*", exists = true },
    ]"#;
    let submit = |url: &str| {
        pool.submit(Arc::new(site(url, paths)), due, None);
        results.recv_timeout(Duration::from_secs(60)).unwrap()
    };
    assert_success(&submit(&deep.url("/")));
    let expected = "the body's JSON is more than 48 levels deep, so it was not read";
    assert_fails(&submit(&too_deep.url("/")), &[Expectation::Json], expected);
}

#[test]
fn tls_is_expected_of_the_hop_that_answered() {
    let authority = Authority::new("a test authority");
    let config = authority.server(&["127.0.0.1"], 2020, 2040);
    let secure = Server::https(0, config, response("200 OK", &[], b"")).unwrap();
    let secure_url = format!("https://{}/", secure.address);
    let to_secure = Server::answering(response("302 Found", &[&format!("location: {secure_url}")], b""));
    let plain = Server::answering(response("200 OK", &[], b""));
    let mut settings = Settings::new().unwrap();
    settings.extra_roots = vec![authority.root()];
    let check = |url: &str, keys: &str| check_with(&settings, &site(url, keys));

    assert_success(&check(&to_secure.url("/"), "expect.tls = true"));
    assert_success(&check(&plain.url("/"), "expect.tls = false"));
    assert_fails(
        &check(&plain.url("/"), "expect.tls = true"),
        &[Expectation::Tls],
        "the answer came over plain HTTP: expected TLS",
    );
    assert_fails(
        &check(&to_secure.url("/"), "expect.tls = false"),
        &[Expectation::Tls],
        "the answer came over TLS: expected plain HTTP",
    );
}

#[test]
fn the_final_url_is_matched_whole_and_never_shown() {
    let page = Server::answering(response("200 OK", &[], b""));
    let location = format!("location: {}", page.url("/login?token=secret"));
    let server = Server::answering(response("302 Found", &[&location], b""));
    assert_success(&check(&server.url("/"), "expect.final_url = '/login\\?token=secret$'"));
    // Without a redirect it is the site's own.
    assert_success(&check(&page.url("/home"), "expect.final_url = '/home$'"));
    let result = check(&server.url("/"), "expect.final_url = '/home$'");
    assert_fails(&result, &[Expectation::FinalUrl], r#"the final URL does not match "/home$""#);
    assert!(!format!("{result:?}").contains("secret"), "{result:?}");
}

#[test]
fn a_slow_success_is_degraded_and_a_failure_is_not() {
    // The slow site: no check of it takes less than 20 ms.
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        thread::sleep(Duration::from_millis(20));
        let _ = stream.write_all(&response("200 OK", &[], b""));
    });
    let slow_check = |keys: &str| check(&server.url("/"), keys);
    let result = slow_check("degraded = \"1ms\"");
    assert_success(&result);
    assert!(result.degraded && result.total_us.unwrap() > 1_000, "{result:?}");
    assert!(!slow_check("").degraded);
    let result = slow_check("timeout = \"10m\"\ndegraded = \"9m59s\"");
    assert!(result.outcome == Outcome::Success && !result.degraded, "{result:?}");
    let result = slow_check("degraded = \"1ms\"\nexpect.status = [\"404\"]");
    assert!(result.outcome == Outcome::Failure && !result.degraded, "{result:?}");
}

#[test]
fn a_page_is_read_in_the_charset_that_it_declares() {
    let page = |meta: &str| [format!("<html><head>{meta}</head>").as_bytes(), b"gr\xfc\xdfe"].concat();
    for (content_type, meta) in [
        ("text/html", "<meta charset=\"iso-8859-1\">"),
        ("text/html", "<meta http-equiv='content-type' content='text/html; charset=latin1'>"),
        // What the header says counts for more.
        ("text/html; charset=latin1", "<meta charset=\"utf-8\">"),
    ] {
        let header = format!("content-type: {content_type}");
        let server = Server::answering(response("200 OK", &[&header], &page(meta)));
        assert_success(&check(&server.url("/"), "expect.body = 'grüße$'"));
    }
    let server =
        Server::answering(response("200 OK", &["content-type: text/plain"], &page("<meta charset=latin1>")));
    assert_eq!(check(&server.url("/"), "expect.body = 'grüße$'").failed_expectations, [Expectation::Body]);
}
