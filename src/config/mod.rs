//! The configuration: one TOML file for all programs with the files that it names, then the environment
//! (`WEBMON_KAFKA__BROKERS` sets `kafka.brokers`). Values as written are resolved once, here, and every resolved value is
//! within its range. All faults are reported at once.

mod alert_kind;
#[cfg(feature = "alerts")]
mod alertmanager;
#[cfg(feature = "store")]
mod alerts;
mod auth;
#[cfg(feature = "alerts")]
mod authorities;
mod built_tls;
mod check;
#[expect(clippy::module_inception, reason = "a room is named for its noun, and so is the noun's file")]
mod config;
mod context;
mod credentials;
mod discover;
#[cfg(feature = "alerts")]
mod email;
#[cfg(feature = "alerts")]
mod endpoint;
mod entry;
mod env;
mod error;
mod expect;
mod fault;
mod files;
mod glob;
mod header_name;
#[cfg(feature = "alerts")]
mod heartbeat;
mod incident;
mod include;
mod interpolate;
mod jobs;
mod kafka;
mod key;
mod lines;
mod maintenance;
#[cfg(feature = "alerts")]
mod message_template;
mod network;
#[cfg(feature = "page")]
mod page;
#[cfg(feature = "alerts")]
mod pagerduty;
mod pattern;
mod postgres;
#[cfg(feature = "alerts")]
mod receiver;
mod request;
mod role;
#[cfg(feature = "store")]
mod route;
#[cfg(feature = "alerts")]
mod signing_key;
mod site_defaults;
mod site_list;
mod site_tls;
mod sites;
#[cfg(feature = "alerts")]
mod slack;
mod slo;
mod source;
mod store;
mod table;
mod template;
mod units;
mod watch;
#[cfg(feature = "page")]
mod web;
#[cfg(feature = "alerts")]
mod webhook;

pub use self::alert_kind::{AlertKind, Severity};
#[cfg(feature = "alerts")]
pub use self::alertmanager::Alertmanager;
#[cfg(feature = "store")]
pub use self::alerts::Alerts;
#[cfg(feature = "alerts")]
pub use self::authorities::Authorities;
pub use self::check::{Check, SpoolSettings};
pub use self::config::Config;
#[cfg(feature = "alerts")]
pub use self::email::{Email, SmtpSecurity};
#[cfg(feature = "alerts")]
pub use self::endpoint::Endpoint;
pub use self::error::ConfigError;
pub use self::fault::Fault;
pub use self::files::MAX_FILE;
#[cfg(feature = "alerts")]
pub use self::heartbeat::Heartbeat;
pub use self::jobs::Jobs;
pub use self::kafka::{Kafka, KafkaClient, KafkaTls, Sasl};
#[cfg(feature = "alerts")]
pub use self::message_template::MessageTemplate;
#[cfg(feature = "page")]
pub use self::page::{Logo, Page, PageAuth, Show};
#[cfg(feature = "alerts")]
pub use self::pagerduty::PagerDuty;
pub use self::postgres::Postgres;
#[cfg(feature = "alerts")]
pub use self::receiver::{Channel, MAX_RECEIVERS, Receiver};
pub use self::role::Role;
#[cfg(feature = "store")]
pub use self::route::{Route, Selection};
#[cfg(feature = "alerts")]
pub use self::signing_key::SigningKey;
pub use self::site_defaults::SiteDefaults;
pub use self::sites::MAX_SITES;
#[cfg(feature = "alerts")]
pub use self::slack::Slack;
pub use self::store::{Retention, Store};
pub use self::watch::Watch;
#[cfg(feature = "page")]
pub use self::web::Web;
#[cfg(feature = "alerts")]
pub use self::webhook::Webhook;
pub use crate::secret::Secret;
