//! The configuration: one TOML file for both programs with the files that it names, then the environment (`WEBMON_KAFKA__BROKERS` sets
//! `kafka.brokers`). Values as written are resolved once, here, and every resolved value is within its range. All
//! faults are reported at once.

mod alert_kind;
mod auth;
mod built_tls;
mod check;
#[expect(clippy::module_inception, reason = "a room is named for its noun, and so is the noun's file")]
mod config;
mod context;
mod credentials;
mod discover;
mod entry;
mod env;
mod error;
mod expect;
mod fault;
mod files;
mod glob;
mod header_name;
mod incident;
mod include;
mod interpolate;
mod jobs;
mod kafka;
mod key;
mod lines;
mod maintenance;
mod network;
mod pattern;
mod postgres;
mod request;
mod role;
mod site_defaults;
mod site_list;
mod site_tls;
mod sites;
mod source;
mod store;
mod table;
mod template;
mod units;
mod watch;

pub use self::alert_kind::{AlertKind, Severity};
pub use self::check::{Check, SpoolSettings};
pub use self::config::Config;
pub use self::error::ConfigError;
pub use self::fault::Fault;
pub use self::files::MAX_FILE;
pub use self::jobs::Jobs;
pub use self::kafka::{Kafka, KafkaClient, KafkaTls, Sasl};
pub use self::postgres::Postgres;
pub use self::role::Role;
pub use self::site_defaults::SiteDefaults;
pub use self::sites::MAX_SITES;
pub use self::store::{Retention, Store};
pub use self::watch::Watch;
pub use crate::secret::Secret;
