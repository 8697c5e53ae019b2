//! Redirects are followed as browsers do, up to their limit, and each that cannot be followed has its own reason.

use std::io::Write;

use httpmock::MockServer;
use webmon::record::{ErrorType, Outcome};

use crate::site::{LOCALHOST, assert_error, check, check_with, regex, settings, site};
use crate::sites::{ClosedPort, Heard, Server, read_head, response};

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
    site.expect.body = vec![regex("the end")];
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
    site.expect.body = vec![];
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
