//! The head of a response, read before ureq sees it. Informational responses before it are skipped. All of it is
//! bounded. ureq is shown only what it needs to find the end of the body.
//!
//! ureq itself refuses 129 headers and those of a `100 Continue`, and accepts informational responses without end.

use httparse::{EMPTY_HEADER, Error, Response, Status};
use ureq::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::Fault;

/// The largest head of a response, in bytes, together with the informational responses before it.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most headers of a response.
const MAX_HEADERS: usize = 1_024;
/// Most responses have no more headers than this.
const USUAL_HEADERS: usize = 64;
/// The headers that decide how the body ends.
const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// What the input begins with.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The start of a head.
    Incomplete,
    /// An informational response of so many bytes.
    Informational(usize),
    /// The head of the response.
    Head(Head),
    /// Something else. ureq says what is wrong with it.
    Unknown,
}

#[derive(Debug, PartialEq)]
pub(super) struct Head {
    /// Its length in bytes.
    pub(super) length: usize,
    pub(super) headers: HeaderMap,
    /// The head that ureq sees instead.
    pub(super) shown: Vec<u8>,
}

/// Looks at the start of `input`.
///
/// # Errors
/// If there are more than [`MAX_HEADERS`] headers.
pub(super) fn next(input: &[u8]) -> Result<Next, Fault> {
    let mut headers = vec![EMPTY_HEADER; USUAL_HEADERS];
    let mut response = Response::new(&mut headers);
    let mut parsed = response.parse(input);
    let mut all;
    if parsed == Err(Error::TooManyHeaders) {
        all = vec![EMPTY_HEADER; MAX_HEADERS];
        response = Response::new(&mut all);
        parsed = response.parse(input);
    }
    match parsed {
        Ok(Status::Partial) => Ok(Next::Incomplete),
        Ok(Status::Complete(length)) => Ok(match response.code {
            // 101 ends HTTP/1.1 on the connection, so no response follows it.
            Some(100 | 102..=199) => Next::Informational(length),
            _ => taken(&response, length).map_or(Next::Unknown, Next::Head),
        }),
        Err(Error::TooManyHeaders) => Err(Fault::head_too_large()),
        Err(_) => Ok(Next::Unknown),
    }
}

/// `None` if a header is not valid by the rules of the `http` crate.
fn taken(response: &Response<'_, '_>, length: usize) -> Option<Head> {
    let (version, code) = (response.version?, response.code?);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    let mut shown = format!("HTTP/1.{version} {code:03}\r\n").into_bytes();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        if FRAMING.contains(&name) {
            for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
                shown.extend_from_slice(part);
            }
        }
        headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    shown.extend_from_slice(b"\r\n");
    Some(Head { length, headers, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ureq_is_shown_what_frames_the_body_and_the_rest_is_kept() {
        let input =
            b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nx-a: 1\r\nX-A: 2\r\nconnection: close\r\n\r\nok";
        let Next::Head(head) = next(input).unwrap() else { panic!("no head") };
        assert_eq!(&input[head.length..], b"ok");
        assert_eq!(head.shown, b"HTTP/1.1 200\r\nContent-Length: 2\r\nconnection: close\r\n\r\n");
        assert!(head.headers.get_all("x-a").iter().eq(["1", "2"]));
        assert_eq!(head.headers.len(), 4);
    }

    #[test]
    fn informational_responses_are_told_from_the_last_one() {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(next(early.as_bytes()).unwrap(), Next::Informational(early.len()));
        let hundred = "HTTP/1.1 100 Continue\r\na: b\r\n\r\nHTTP/1.1 200";
        assert_eq!(next(hundred.as_bytes()).unwrap(), Next::Informational(hundred.len() - 12));
        assert!(matches!(next(b"HTTP/1.1 101 Other\r\n\r\n").unwrap(), Next::Head(_)));
        for input in ["", "\r\n", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\na: b\r\n"] {
            assert_eq!(next(input.as_bytes()).unwrap(), Next::Incomplete, "{input:?}");
        }
        for input in ["HTTP/2 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.7\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n"] {
            assert_eq!(next(input.as_bytes()).unwrap(), Next::Unknown, "{input:?}");
        }
    }

    #[test]
    fn headers_are_counted_to_their_limit() {
        let with = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        let Next::Head(head) = next(with(MAX_HEADERS).as_bytes()).unwrap() else { panic!("no head") };
        assert_eq!(head.headers.len(), MAX_HEADERS);
        assert_eq!(next(with(MAX_HEADERS + 1).as_bytes()).unwrap_err().detail, "header_too_large");
    }
}
