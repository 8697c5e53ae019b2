//! How the requests of a site leave this host: IP versions, a source address, addresses of one's own, a proxy.

#![cfg(feature = "check")]

#[path = "support/checked.rs"]
mod checked;
#[path = "support/sites.rs"]
mod sites;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use webmon::check::{Checker, Resolve, ResolveError, Settings};
use webmon::config::{Config, Role};
use webmon::record::{CheckResult, ErrorType, Record};
use webmon::site::{IpVersion, Origin, Site};

use checked::{assert_error, assert_success, valid};
use sites::{Authority, BlackHole, ClosedPort, Heard, Server, hold, read_head, reset, response};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Names as a test wants them, and which were asked for, in which IP version.
#[derive(Default)]
struct Names {
    known: HashMap<&'static str, Vec<IpAddr>>,
    asked: Heard,
}

impl Resolve for Names {
    fn resolve(&self, host: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        self.asked.push(host.to_owned());
        self.known.get(host).cloned().ok_or(ResolveError::NxDomain)
    }

    fn resolve_version(
        &self,
        host: &str,
        version: IpVersion,
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let found = self.resolve(&format!("{host} {version}"), timeout);
        found.or_else(|_| self.known.get(host).cloned().ok_or(ResolveError::NxDomain))
    }
}

fn names(known: &[(&'static str, &[IpAddr])]) -> (Settings, Heard) {
    let known = known.iter().map(|(name, addresses)| (*name, addresses.to_vec())).collect();
    let asked = Heard::default();
    let names = Names { known, asked: asked.clone() };
    (Settings::with_resolver(Arc::new(names)), asked)
}

/// A site as `[[site]]` with `more` makes it.
fn site(url: &str, more: &str) -> Site {
    let toml = format!(
        "kafka.brokers = [\"h:1\"]\n[[site]]\nname = \"shop\"\nurl = {url:?}\nschedule = \"@hourly\"\n{more}\n"
    );
    let config = Config::from_toml(&toml, Role::Check).unwrap_or_else(|error| panic!("{error}"));
    Site::clone(&config.sites[0])
}

fn check(settings: &Settings, site: &Site) -> CheckResult {
    valid(Checker::new(settings).unwrap().check_now(site, &Origin::new("here", "test")))
}

fn ok() -> Vec<u8> {
    response("200 OK", &[], b"fine")
}

/// Answers at 127.0.0.1 and at ::1, at the same port.
fn both() -> (Server, u16) {
    loop {
        let server = Server::answering(ok());
        let port = server.address.port();
        let Ok(listener) = TcpListener::bind((V6, port)) else { continue };
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                read_head(&mut stream);
                let _ = stream.write_all(&ok());
            }
        });
        return (server, port);
    }
}

#[test]
fn the_ip_version_is_the_one_that_is_asked_for() {
    let (_server, port) = both();
    for (ip, found, used) in [
        ("any", &[V4, V6], V4),
        ("any", &[V6, V4], V6),
        ("4", &[V6, V4], V4),
        ("6", &[V4, V6], V6),
        ("prefer-4", &[V6, V4], V4),
        ("prefer-6", &[V4, V6], V6),
    ] {
        let (settings, asked) = names(&[("shop.example", found)]);
        let site = site(&format!("http://shop.example:{port}/"), &format!("ip = {ip:?}"));
        let result = check(&settings, &site);
        assert_success(&result);
        assert_eq!(result.remote_ip, Some(used), "{ip} of {found:?}");
        // Only the version that is wanted is looked up. The other one's answer may be long in coming.
        let looked_up = match ip {
            "4" => "shop.example IPv4",
            "6" => "shop.example IPv6",
            _ => "shop.example",
        };
        assert_eq!(asked.all(), [looked_up]);
    }
}

#[test]
fn a_preferred_ip_version_that_does_not_answer_leaves_the_other_one() {
    let server = Server::answering(ok());
    let (settings, _) = names(&[("shop.example", &[V4, V6])]);
    let site = site(&format!("http://shop.example:{}/", server.address.port()), "ip = \"prefer-6\"");
    let result = check(&settings, &site);
    assert_success(&result);
    assert_eq!(result.remote_ip, Some(V4));
}

#[test]
fn a_name_without_an_address_of_the_ip_version_is_a_dns_error() {
    let server = Server::answering(ok());
    let port = server.address.port();
    let (settings, _) = names(&[("shop.example", &[V4])]);
    let result = check(&settings, &site(&format!("http://shop.example:{port}/"), "ip = \"6\""));
    assert_error(&result, ErrorType::Dns, "no_address");
    assert_eq!(result.error_message.unwrap(), "the host has no IPv6 address");
    // So is an address that a redirect leads to.
    let location = format!("location: {}", server.url("/"));
    let listener = TcpListener::bind((V6, 0)).unwrap();
    let url = format!("http://[::1]:{}/", listener.local_addr().unwrap().port());
    let redirecting = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(&response("302 Found", &[&location], b"")).unwrap();
    });
    let result = check(&settings, &site(&url, "ip = \"6\""));
    assert_error(&result, ErrorType::Dns, "no_address");
    assert_eq!((result.redirects, server.accepted()), (1, 0));
    redirecting.join().unwrap();
}

#[test]
fn connections_come_from_the_source_address() {
    let (sender, peers) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        sender.send(stream.peer_addr().unwrap().ip()).unwrap();
        read_head(&mut stream);
        let _ = stream.write_all(&ok());
    });
    // Addresses of the other IP version cannot be connected to from it.
    let (settings, asked) = names(&[("shop.example", &[V6, V4])]);
    let site = site(&format!("http://shop.example:{}/", server.address.port()), "source = \"127.0.0.9\"");
    assert_success(&check(&settings, &site));
    assert_eq!(peers.recv().unwrap(), IpAddr::from([127, 0, 0, 9]));
    assert_eq!(asked.all(), ["shop.example IPv4"]);
}

#[test]
fn a_source_address_that_does_not_serve_is_the_checkers_own_trouble() {
    let server = Server::answering(ok());
    let (settings, _) = names(&[]);
    let absent = "source = \"203.0.113.9\"";
    let result = check(&settings, &site(&server.url("/"), absent));
    assert_error(&result, ErrorType::NetworkDown, "no_source_address");
    // From loopback nothing leads to another host.
    let result = check(&settings, &site("http://203.0.113.7/", "source = \"127.0.0.9\""));
    assert_error(&result, ErrorType::NetworkDown, "no_route_ipv4");
}

#[cfg(feature = "cli")]
#[test]
fn validate_tells_a_source_address_that_this_host_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let validate = |source: &str, arguments: &[&str]| {
        let toml = format!(
            "kafka.brokers = [\"h:1\"]\n[[site]]\nname = \"shop\"\nurl = \"http://h/\"\nschedule = \"@hourly\"\n\
             source = {source:?}\n"
        );
        std::fs::write(&path, toml).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_webmon-check"));
        command.arg("--config").arg(&path).arg("validate").args(arguments).env("ADDRESS", "203.0.113.9");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(validate("127.0.0.9", &[]).0, Some(0));
    let (code, errors) = validate("203.0.113.9", &[]);
    assert_eq!(code, Some(2), "{errors}");
    let fault = "config.toml: site \"shop\": source \"203.0.113.9\" is not an address of this host";
    assert!(errors.contains(fault), "{errors}");
    // What a variable stands for is not shown, to programs neither.
    for arguments in [&[][..], &["--json"]] {
        let (code, errors) = validate("${ADDRESS}", arguments);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("(hidden) is not an address of this host"), "{errors}");
        assert!(!errors.contains("203.0.113.9"), "{errors}");
    }
}

#[test]
fn an_address_of_ones_own_stands_for_the_name_on_the_sites_own_host_only() {
    let heard = Heard::default();
    let hears = heard.clone();
    let server = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let again = head.starts_with("GET /again");
        hears.push(head);
        let _ = stream.write_all(&match again {
            true => response("302 Found", &["location: http://other.example/"], b""),
            false => ok(),
        });
    });
    let port = server.address.port();
    let (settings, asked) = names(&[]);
    // The first does not answer.
    let more = "resolve = [\"127.0.0.2\", \"127.0.0.1\"]";
    let result = check(&settings, &site(&format!("http://shop.example:{port}/"), more));
    assert_success(&result);
    assert_eq!((result.dns_us, result.remote_ip), (None, Some(V4)));
    assert!(heard.all()[0].contains(&format!("host: shop.example:{port}\r\n")), "{:?}", heard.all());
    assert!(asked.all().is_empty());

    let more = "resolve = \"127.0.0.1\"";
    let result = check(&settings, &site(&format!("http://shop.example:{port}/again"), more));
    assert_error(&result, ErrorType::Dns, "nxdomain");
    assert_eq!(asked.all(), ["other.example"]);
}

#[test]
fn an_address_of_ones_own_may_be_forbidden_too() {
    let server = Server::answering(ok());
    let (mut settings, _) = names(&[]);
    settings.deny_addresses = vec!["127.0.0.0/8".parse().unwrap()];
    let url = format!("http://shop.example:{}/", server.address.port());
    let result = check(&settings, &site(&url, "resolve = \"127.0.0.1\""));
    assert_error(&result, ErrorType::BlockedAddress, "denied");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_certificate_is_that_of_the_name_whatever_address_stands_for_it() {
    let authority = Authority::new("a test authority");
    let server = Server::https(0, authority.server(&["shop.example"], 2020, 2040), ok()).unwrap();
    let (mut settings, _) = names(&[]);
    settings.extra_roots = vec![authority.root()];
    let url = |host: &str| format!("https://{host}:{}/", server.address.port());
    let more = "resolve = \"127.0.0.1\"";
    assert_success(&check(&settings, &site(&url("shop.example"), more)));
    let result = check(&settings, &site(&url("other.example"), more));
    assert_error(&result, ErrorType::Tls, "name_mismatch");
}

// ---- Proxies.

/// A proxy for what is on loopback, whatever name it is asked for, and the heads of the requests made to it.
fn proxy() -> (Server, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let server = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        hears.push(head.clone());
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let authority = target.strip_prefix("http://").unwrap_or(&target);
        let authority = authority.split('/').next().unwrap_or_default();
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(80);
        let Ok(mut site) = TcpStream::connect((V4, port)) else { return };
        if head.starts_with("CONNECT ") {
            let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\nvia: a test\r\n\r\n");
        } else {
            let _ = site.write_all(head.as_bytes());
        }
        let (mut from, mut to) = (stream.try_clone().unwrap(), site.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
        });
        let _ = io::copy(&mut site, &mut stream);
        let _ = stream.shutdown(Shutdown::Both);
    });
    (server, heard)
}

fn through(proxy: &str) -> String {
    format!("proxy = {proxy:?}")
}

#[test]
fn https_goes_through_a_tunnel_and_only_its_ends_see_inside() {
    let authority = Authority::new("a test authority");
    let server = Server::https(0, authority.server(&["shop.example"], 2020, 2040), ok()).unwrap();
    let (proxy, heard) = proxy();
    let (mut settings, asked) = names(&[]);
    settings.extra_roots = vec![authority.root()];
    let port = server.address.port();
    let url = format!("https://site:s1te@shop.example:{port}/path");
    let result = check(&settings, &site(&url, &through(&format!("http://me:s3cr%3At@{}", proxy.address))));
    assert_success(&result);
    // Neither the path nor what is for the site is the proxy's.
    let credentials = "proxy-authorization: Basic bWU6czNjcjp0\r\n";
    let target = format!("shop.example:{port}");
    assert_eq!(heard.all(), [format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{credentials}\r\n")]);
    assert_eq!((result.remote_ip, result.dns_us), (Some(V4), None));
    assert!(result.connect_us.is_some() && result.tls_us.is_some());
    assert!(asked.all().is_empty(), "the proxy looks names up");
}

#[test]
fn plain_http_goes_to_the_proxy_with_its_whole_url() {
    let heard_by_site = Heard::default();
    let hears = heard_by_site.clone();
    let server = Server::start(move |mut stream| {
        hears.push(read_head(&mut stream));
        let _ = stream.write_all(&ok());
    });
    let (proxy, heard) = proxy();
    let port = server.address.port();
    let (settings, asked) = names(&[("proxy.example", &[V4])]);
    let more = through(&format!("http://me:s3cret@proxy.example:{}", proxy.address.port()));
    let mut site = site(&format!("http://shop.example:{port}/a/b?c=d"), &more);
    // Longer than the buffer that usually holds a head.
    site.headers = vec![("x-long".to_owned(), "x".repeat(5_000)), ("x-last".to_owned(), "1".to_owned())];
    let result = check(&settings, &site);
    assert_success(&result);
    let head = &heard.all()[0];
    assert!(head.starts_with(&format!("GET http://shop.example:{port}/a/b?c=d HTTP/1.1\r\n")), "{head}");
    assert_eq!(head.matches("proxy-authorization: Basic bWU6czNjcmV0\r\n").count(), 1, "{head}");
    assert!(head.contains(&format!("host: shop.example:{port}\r\n")), "{head}");
    assert!(head.contains("x-last: 1\r\n"), "{head}");
    assert_eq!(asked.all(), ["proxy.example"]);
    assert!(result.dns_us.is_some() && result.connect_us.is_some() && result.ttfb_us.is_some());
}

#[test]
fn a_proxy_in_trouble_is_never_a_failure_of_the_site() {
    let (settings, _) = names(&[]);
    let closed = ClosedPort::new();
    let silent = BlackHole::new(Ipv4Addr::LOCALHOST, 0);
    let closing = Server::start(|mut stream| drop(read_head(&mut stream)));
    let resetting = Server::start(reset);
    let babbling = Server::answering("SSH-2.0-OpenSSH_9.7\r\n\r\n");
    let endless = Server::start(|mut stream| {
        read_head(&mut stream);
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    let asking = Server::answering(response("407 Proxy Authentication Required", &[], b"who?"));
    let refusing = Server::answering(response("403 Forbidden", &[], b"no"));
    let address = |server: &Server| server.address.to_string();
    for (proxy, https, http) in [
        (closed.address.to_string(), "proxy", Some("proxy")),
        (silent.address.to_string(), "proxy", Some("proxy")),
        ("no-such-proxy.example:3128".to_owned(), "proxy", Some("proxy")),
        (address(&closing), "proxy", Some("proxy")),
        (address(&resetting), "proxy", Some("proxy")),
        (address(&babbling), "proxy", Some("proxy")),
        (address(&endless), "proxy", Some("proxy")),
        (address(&asking), "proxy_authentication", Some("proxy_authentication")),
        // Over plain HTTP nobody can tell this from a 403 of the site.
        (address(&refusing), "proxy_refused", None),
    ] {
        for (url, detail) in [("https://shop.example/", Some(https)), ("http://shop.example/", http)] {
            let Some(detail) = detail else { continue };
            let mut site = site(url, &through(&format!("http://me:s3cr3t@{proxy}")));
            if proxy == silent.address.to_string() {
                site.timeout = Duration::from_millis(300);
            }
            let result = check(&settings, &site);
            assert_error(&result, ErrorType::NetworkDown, detail);
            assert_eq!((result.http_status, result.ttfb_us), (None, None), "{result:?}");
        }
    }
}

#[test]
fn what_a_proxy_says_of_the_site_is_a_failure_of_the_site() {
    let (settings, _) = names(&[]);
    for status in [502, 503, 504] {
        let proxy = Server::answering(response(&format!("{status} No"), &[], b"no route to it"));
        let more = through(&proxy.url(""));
        let result = check(&settings, &site("https://shop.example/", &more));
        assert_error(&result, ErrorType::Connect, "proxy_status");
        assert!(result.error_message.unwrap().contains(&format!("(status {status})")));
        // Over plain HTTP it is an answer like the site's own.
        let result = check(&settings, &site("http://shop.example/", &more));
        assert_error(&result, ErrorType::ExpectationFailed, "status");
        assert_eq!(result.http_status, Some(status));
    }
    // While the proxy waits for the site, the time is the site's.
    let waiting = Server::start(|mut stream| hold(&mut stream));
    for (url, phase) in [("https://shop.example/", "proxy"), ("http://shop.example/", "response")] {
        let mut site = site(url, &through(&waiting.url("")));
        site.timeout = Duration::from_millis(300);
        assert_error(&check(&settings, &site), ErrorType::Timeout, phase);
    }
    // What comes after the tunnel stands is the site's too.
    let broken = Server::start(reset);
    let (proxy, _) = proxy();
    let url = format!("https://shop.example:{}/", broken.address.port());
    let result = check(&settings, &site(&url, &through(&proxy.url(""))));
    assert_eq!(result.error_type, Some(ErrorType::Tls), "{result:?}");
}

#[test]
fn a_redirect_goes_through_the_proxy_too() {
    let (proxy, heard) = proxy();
    let end = Server::answering(ok());
    let location = format!("location: http://other.example:{}/end", end.address.port());
    let start = Server::answering(response("302 Found", &[&location], b""));
    let (settings, asked) = names(&[]);
    let url = format!("http://shop.example:{}/", start.address.port());
    let result = check(&settings, &site(&url, &through(&proxy.url(""))));
    assert_success(&result);
    assert_eq!((heard.all().len(), result.redirects), (2, 1));
    assert!(heard.all()[1].starts_with("GET http://other.example:"));
    assert!(asked.all().is_empty());
}

#[test]
fn forbidden_addresses_are_forbidden_to_the_proxy_as_far_as_they_are_known() {
    let (proxy, heard) = proxy();
    let server = Server::answering(ok());
    let port = server.address.port();
    let (mut settings, _) = names(&[]);
    settings.deny_addresses = vec!["10.0.0.0/8".parse().unwrap()];
    let result = check(&settings, &site("https://10.0.0.1/", &through(&proxy.url(""))));
    assert_error(&result, ErrorType::BlockedAddress, "denied");
    assert!(heard.all().is_empty());
    assert_success(&check(
        &settings,
        &site(&format!("http://shop.example:{port}/"), &through(&proxy.url(""))),
    ));

    // The rules hold for the proxy as for any other host. That is the configuration's fault and not the site's.
    settings.deny_addresses = vec!["127.0.0.0/8".parse().unwrap()];
    let result = check(&settings, &site("https://shop.example/", &through(&proxy.url(""))));
    assert_error(&result, ErrorType::NetworkDown, "proxy");
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn a_token_is_asked_for_over_the_network_of_its_site() {
    let token = response("200 OK", &[], b"{\"access_token\": \"t0ken\"}");
    // The request's body is short and known: without reading it, the connection would be reset.
    let login = Server::start(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.read_exact(&mut [0; "grant_type=client_credentials".len()]);
        let _ = stream.write_all(&token);
    });
    let server = Server::answering(ok());
    let (proxy, heard) = proxy();
    let (settings, asked) = names(&[]);
    let (login, port) = (login.address.port(), server.address.port());
    let client = format!(
        "token_url = \"http://login.example:{login}/token\", client_id = \"a\", client_secret = \"b\""
    );
    let more = format!("{}\nauth = {{ oauth2 = {{ {client} }} }}", through(&proxy.url("")));
    assert_success(&check(&settings, &site(&format!("http://shop.example:{port}/"), &more)));
    let heard = heard.all();
    assert!(
        heard[0].starts_with(&format!("POST http://login.example:{login}/token HTTP/1.1\r\n")),
        "{heard:?}"
    );
    assert!(heard[1].contains("authorization: Bearer t0ken\r\n"), "{heard:?}");
    assert!(asked.all().is_empty());
}

#[test]
fn a_body_goes_through_the_proxy_whole() {
    const LENGTH: usize = 100_000;
    let (sender, bodies) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        let mut body = vec![0; LENGTH];
        let whole = stream.read_exact(&mut body).is_ok();
        sender.send(whole && body.iter().all(|byte| *byte == b'x')).unwrap();
        let _ = stream.write_all(&ok());
    });
    let (proxy, heard) = proxy();
    let (settings, _) = names(&[]);
    let more = format!("{}\nmethod = \"POST\"\nbody = \"{}\"", through(&proxy.url("")), "x".repeat(LENGTH));
    let result = check(&settings, &site(&format!("http://shop.example:{}/", server.address.port()), &more));
    assert_success(&result);
    assert!(bodies.recv().unwrap());
    assert!(heard.all()[0].starts_with("POST http://shop.example:"));
}

#[test]
fn source_and_ip_version_are_those_of_the_connection_to_the_proxy() {
    let (sender, peers) = mpsc::channel();
    let proxy = Server::start(move |mut stream| {
        sender.send(stream.peer_addr().unwrap().ip()).unwrap();
        read_head(&mut stream);
        let _ = stream.write_all(&ok());
    });
    let (settings, asked) = names(&[("proxy.example", &[V6, V4])]);
    let more = through(&format!("http://proxy.example:{}", proxy.address.port()));
    let site = site("http://[2001:db8::1]/", &format!("{more}\nsource = \"127.0.0.9\""));
    assert_success(&check(&settings, &site));
    assert_eq!(peers.recv().unwrap(), IpAddr::from([127, 0, 0, 9]));
    assert_eq!(asked.all(), ["proxy.example IPv4"]);
}

#[test]
fn a_site_may_turn_off_the_proxy_of_all() {
    let toml = |more: &str| {
        format!(
            "kafka.brokers = [\"h:1\"]\nsite_defaults.proxy = \"http://proxy.example:3128\"\n[[site]]\n\
             name = \"shop\"\nurl = \"http://h/\"\nschedule = \"@hourly\"\n{more}\n"
        )
    };
    let proxy = |more: &str| {
        let config = Config::from_toml(&toml(more), Role::Check).unwrap();
        config.sites[0].network.proxy.as_ref().map(|proxy| proxy.port())
    };
    assert_eq!((proxy(""), proxy("proxy = \"off\"")), (Some(3128), None));
}

#[test]
fn the_credentials_of_a_proxy_are_shown_nowhere() {
    let (settings, _) = names(&[]);
    let asking = Server::answering(response("407 Proxy Authentication Required", &[], b""));
    for proxy in [asking.address.to_string(), ClosedPort::new().address.to_string()] {
        for url in ["https://shop.example/", "http://shop.example/"] {
            let site = site(url, &through(&format!("http://us3r:s3cr3t@{proxy}")));
            let record = Record::Result(Box::new(check(&settings, &site))).encode();
            let shown = format!("{site:?} {}", String::from_utf8(record).unwrap());
            assert!(!shown.contains("s3cr3t") && !shown.contains("us3r"), "{shown}");
        }
    }
    for proxy in [
        "http://us3r:s3cr3t@h:99999",
        "socks5://us3r:s3cr3t@h:1",
        "http://us3r:s3cr3t@h/path",
        "us3r:s3cr3t@h:3128",
    ] {
        let toml = format!(
            "kafka.brokers = [\"h:1\"]\n[[site]]\nname = \"shop\"\nurl = \"http://h/\"\nschedule = \"@hourly\"\n\
             proxy = {proxy:?}"
        );
        let error = Config::from_toml(&toml, Role::Check).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("proxy") && !shown.contains("s3cr3t") && !shown.contains("us3r"), "{shown}");
    }
}
