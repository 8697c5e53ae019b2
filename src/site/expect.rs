//! What a response must be like to be a success.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::json_expectation::JsonExpectation;

/// What a response must be like to count as a success. Every expectation is evaluated, even after one has failed.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The status codes accepted. If there are none, no response is a success.
    pub status: Vec<StatusRange>,
    /// Patterns that the decoded body must all contain.
    pub body: Vec<Arc<Regex>>,
    /// Patterns of which the decoded body must contain none.
    pub not_body: Vec<Arc<Regex>>,
    /// Headers that must be there with a value that matches, by lower-case name.
    pub headers: Vec<(String, Arc<Regex>)>,
    /// Headers of which no value may match, by lower-case name. A header that is not there is right.
    pub not_headers: Vec<(String, Arc<Regex>)>,
    /// What the body, which must be JSON then, must hold.
    pub json: Vec<JsonExpectation>,
    /// Whether the answer must have come over TLS, or must not.
    pub tls: Option<bool>,
    /// A pattern that the URL which answered, after all redirects, must match. It is matched with its query, and with
    /// the credentials if it is the site's own.
    pub final_url: Option<Arc<Regex>>,
    /// The longest total time that still counts as success; 1 ms to 10 min.
    pub max_time: Option<Duration>,
    /// How long the certificate must still be valid: up to 3,650 days. Over plain HTTP this always fails.
    pub certificate: Option<Duration>,
}

impl Default for Expect {
    fn default() -> Self {
        Expect {
            status: vec![StatusRange { from: 200, to: 299 }],
            body: Vec::new(),
            not_body: Vec::new(),
            headers: Vec::new(),
            not_headers: Vec::new(),
            json: Vec::new(),
            tls: None,
            final_url: None,
            max_time: None,
            certificate: None,
        }
    }
}

impl Expect {
    /// Whether anything is expected of the body.
    pub fn is_of_the_body(&self) -> bool {
        !(self.body.is_empty() && self.not_body.is_empty() && self.json.is_empty())
    }
}

/// Status codes `from` to `to`, both included: `200`, `2xx` or `200-204`, within 100 to 599.
///
/// ```
/// use webmon::site::StatusRange;
///
/// let range: StatusRange = "2xx".parse()?;
/// assert_eq!((range.contains(204), range.contains(301)), (true, false));
/// assert!("2xx-".parse::<StatusRange>().is_err());
/// # Ok::<(), webmon::site::StatusRangeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest code accepted.
    pub from: u16,
    /// The highest code accepted.
    pub to: u16,
}

impl StatusRange {
    /// Whether `status` is in the range.
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl std::str::FromStr for StatusRange {
    type Err = StatusRangeError;

    /// Reads `200`, `2xx` or `200-204`.
    ///
    /// # Errors
    /// Anything else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let from = u16::from(class - b'0') * 100;
                Some(StatusRange { from, to: from + 99 })
            }
            _ => match text.split_once('-') {
                Some((from, to)) => code(from).zip(code(to)).map(|(from, to)| StatusRange { from, to }),
                None => code(text).map(|code| StatusRange { from: code, to: code }),
            },
        };
        range.filter(|range| range.from <= range.to).ok_or_else(|| StatusRangeError { text: text.to_owned() })
    }
}

/// A text that is not a [`StatusRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a status: expected \"200\", \"2xx\" or \"200-204\"")]
pub struct StatusRangeError {
    text: String,
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}
