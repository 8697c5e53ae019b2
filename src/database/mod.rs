//! Connections to PostgreSQL on which every wait has a limit, the errors and what to do about them, the schema, and the
//! threads that work with it. Nothing here knows what is stored.

mod connect;
mod crew;
mod error;
mod lasting;
mod migrate;
mod outage;
mod owner;
mod stream;
mod time;
mod transaction;

pub(crate) use self::connect::STEADY_PATIENCE;
pub use self::connect::{Connector, PATIENCE};
pub(crate) use self::crew::Crew;
pub use self::error::DatabaseError;
pub(crate) use self::error::Remedy;
pub(crate) use self::lasting::keep_connected;
pub use self::migrate::{check_schema, migrate};
pub(crate) use self::outage::Outage;
pub(crate) use self::owner::process_name;
pub(crate) use self::stream::{End, Line};
pub(crate) use self::time::AnyTime;
pub(crate) use self::transaction::in_transaction;
