//! A check ends at its timeout, whatever the site does meanwhile.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use webmon::check::{Resolve, ResolveError, Settings};
use webmon::record::ErrorType;
use webmon::site::Site;

use crate::site::{SHORT, assert_error, check, check_with, site};
use crate::sites::{BlackHole, Server, hold, read_head};

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
