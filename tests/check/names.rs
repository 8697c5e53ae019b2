//! Names are resolved as they stand, every address is tried, and forbidden addresses are never connected to.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use webmon::check::Settings;
use webmon::record::{ErrorType, Outcome};
use webmon::site::Site;

use crate::site::{LOCALHOST, Names, SHORT, assert_error, check, check_with, site};
use crate::sites::{BlackHole, ClosedPort, Server, response};

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
