//! Reads a body: decodes it, counts its bytes, keeps as much of it as needed, and stops at the limit.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Instant;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::MultiGzDecoder;
use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use super::fault::Fault;
use super::hop::{Phase, remaining};
use crate::record::ErrorType;

/// The codings asked for in `Accept-Encoding`.
pub(super) const ACCEPT_ENCODING: &str = "gzip, br";

/// What was read of a body, with content codings removed.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Decoded bytes read, at most the limit.
    pub(super) bytes: usize,
    /// Whether there was more than the limit.
    pub(super) truncated: bool,
    /// The start of the body, as much as was to be kept.
    pub(super) kept: Vec<u8>,
}

/// A content coding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Brotli,
    /// One that was not asked for: its bytes are counted as they come.
    Unknown,
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Coding {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(CONTENT_ENCODING) { Coding::Unknown } else { Coding::Identity };
        };
        match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Coding::Identity,
            // RFC 9110, section 8.4.1.3.
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"br" => Coding::Brotli,
            _ => Coding::Unknown,
        }
    }
}

/// Reads up to `limit` decoded bytes of `body` into `content`, until `deadline`, and keeps the first `keep` of them.
/// After an error `content` holds what was read before it.
pub(super) fn read(
    body: impl Read,
    headers: &HeaderMap,
    deadline: Instant,
    limit: usize,
    keep: usize,
    content: &mut Content,
) -> Result<(), Fault> {
    let source = Source { body, announced: headers.contains_key(CONTENT_LENGTH) };
    let done = match Coding::of(headers) {
        Coding::Identity | Coding::Unknown => drain(source, deadline, limit, keep, content),
        coding => {
            let mut source = BufReader::with_capacity(8 * 1024, source);
            match source.fill_buf() {
                Err(error) => Err(error),
                // Some servers name a coding even if the body is empty.
                Ok([]) => Ok(()),
                Ok(_) if coding == Coding::Gzip => {
                    drain(MultiGzDecoder::new(source), deadline, limit, keep, content)
                }
                Ok(_) => drain(Brotli::new(source), deadline, limit, keep, content),
            }
        }
    };
    done.map_err(|error| match error.downcast::<Fault>() {
        Ok(fault) => fault,
        Err(error) => Fault::new(ErrorType::Body, "bad_encoding", format!("decoding the body: {error}")),
    })
}

fn drain(
    mut body: impl Read,
    deadline: Instant,
    limit: usize,
    keep: usize,
    content: &mut Content,
) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    loop {
        // Long decoding does not wait for the socket, so no timeout of the socket would end it.
        if remaining(deadline).is_none() {
            return Err(io::Error::other(Fault::timeout(Phase::Body)));
        }
        // One byte beyond the limit shows whether the body is longer than the limit.
        let wanted = (limit - content.bytes).saturating_add(1).min(buffer.len());
        let mut amount = match body.read(&mut buffer[..wanted]) {
            Ok(0) => return Ok(()),
            Ok(amount) => amount,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if amount > limit - content.bytes {
            content.truncated = true;
            amount = limit - content.bytes;
        }
        content.bytes += amount;
        let room = keep.saturating_sub(content.kept.len());
        content.kept.extend_from_slice(&buffer[..amount.min(room)]);
        if content.truncated {
            return Ok(());
        }
    }
}

/// Decodes brotli (RFC 7932) as it is meant for HTTP: with windows of at most 16 MiB. It refuses the "large window"
/// extension as malformed, because a few bytes of it make a decoder allocate a gigabyte.
struct Brotli<R> {
    source: R,
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    ended: bool,
}

impl<R: BufRead> Brotli<R> {
    fn new(source: R) -> Brotli<R> {
        let alloc = StandardAlloc::default;
        Brotli { source, state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), ended: false }
    }
}

impl<R: BufRead> Read for Brotli<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let input = self.source.fill_buf()?;
            let (mut left, mut taken) = (input.len(), 0);
            let (mut room, mut written, mut total) = (buffer.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut taken,
                input,
                &mut room,
                &mut written,
                buffer,
                &mut total,
                &mut self.state,
            );
            let is_over = input.is_empty();
            self.source.consume(taken);
            match result {
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreInput if is_over && written == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

/// The undecoded body. Its errors are classified here, before a decoder can mix them with its own.
struct Source<R> {
    body: R,
    /// Whether the response announced its length.
    announced: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer).map_err(|error| {
            let mut fault = Fault::from_ureq(ureq::Error::from(error), Phase::Body, Some(true));
            if fault.detail == "closed_early" && self.announced {
                fault.detail = "length_mismatch";
                fault.message = "the connection ended before the body was as long as announced".to_owned();
            }
            io::Error::other(fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(body: &[u8], pairs: &[(&'static str, &str)], limit: usize) -> (Content, Result<(), Fault>) {
        let mut content = Content::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let done = read(body, &headers(pairs), deadline, limit, usize::MAX, &mut content);
        (content, done)
    }

    #[test]
    fn the_limit_is_met_to_the_byte() {
        for (limit, bytes, truncated) in [(0, 0, true), (4, 4, true), (5, 5, false), (6, 5, false)] {
            let (content, done) = read_all(b"hello", &[], limit);
            done.unwrap();
            assert_eq!((content.bytes, content.truncated), (bytes, truncated), "limit {limit}");
            assert_eq!(content.kept, &b"hello"[..bytes]);
        }
        let (content, _) = read_all(b"", &[], 0);
        assert!(!content.truncated);
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 100_000);
        let (content, done) = read_all(&bomb, &[("content-encoding", "GZip")], 1 << 20);
        done.unwrap();
        assert_eq!((content.bytes, content.truncated, content.kept.len()), (1 << 20, true, 1 << 20));
    }

    #[test]
    fn a_coding_over_an_empty_body_is_an_empty_body() {
        for coding in ["gzip", "br"] {
            let (content, done) = read_all(b"", &[("content-encoding", coding)], 100);
            done.unwrap();
            assert_eq!((content.bytes, content.truncated), (0, false));
        }
    }

    #[test]
    fn brotli_is_decoded_within_the_window_that_http_allows() {
        let hello = [
            0x1b, 0x10, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0x96, 0x6c, 0x20, 0x6f, 0x01,
            0x4f, 0x1c, 0x60, 0x1c,
        ];
        let (content, done) = read_all(&hello, &[("content-encoding", "br")], 100);
        done.unwrap();
        assert_eq!(content.kept, b"hello hello hello");
        let (_, done) = read_all(&hello[..hello.len() - 4], &[("content-encoding", "br")], 100);
        assert_eq!(done.unwrap_err().detail, "bad_encoding");
        // 8 MiB of zeros in a window of a gigabyte, which a decoder would have to allocate.
        let large =
            [0x11, 0x5e, 0xfe, 0xff, 0xff, 0x01, 0x90, 0x00, 0x88, 0xc7, 0x02, 0x21, 0xf7, 0xfe, 0x0f];
        let (content, done) = read_all(&large, &[("content-encoding", "br")], 100);
        assert_eq!((done.unwrap_err().detail, content.bytes), ("bad_encoding", 0));
    }

    #[test]
    fn decoding_ends_at_the_deadline() {
        let bomb = gzip(&vec![0; 1 << 20]);
        let mut content = Content::default();
        let headers = headers(&[("content-encoding", "gzip")]);
        let over = Instant::now();
        let fault = read(&bomb[..], &headers, over, usize::MAX, 0, &mut content).unwrap_err();
        assert_eq!((fault.error_type, content.bytes), (ErrorType::Timeout, 0));
    }

    #[test]
    fn what_is_not_in_its_coding_is_a_bad_encoding() {
        let mut cut = gzip(b"hello hello hello");
        cut.truncate(cut.len() - 6);
        for (coding, body) in [("gzip", &b"plain text"[..]), ("br", b"\xff\xff\xff plain"), ("gzip", &cut)] {
            let (_, done) = read_all(body, &[("content-encoding", coding)], 100);
            let fault = done.unwrap_err();
            assert_eq!((fault.error_type, fault.detail), (ErrorType::Body, "bad_encoding"), "{coding}");
        }
    }

    #[test]
    fn a_coding_that_was_not_asked_for_is_known_as_such() {
        assert_eq!(Coding::of(&headers(&[("content-encoding", "zstd")])), Coding::Unknown);
        assert_eq!(Coding::of(&headers(&[("content-encoding", "gzip, br")])), Coding::Unknown);
        let mut twice = headers(&[("content-encoding", "gzip")]);
        twice.append(CONTENT_ENCODING, "br".parse().unwrap());
        assert_eq!(Coding::of(&twice), Coding::Unknown);
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::Identity);
    }
}
