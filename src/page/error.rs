//! Why a page cannot be served.

use std::net::SocketAddr;

use crate::database::DatabaseError;

/// Why the pages cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Nothing can listen on the address.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address of `[web]`.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The threads that serve cannot be started.
    #[error("cannot start the threads that serve: {0}")]
    Threads(std::io::Error),
    /// The database cannot be used as configured.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}
