//! A sample of a failing response.

use ureq::http::header::{self, HeaderMap, HeaderName};
use url::Url;

use crate::limits::{MAX_MESSAGE, MAX_SAMPLE_BODY, MAX_SAMPLE_HEADERS};
use crate::record::Sample;
use crate::site::Site;
use crate::text::truncated;

/// Headers that go into no sample, because they carry sessions and credentials.
pub(super) const SECRET_HEADERS: [HeaderName; 5] = [
    header::SET_COOKIE,
    header::COOKIE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("authentication-info"),
];

/// What `url` answered.
pub(super) fn sample(site: &Site, url: &Url, headers: &HeaderMap, text: &str) -> Sample {
    let headers = headers
        .iter()
        .filter(|(name, _)| !SECRET_HEADERS.contains(name))
        .take(MAX_SAMPLE_HEADERS)
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            // A redirect often carries a token in its query.
            let value = match url.join(&value) {
                Ok(url) if *name == header::LOCATION => site.redacted(&url),
                _ => value.into_owned(),
            };
            (truncated(name.as_str(), MAX_MESSAGE), truncated(&value, MAX_MESSAGE))
        })
        .collect();
    // It is cut twice, because the replacement of a NUL is longer than the NUL.
    let start = truncated(text, MAX_SAMPLE_BODY);
    Sample { headers, body: truncated(&start, MAX_SAMPLE_BODY) }
}
