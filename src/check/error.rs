//! Why checks cannot be set up.

use std::io;
use std::path::PathBuf;

/// Why checks cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The user agent has characters that a header must not have.
    #[error("user agent {0:?} is not a header value: expected printable ASCII")]
    UserAgent(String),
    /// One of [`Settings::extra_roots`](super::Settings::extra_roots) cannot be used as a root certificate.
    #[error("extra root certificate {index} cannot be used")]
    Root {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A file of root certificates cannot be read.
    #[error("{path:?} is not a file of PEM certificates: {problem}")]
    RootFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// The system's resolver configuration cannot be read.
    #[error("cannot read the system's resolver configuration: {0}")]
    Resolver(String),
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
