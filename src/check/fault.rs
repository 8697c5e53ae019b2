//! Why an attempt ended without a whole response. It is classified here, where the error is still typed.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::hop::Phase;
use crate::record::ErrorType;

/// The class, the low-cardinality reason and the message of an attempt that got no whole response.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error_type: ErrorType,
    pub(super) detail: &'static str,
    /// The message for people. It names no URL and quotes nothing that a site sent, so it holds no secret.
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for ureq::Error {
    fn from(fault: Fault) -> ureq::Error {
        ureq::Error::Other(Box::new(fault))
    }
}

impl Fault {
    pub(super) fn new(error_type: ErrorType, detail: &'static str, message: impl Into<String>) -> Fault {
        Fault { error_type, detail, message: message.into() }
    }

    /// The attempt timed out in `phase`.
    pub(super) fn timeout(phase: Phase) -> Fault {
        Fault::new(ErrorType::Timeout, phase.as_str(), format!("timed out {}", phase.doing()))
    }

    /// The response's head is beyond its bounds.
    pub(super) fn head_too_large() -> Fault {
        Fault::new(ErrorType::Protocol, "header_too_large", "the response's head is too large")
    }

    /// The checker could not make the request at all. That is no verdict on the site.
    pub(super) fn invalid_request(message: impl Into<String>) -> Fault {
        Fault::new(ErrorType::Cancelled, "invalid_request", message)
    }

    /// An error of the operating system in `phase`.
    pub(super) fn io(error: &io::Error, phase: Phase) -> Fault {
        let message = format!("{}: {error}", phase.doing());
        if let Some(word) = own_trouble(error) {
            return Fault::new(ErrorType::Saturated, word, message);
        }
        let detail = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return Fault::timeout(phase),
            io::ErrorKind::ConnectionRefused => "refused",
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                "reset"
            }
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => "unreachable",
            io::ErrorKind::UnexpectedEof => "closed_early",
            _ => "io_error",
        };
        Fault::new(class_of(phase), detail, message)
    }

    /// An error of the TLS session. `self_signed` distinguishes a certificate that is its own issuer from one whose
    /// issuer is unknown, because rustls reports both alike.
    pub(super) fn tls(error: &rustls::Error, self_signed: bool) -> Fault {
        let detail = match error {
            rustls::Error::InvalidCertificate(certificate) => certificate_detail(certificate, self_signed),
            rustls::Error::NoCertificatesPresented => "no_certificate",
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => "not_tls",
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => "handshake",
                AlertDescription::ProtocolVersion => "protocol_version",
                AlertDescription::UnrecognisedName => "unrecognized_name",
                AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                    "certificate_required"
                }
                _ => "alert",
            },
            _ => "handshake",
        };
        Fault::new(ErrorType::Tls, detail, error.to_string())
    }

    /// An error of ureq in `phase`; `spoke_http` says whether the response began as HTTP does.
    pub(super) fn from_ureq(error: ureq::Error, phase: Phase, spoke_http: Option<bool>) -> Fault {
        use ureq_proto::Error as Proto;
        let class = class_of(phase);
        match error {
            ureq::Error::Other(other) => match other.downcast::<Fault>() {
                Ok(fault) => *fault,
                Err(other) => Fault::new(class, "other", other.to_string()),
            },
            ureq::Error::Io(error) => match error.downcast::<Fault>() {
                Ok(fault) => fault,
                Err(error) => Fault::io(&error, phase),
            },
            ureq::Error::Timeout(_) => Fault::timeout(phase),
            ureq::Error::LargeResponseHeader(..) | ureq::Error::Protocol(Proto::HttpParseTooManyHeaders) => {
                Fault::head_too_large()
            }
            ureq::Error::Protocol(Proto::HttpParseFail(reason)) => {
                let detail = if spoke_http == Some(true) { "bad_header" } else { "bad_status_line" };
                Fault::new(ErrorType::Protocol, detail, format!("the response's head is malformed: {reason}"))
            }
            ureq::Error::Protocol(Proto::UnsupportedVersion) => Fault::new(
                ErrorType::Protocol,
                "unsupported_version",
                "the response is of a version of HTTP other than 1.0 and 1.1",
            ),
            ureq::Error::Protocol(
                error @ (Proto::ChunkLenNotAscii | Proto::ChunkLenNotANumber | Proto::ChunkExpectedCrLf),
            ) => Fault::new(ErrorType::Body, "bad_chunk", error.to_string()),
            // Before anything was received these errors are about our own request.
            ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::BadUri(_)
                if spoke_http.is_none() =>
            {
                Fault::invalid_request("the request cannot be written")
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                Fault::new(class, "bad_header", "a header of the response is malformed")
            }
            ureq::Error::BodyStalled => {
                Fault::new(ErrorType::Body, "closed_early", "the body ended too early")
            }
            error => Fault::new(class, "other", format!("{}: {}", phase.doing(), kind_of(&error))),
        }
    }
}

/// The failure that an error in `phase` amounts to.
fn class_of(phase: Phase) -> ErrorType {
    match phase {
        Phase::Dns => ErrorType::Dns,
        Phase::Connect | Phase::Proxy => ErrorType::Connect,
        Phase::Tls => ErrorType::Tls,
        Phase::Request | Phase::Response => ErrorType::Protocol,
        Phase::Body => ErrorType::Body,
    }
}

/// Whether the host has no more descriptors or memory. Then other addresses would fail as well.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(own_trouble(error), Some("too_many_open_files" | "no_memory"))
}

/// The word for an error that is the checker's own and says nothing about the site, if it is one.
pub(super) fn own_trouble(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some("too_many_open_files"),
        libc::ENOBUFS | libc::ENOMEM => Some("no_memory"),
        // From connect(2): no free local port, or no local address of the family.
        libc::EADDRNOTAVAIL => Some("no_local_port"),
        // connect(2) fails with these only because of a rule of this host.
        libc::EACCES | libc::EPERM => Some("not_permitted"),
        _ => None,
    }
}

fn certificate_detail(error: &CertificateError, self_signed: bool) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate_not_yet_valid"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "name_mismatch"
        }
        CertificateError::Revoked => "certificate_revoked",
        // A self-signed certificate that calls itself a CA is refused as an `Other` by webpki.
        CertificateError::UnknownIssuer | CertificateError::Other(_) if self_signed => "self_signed",
        CertificateError::UnknownIssuer => "unknown_issuer",
        _ => "invalid_certificate",
    }
}

/// The name of a variant of ureq's error, without its contents, which may quote the URL.
fn kind_of(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::ConnectionFailed => "connection failed",
        ureq::Error::HostNotFound => "host not found",
        ureq::Error::BadUri(_) => "bad URL",
        ureq::Error::TlsRequired => "TLS required",
        _ => "unexpected error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_of_the_checkers_own_is_never_a_failure_of_the_site() {
        for (errno, word) in [
            (libc::EMFILE, "too_many_open_files"),
            (libc::ENFILE, "too_many_open_files"),
            (libc::ENOBUFS, "no_memory"),
            (libc::ENOMEM, "no_memory"),
            (libc::EADDRNOTAVAIL, "no_local_port"),
            (libc::EPERM, "not_permitted"),
        ] {
            let fault = Fault::io(&io::Error::from_raw_os_error(errno), Phase::Connect);
            assert_eq!((fault.error_type, fault.detail), (ErrorType::Saturated, word));
        }
    }

    #[test]
    fn an_error_belongs_to_the_phase_it_happened_in() {
        for (phase, error_type) in [
            (Phase::Connect, ErrorType::Connect),
            (Phase::Tls, ErrorType::Tls),
            (Phase::Response, ErrorType::Protocol),
            (Phase::Body, ErrorType::Body),
        ] {
            let fault = Fault::io(&io::ErrorKind::ConnectionReset.into(), phase);
            assert_eq!((fault.error_type, fault.detail), (error_type, "reset"));
            let fault = Fault::io(&io::ErrorKind::TimedOut.into(), phase);
            assert_eq!((fault.error_type, fault.detail), (ErrorType::Timeout, phase.as_str()));
        }
    }
}
