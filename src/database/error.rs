//! Errors of the database, and what to do about each.

use postgres::error::{DbError, SqlState};

use super::stream::NoTlsOffered;
use crate::panicked::Panicked;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A statement failed.
    #[error("{doing}: {}", describe(.cause))]
    Statement {
        /// What was attempted.
        doing: &'static str,
        /// What the server or the connection said.
        cause: postgres::Error,
    },
    /// The connection cannot be set up as configured.
    #[error("postgres.{key} {problem}")]
    Config {
        /// The key of `[postgres]` at fault.
        key: &'static str,
        /// What is wrong with it; never the URL itself.
        problem: String,
    },
    /// The schema is not the one this program was built for.
    #[error("{0}")]
    Schema(String),
    /// A thread of this program panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The system could not start a thread.
    #[error("cannot start a thread: {0}")]
    NoThread(std::io::Error),
}

impl DatabaseError {
    /// Pairs the driver's error with what was attempted.
    pub(crate) fn statement(doing: &'static str) -> impl Fn(postgres::Error) -> DatabaseError + Copy {
        move |cause| DatabaseError::Statement { doing, cause }
    }

    /// The server's error, if it was the server that refused.
    pub(crate) fn of_server(&self) -> Option<&DbError> {
        match self {
            DatabaseError::Statement { cause, .. } => cause.as_db_error(),
            _ => None,
        }
    }

    /// The server's error code, if it was the server that refused.
    pub fn code(&self) -> Option<&SqlState> {
        self.of_server().map(DbError::code)
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            DatabaseError::Statement { cause, .. } => remedy(cause),
            _ => Remedy::Stop,
        }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The transaction was rolled back through no fault of its own: run it again.
    Retry,
    /// The connection or the server is gone, or the server is in a state that may pass: drop every claim and connect
    /// again. Whether a COMMIT that was under way took effect shows when the offset is read again.
    Reconnect,
    /// One of the rows cannot be stored: find it by halving.
    Bisect,
    /// It does not pass before somebody changes something: stop with the error.
    Stop,
}

fn remedy(error: &postgres::Error) -> Remedy {
    let Some(db) = error.as_db_error() else {
        // No answer from the server: a closed or broken connection, or one that could not be made.
        return if is_distrust(error) { Remedy::Stop } else { Remedy::Reconnect };
    };
    let state = db.code();
    let class = &state.code()[..2];
    match state {
        &SqlState::T_R_SERIALIZATION_FAILURE
        | &SqlState::T_R_DEADLOCK_DETECTED
        | &SqlState::LOCK_NOT_AVAILABLE => Remedy::Retry,
        // Another writer has created the day's partition meanwhile. The server's cache still said that it was missing.
        &SqlState::DUPLICATE_TABLE => Remedy::Retry,
        // A day's partition is missing. It is created when the batch is tried again. A violated constraint has a name.
        &SqlState::CHECK_VIOLATION if db.constraint().is_none() => Remedy::Retry,
        &SqlState::CHECK_VIOLATION | &SqlState::NOT_NULL_VIOLATION => Remedy::Bisect,
        // Rights, or the database, are missing. An administrator must mend that.
        &SqlState::INSUFFICIENT_PRIVILEGE | &SqlState::UNDEFINED_DATABASE => Remedy::Stop,
        // The schema is missing or old. A migration mends that.
        &SqlState::INVALID_SCHEMA_NAME
        | &SqlState::UNDEFINED_TABLE
        | &SqlState::UNDEFINED_COLUMN
        | &SqlState::UNDEFINED_FUNCTION => Remedy::Stop,
        _ if class == "28" => Remedy::Stop,
        _ if class == "22" => Remedy::Bisect,
        // The server stops, takes no writes after a failover, or its disk is full. That may pass.
        _ => Remedy::Reconnect,
    }
}

/// Whether TLS failed because of the two sides, and not because the connection broke. Examples are a wrong CA, a wrong
/// host name, and a server without TLS.
fn is_distrust(error: &postgres::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let causes: Vec<_> = causes.collect();
    if causes.iter().any(|cause| cause.is::<NoTlsOffered>()) {
        return true;
    }
    causes.iter().any(|cause| cause.is::<native_tls::Error>())
        && !causes.iter().any(|cause| cause.is::<std::io::Error>())
}

/// The server's message, detail and code. If there is no answer, the client's chain of errors.
fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}{detail} [SQLSTATE {}]", db.message(), db.code().code())
        }
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}
