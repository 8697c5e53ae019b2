//! An answer: bytes that are made once and sent often.

use std::io::Write;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// Shorter answers are not compressed.
const MIN_COMPRESSED: usize = 1_000;

/// HTML.
pub(super) const HTML: &str = "text/html; charset=utf-8";
/// JSON.
pub(super) const JSON: &str = "application/json";

/// Bytes that are made once and sent often.
pub(super) struct Answer {
    status: StatusCode,
    media_type: &'static str,
    etag: String,
    bytes: Bytes,
    compressed: Option<Bytes>,
}

impl Answer {
    /// What was asked for.
    pub(super) fn new(media_type: &'static str, text: impl Into<Vec<u8>>) -> Answer {
        Answer::with(StatusCode::OK, media_type, text)
    }

    /// An answer with another status.
    pub(super) fn with(status: StatusCode, media_type: &'static str, text: impl Into<Vec<u8>>) -> Answer {
        let bytes = Bytes::from(text.into());
        let digest = Sha256::digest(&bytes);
        let etag =
            format!("\"{}\"", digest[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let compressed = (bytes.len() >= MIN_COMPRESSED).then(|| compress(&bytes)).flatten();
        Answer { status, media_type, etag, bytes, compressed }
    }

    /// How many bytes it holds.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.compressed.as_ref().map_or(0, Bytes::len)
    }

    /// The response to a request with these headers. `cache` says for how long others may keep it.
    pub(super) fn response(&self, request: &HeaderMap, cache: &str) -> Response<Body> {
        let lists = |name, wanted: &str| {
            let values = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| {
                let (value, weight) = part.split_once(';').unwrap_or((part, ""));
                let value = value.trim().trim_start_matches("W/");
                (value == wanted || value == "*") && weight.trim() != "q=0"
            })
        };
        let unchanged = self.status == StatusCode::OK && lists(IF_NONE_MATCH, &self.etag);
        let compressed = self.compressed.as_ref().filter(|_| lists(ACCEPT_ENCODING, "gzip"));
        let body = match (unchanged, compressed) {
            (true, _) => Body::empty(),
            (_, Some(bytes)) => Body::from(bytes.clone()),
            (_, None) => Body::from(self.bytes.clone()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { self.status };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding, Authorization"));
        if self.status == StatusCode::OK {
            insert(headers, ETAG.as_str(), &self.etag);
            insert(headers, CACHE_CONTROL.as_str(), cache);
        } else {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        if compressed.is_some() && !unchanged {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Inserts a header whose value was made here. One that no header can have is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn compress(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(5));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
