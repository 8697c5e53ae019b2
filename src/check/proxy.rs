//! What goes wrong with a proxy. It says nothing about the site, so the instant is missed.

use super::fault::Fault;
use crate::record::{ErrorType, Outcome};

/// `fault` as one on the way to the proxy, or of the proxy itself.
pub(super) fn of_proxy(fault: Fault) -> Fault {
    if fault.error_type.outcome() == Outcome::Missed {
        return fault;
    }
    Fault::new(ErrorType::NetworkDown, "proxy", format!("the proxy: {}", fault.message))
}

/// The proxy wants credentials, or other ones.
pub(super) fn proxy_authentication() -> Fault {
    let message = "the proxy asks for credentials, or refuses those that it was given";
    Fault::new(ErrorType::NetworkDown, "proxy_authentication", message)
}

/// `fault` of a request over plain HTTP that a proxy reads; `spoke_http` says whether the response began as HTTP does.
/// A proxy whose connection to the site fails says so in HTTP, so without a response the proxy itself has failed.
pub(super) fn of_forwarder(fault: Fault, spoke_http: Option<bool>) -> Fault {
    if fault.error_type == ErrorType::Protocol && spoke_http != Some(true) { of_proxy(fault) } else { fault }
}
