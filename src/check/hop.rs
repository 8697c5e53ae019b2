//! The state of the current hop of a check. Resolver, connector and transport fill it in while ureq drives them; the
//! checker reads it afterwards.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Uri};

use super::certificate::Seen;
use super::way::Way;
use crate::mutex::lock;
use crate::record::TlsVersion;

/// The part of a hop that takes the time: the `error_detail` of a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Dns,
    Connect,
    Proxy,
    Tls,
    /// Sending the request.
    Request,
    Response,
    Body,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Proxy => "proxy",
            Phase::Tls => "tls",
            Phase::Request => "request",
            Phase::Response => "response",
            Phase::Body => "body",
        }
    }

    /// What is being done, for a message.
    pub(super) fn doing(self) -> &'static str {
        match self {
            Phase::Dns => "resolving the name",
            Phase::Connect => "connecting",
            Phase::Proxy => "connecting through the proxy",
            Phase::Tls => "in the TLS handshake",
            Phase::Request => "sending the request",
            Phase::Response => "waiting for the response",
            Phase::Body => "reading the body",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One request of a check, and the connection made for it.
#[derive(Debug)]
pub(super) struct Hop {
    /// When the time of the attempt that the hop belongs to is over.
    pub(super) deadline: Instant,
    /// The longest line of the request's head, in bytes. The output buffer must hold it.
    pub(super) longest_line: usize,
    pub(super) way: Way,
    pub(super) phase: Phase,
    pub(super) dns: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) tls: Option<Duration>,
    /// The address connected to, or tried last.
    pub(super) remote_ip: Option<IpAddr>,
    pub(super) tls_version: Option<TlsVersion>,
    pub(super) certificate: Option<Arc<Seen>>,
    /// When the last byte of the request had been handed to the kernel.
    pub(super) sent_at: Option<Instant>,
    /// Whether the response began with `HTTP/`; `None` before its first bytes.
    pub(super) spoke_http: Option<bool>,
    /// The headers of the response. ureq is shown only some of them.
    pub(super) headers: Option<HeaderMap>,
}

impl Hop {
    pub(super) fn new(deadline: Instant, longest_line: usize, way: Way) -> Hop {
        Hop {
            deadline,
            longest_line,
            way,
            phase: Phase::Dns,
            dns: None,
            connect: None,
            tls: None,
            remote_ip: None,
            tls_version: None,
            certificate: None,
            sent_at: None,
            spoke_http: None,
            headers: None,
        }
    }

    /// The time left of the attempt, or `None` if it is over.
    pub(super) fn remaining(&self) -> Option<Duration> {
        remaining(self.deadline)
    }

    /// Whether the server's certificate names itself as its issuer.
    pub(super) fn is_self_signed(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.self_signed)
    }
}

/// The time left until `deadline`, or `None` if there is none.
pub(super) fn remaining(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

/// The host of `uri`, an IPv6 address without its brackets.
pub(super) fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A handle to a thread's hop. The lock is there because ureq's traits demand it; only one thread ever takes it.
#[derive(Clone, Debug)]
pub(super) struct SharedHop(Arc<Mutex<Hop>>);

impl SharedHop {
    pub(super) fn new() -> SharedHop {
        SharedHop(Arc::new(Mutex::new(Hop::new(Instant::now(), 0, Way::default()))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hop> {
        lock(&self.0)
    }
}
