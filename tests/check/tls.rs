//! A certificate is judged as browsers judge it, and is recorded also where it is refused.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use webmon::check::Checker;
use webmon::record::{ErrorType, Expectation, Outcome, TlsVersion};
use webmon::shutdown::Shutdown;

use crate::site::{assert_error, check, check_with, due, https, origin, regex, settings, site, valid};
use crate::sites::{
    Authority, Heard, Server, hold, read_head, reset, response, self_signed, self_signed_authority,
};

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
        site.expect.body = vec![regex("a secure page")];
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
