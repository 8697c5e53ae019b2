//! The codes that the words of a record have in the database.

use crate::record::{ErrorType, Expectation, HttpVersion, Outcome, TlsVersion};

/// The codes of `webmon.error_types`.
pub(super) fn error_code(error_type: ErrorType) -> i16 {
    match error_type {
        ErrorType::Dns => 1,
        ErrorType::Connect => 2,
        ErrorType::Tls => 3,
        ErrorType::Timeout => 4,
        ErrorType::Protocol => 5,
        ErrorType::Redirect => 6,
        ErrorType::Body => 7,
        ErrorType::BlockedAddress => 8,
        ErrorType::ExpectationFailed => 9,
        ErrorType::Late => 101,
        ErrorType::Overlap => 102,
        ErrorType::Saturated => 103,
        ErrorType::Cancelled => 104,
        ErrorType::NetworkDown => 105,
        ErrorType::CheckerDown => 106,
        ErrorType::Maintenance => 107,
    }
}

pub(super) fn outcome_code(outcome: Outcome) -> i8 {
    match outcome {
        Outcome::Success => b's' as i8,
        Outcome::Failure => b'f' as i8,
        Outcome::Missed => b'm' as i8,
    }
}

pub(super) fn http_code(version: HttpVersion) -> i8 {
    match version {
        HttpVersion::Http10 => b'0' as i8,
        HttpVersion::Http11 => b'1' as i8,
        HttpVersion::Http2 => b'2' as i8,
        HttpVersion::Http3 => b'3' as i8,
    }
}

pub(super) fn tls_code(version: TlsVersion) -> i8 {
    match version {
        TlsVersion::Tls12 => b'2' as i8,
        TlsVersion::Tls13 => b'3' as i8,
    }
}

/// The bit in `failed_expectations`, as the view `webmon.checks` reads it.
pub(super) fn bit(expectation: Expectation) -> i16 {
    match expectation {
        Expectation::Status => 1,
        Expectation::Body => 2,
        Expectation::NotBody => 4,
        Expectation::Header => 8,
        Expectation::MaxTime => 16,
        Expectation::Certificate => 32,
        Expectation::NotHeader => 64,
        Expectation::Json => 128,
        Expectation::Tls => 256,
        Expectation::FinalUrl => 512,
    }
}
