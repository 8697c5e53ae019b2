//! What to check: a site with all that its `[[site]]` table says, resolved and within its ranges; its maintenance
//! windows; and the location and checker that results name.

mod auth;
mod body;
mod expect;
mod hidden;
mod incident;
mod json_expectation;
mod json_path;
mod maintenance;
mod method;
mod network;
mod origin;
mod redact;
mod sentinel;
#[expect(clippy::module_inception, reason = "a room is named for its noun, and so is the noun's file")]
mod site;
mod slo;
#[cfg(feature = "check")]
mod tls;

pub use self::auth::{Auth, ClientCredentials};
pub use self::body::RequestBody;
pub use self::expect::{Expect, StatusRange, StatusRangeError};
pub use self::hidden::Hidden;
pub use self::incident::{Incident, Locations};
pub use self::json_expectation::JsonExpectation;
pub use self::json_path::{JsonPath, JsonPathError, MAX_JSON_PATH};
pub use self::maintenance::Maintenance;
pub use self::method::{Method, MethodError};
pub use self::network::{IpChoice, IpVersion, Network, Proxy, ProxyError};
pub use self::origin::Origin;
pub use self::redact::redacted;
pub use self::sentinel::{MAX_SENTINELS, Sentinel, SentinelError};
pub use self::site::Site;
pub use self::slo::Slo;
#[cfg(feature = "check")]
pub(crate) use self::tls::Trust;
#[cfg(feature = "check")]
pub use self::tls::{Tls, TlsError, TlsOptions};
