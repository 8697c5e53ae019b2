//! The words of a record: closed sets, in which each value has one name in records, tables and logs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a scheduled instant ended. The order is the rank: `Missed < Failure < Success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No verdict: the check did not run, or not to its end. Never counted against the site.
    Missed,
    /// The site did not answer as expected.
    Failure,
    /// The site answered as expected.
    Success,
}

impl Outcome {
    /// The word used in records, tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Missed => "missed",
            Outcome::Failure => "failure",
            Outcome::Success => "success",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word used in records, tables and logs.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
    };
}

words! {
    /// The low-cardinality class of what went wrong (OpenTelemetry's `error.type`). The first nine belong to
    /// a failure, the others to a missed instant: see [`ErrorType::outcome`].
    ErrorType {
        /// The name did not resolve.
        Dns = "dns_error",
        /// No TCP connection: refused, unreachable, reset while connecting.
        Connect = "connect_error",
        /// The TLS handshake failed, or the certificate was not trusted.
        Tls = "tls_error",
        /// The check's time was over; `error_detail` names the phase.
        Timeout = "timeout",
        /// The peer did not speak HTTP, or cut the connection off within the response's head.
        Protocol = "protocol_error",
        /// Too many redirects, or one that cannot be followed.
        Redirect = "redirect_error",
        /// The body broke off, could not be decoded, or was not as long as announced.
        Body = "body_error",
        /// An address that the configuration forbids.
        BlockedAddress = "blocked_address",
        /// The response came, and was not what was expected: see `failed_expectations`.
        ExpectationFailed = "expectation_failed",
        /// The instant had passed by more than the allowed lateness before a check could start, or the checker stood
        /// still during the check (`suspended`).
        Late = "late",
        /// The site's previous check was still running.
        Overlap = "overlap",
        /// The checker lacked a thread, a file descriptor, memory or a port.
        Saturated = "saturated",
        /// The checker was stopped before the check ended.
        Cancelled = "cancelled",
        /// The checker's own network was down: the sentinels failed too, or this host has no route to the site.
        NetworkDown = "network_down",
        /// The checker did not run; recorded after its restart.
        CheckerDown = "checker_down",
        /// A planned maintenance window.
        Maintenance = "maintenance",
    }
}

impl ErrorType {
    /// The outcome that this class belongs to: [`Outcome::Failure`] or [`Outcome::Missed`].
    pub fn outcome(self) -> Outcome {
        if self < ErrorType::Late { Outcome::Failure } else { Outcome::Missed }
    }
}

words! {
    /// An expectation of a site's `expect` table.
    Expectation {
        /// The status code.
        Status = "status",
        /// A pattern that the body must contain.
        Body = "body",
        /// A pattern that the body must not contain.
        NotBody = "not_body",
        /// A response header.
        Header = "header",
        /// The longest total time.
        MaxTime = "max_time",
        /// How long the certificate must still be valid.
        Certificate = "certificate",
        /// A pattern that a response header must not match.
        NotHeader = "not_header",
        /// A value in a JSON body.
        Json = "json",
        /// Whether the last hop is encrypted.
        Tls = "tls",
        /// The URL requested last.
        FinalUrl = "final_url",
    }
}

words! {
    /// Why instants lie in a gap and not in rows.
    GapReason {
        /// The checker was down for longer than it backfills.
        CheckerDown = "checker_down",
        /// The outbox was full: the oldest results were dropped.
        OutboxFull = "outbox_full",
        /// The broker refused the results for good.
        Refused = "refused",
        /// The site's schedule was changed.
        Rescheduled = "rescheduled",
    }
}

words! {
    /// The version of HTTP spoken.
    HttpVersion {
        /// HTTP/1.0
        Http10 = "HTTP/1.0",
        /// HTTP/1.1
        Http11 = "HTTP/1.1",
        /// HTTP/2
        Http2 = "HTTP/2",
        /// HTTP/3
        Http3 = "HTTP/3",
    }
}

words! {
    /// The version of TLS negotiated.
    TlsVersion {
        /// TLS 1.2
        Tls12 = "TLSv1.2",
        /// TLS 1.3
        Tls13 = "TLSv1.3",
    }
}
