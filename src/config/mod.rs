//! The configuration: one TOML file for both programs, then the environment (`WEBMON_KAFKA__BROKERS` sets
//! `kafka.brokers`). Values as written are resolved once, here, and every resolved value is within its range. All
//! faults are reported at once.

mod check;
#[expect(clippy::module_inception, reason = "a room is named for its noun, and so is the noun's file")]
mod config;
mod context;
mod credentials;
mod entry;
mod env;
mod error;
mod jobs;
mod kafka;
mod key;
mod maintenance;
mod postgres;
mod role;
mod secret;
mod sites;
mod store;
mod table;
mod units;
mod watch;

pub use self::check::{Check, SpoolSettings};
pub use self::config::{Config, MAX_FILE};
pub use self::context::Fault;
pub use self::error::ConfigError;
pub use self::jobs::Jobs;
pub use self::kafka::{Kafka, KafkaClient, KafkaTls, Sasl};
pub use self::postgres::Postgres;
pub use self::role::Role;
pub use self::secret::Secret;
pub use self::sites::MAX_SITES;
pub use self::store::{Retention, Store};
pub use self::watch::Watch;
