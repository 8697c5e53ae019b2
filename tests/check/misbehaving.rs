//! Nothing a site sends hurts the checker: each kind of nonsense is a failure with its own reason, and bounded.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use webmon::record::{ErrorType, Outcome};
use webmon::site::Site;

use crate::site::{assert_error, check, regex, site};
use crate::sites::{Server, read_head, reset, response};

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
        site.expect.body = vec![regex("^hello$")];
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
    site.expect.body = vec![regex("^x{1000}")];
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
    site.expect.body = vec![regex("data platform")];
    assert_error(&check(&site), ErrorType::Body, "unknown_encoding");
}
