//! A connection through a proxy (CONNECT, RFC 9110, 9.3.6).

use std::io::{self, Read, Write};

use httparse::{EMPTY_HEADER, Response, Status};
use ureq::http::Uri;

use super::fault::Fault;
use super::hop::Phase;
use super::proxy::{of_proxy, proxy_authentication};
use super::request::basic_credentials;
use super::wire::Socket;
use crate::record::ErrorType;
use crate::site::Proxy;

/// The most bytes of the proxy's answer.
const MAX_ANSWER: usize = 16 * 1024;
/// The most headers of it.
const MAX_HEADERS: usize = 64;

/// Asks the proxy that `socket` is connected to for a connection to `uri`.
///
/// # Errors
/// If the proxy does not answer in time, that is a timeout of the site: the proxy waits for it. If the proxy says that
/// it could not reach the site (502, 503, 504), that is a failure of the site. Anything else is trouble of the
/// checker's own.
pub(super) fn open(socket: &mut Socket, proxy: &Proxy, uri: &Uri) -> Result<(), Fault> {
    let target = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
    if let Some(credentials) = basic_credentials(proxy.url()) {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let status = socket.write_all(&request).map_err(|error| of_io(&error)).and_then(|()| answer(socket))?;
    match status {
        200..=299 => Ok(()),
        407 => Err(proxy_authentication()),
        502..=504 => {
            let message = format!("the proxy says that it could not reach the site (status {status})");
            Err(Fault::new(ErrorType::Connect, "proxy_status", message))
        }
        _ => {
            let message = format!("the proxy refuses to connect to the site (status {status})");
            Err(Fault::new(ErrorType::NetworkDown, "proxy_refused", message))
        }
    }
}

/// The status of the answer.
fn answer(socket: &mut Socket) -> Result<u16, Fault> {
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        match socket.read(&mut part) {
            Ok(0) => return Err(of_io(&io::ErrorKind::UnexpectedEof.into())),
            Ok(amount) => answer.extend_from_slice(&part[..amount]),
            Err(error) => return Err(of_io(&error)),
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = Response::new(&mut headers);
        match response.parse(&answer) {
            Ok(Status::Complete(length)) => match response.code {
                // Nothing may follow: TLS begins with the client.
                Some(code @ 200..=299) if length == answer.len() => return Ok(code),
                Some(code @ (100..200 | 300..)) => return Ok(code),
                _ => return Err(malformed()),
            },
            Ok(Status::Partial) if answer.len() < MAX_ANSWER => {}
            _ => return Err(malformed()),
        }
    }
}

fn malformed() -> Fault {
    Fault::new(ErrorType::NetworkDown, "proxy", "the proxy's answer is malformed")
}

fn of_io(error: &io::Error) -> Fault {
    match Fault::io(error, Phase::Proxy) {
        timeout if timeout.error_type == ErrorType::Timeout => timeout,
        fault => of_proxy(fault),
    }
}
