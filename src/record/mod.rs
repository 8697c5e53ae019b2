//! The record: the result of one check, or of one instant without a check, or a gap. It is the value of a Kafka record
//! (JSON, `"v": 1`) and, field for field, a row of the database.
//!
//! A result's identity is `(site, location, scheduled_at)`. Two results for one identity are ranked `missed < failure <
//! success`. The higher one replaces the lower, so the order of arrival never matters.

mod certificate;
mod error;
mod gap;
mod hop;
mod maintenance;
mod result;
mod tries;
mod validate;
mod value;
mod version;
mod words;

pub use self::certificate::Certificate;
pub use self::error::DecodeError;
pub use self::gap::{Gap, GapRecord};
pub use self::hop::Hop;
pub use self::maintenance::MaintenanceWindow;
pub use self::result::{CheckResult, Sample};
pub use self::tries::Try;
pub use self::value::Record;
pub use self::version::{RecordVersion, VERSION};
pub use self::words::{ErrorType, Expectation, GapReason, HttpVersion, Outcome, TlsVersion};
