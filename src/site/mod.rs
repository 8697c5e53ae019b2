//! What to check: a site with all that its `[[site]]` table says, resolved and within its ranges; its maintenance
//! windows; and the location and checker that results name.

mod expect;
mod incident;
mod maintenance;
mod method;
mod origin;
mod redact;
mod sentinel;
#[expect(clippy::module_inception, reason = "a room is named for its noun, and so is the noun's file")]
mod site;

pub use self::expect::{Expect, StatusRange, StatusRangeError};
pub use self::incident::Incident;
pub use self::maintenance::Maintenance;
pub use self::method::Method;
pub use self::origin::Origin;
pub use self::redact::redacted;
pub use self::sentinel::{MAX_SENTINELS, Sentinel, SentinelError};
pub use self::site::Site;
