//! A URL to which alerts are sent. Often it is itself a secret.

use std::fmt;

use ureq::http::Uri;
use url::Url;

use super::credentials::secret;
use super::table::Table;
use crate::limits::MAX_URL;

/// A URL to which alerts are sent. Whoever knows it may often send there, so only its host is ever shown.
///
/// ```
/// use webmon::config::Endpoint;
///
/// let endpoint = Endpoint::new("https://hooks.example/services/T0/B0/hunter2")?;
/// assert_eq!(format!("{endpoint:?}"), "Endpoint(https://hooks.example/***)");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// Why it cannot be used, without any part of it: it is no URL, not http or https, longer than 2,048 bytes, or it has
    /// credentials.
    pub fn new(text: &str) -> Result<Endpoint, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is not an http or https URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has credentials in it: expected them in auth or headers".to_owned());
        }
        if url.as_str().len() > MAX_URL {
            return Err(format!("is longer than {MAX_URL} bytes"));
        }
        if url.as_str().parse::<Uri>().is_err() {
            return Err("has characters that no request can have: expected them percent-encoded".to_owned());
        }
        Ok(Endpoint(url))
    }

    /// The URL, for the one place that needs it.
    pub fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}/***)", self.0.origin().ascii_serialization())
    }
}

/// The URL of `url`, or of the first line of the file that `url_file` names. Required.
pub(super) fn endpoint(table: &Table, expected: &str) -> Option<Endpoint> {
    let endpoint = optional_endpoint(table);
    if endpoint.is_none() {
        table.missing("url", expected);
    }
    endpoint.flatten()
}

/// As [`endpoint`]. None if there is no such key; an inner none after a fault.
pub(super) fn optional_endpoint(table: &Table) -> Option<Option<Endpoint>> {
    let text = secret(table, "url", "url_file")?;
    Some(text.and_then(|text| {
        match Endpoint::new(text.reveal()) {
            Ok(endpoint) => Some(endpoint),
            Err(problem) => table
                .get("url")
                .or_else(|| table.get("url_file"))
                .and_then(|entry| entry.hidden().refuse(problem)),
        }
    }))
}
