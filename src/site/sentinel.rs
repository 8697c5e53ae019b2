//! Sentinels: other hosts that should answer.

use std::fmt;

use url::{Host, Url};

/// The most sentinels.
pub const MAX_SENTINELS: usize = 8;

/// A host, not one of the sites', that answers as long as the checker's own network works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentinel {
    /// Answers an HTTP request, whatever the answer is.
    Http(Url),
    /// Accepts TCP connections at this host and port.
    Tcp(Host, u16),
}

/// A text that is not a [`Sentinel`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SentinelError {
    /// It is not a URL.
    #[error("{text:?} is not a URL: {source}: expected \"https://host/\" or \"tcp://host:port\"")]
    Url {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// It is a URL of another kind.
    #[error("{text:?} is not a sentinel: expected \"https://host/\" or \"tcp://host:port\"")]
    Kind {
        /// The text.
        text: String,
    },
}

impl std::str::FromStr for Sentinel {
    type Err = SentinelError;

    /// Reads `https://host/`, `http://host/` or `tcp://host:port`.
    ///
    /// # Errors
    /// Anything else.
    fn from_str(text: &str) -> Result<Sentinel, SentinelError> {
        let url = Url::parse(text).map_err(|source| SentinelError::Url { text: text.to_owned(), source })?;
        match (url.scheme(), url.host_str().map(Host::parse), url.port()) {
            ("http" | "https", ..) => Ok(Sentinel::Http(url)),
            ("tcp", Some(Ok(host)), Some(port)) if matches!(url.path(), "" | "/") => {
                Ok(Sentinel::Tcp(host, port))
            }
            _ => Err(SentinelError::Kind { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sentinel::Http(url) => write!(f, "{url}"),
            Sentinel::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
        }
    }
}
