//! webmon checks websites on cron schedules and knows, for every scheduled instant, what happened.
//!
//! The checking side turns sites into records. [`schedule`] says when to check. `check` makes the requests on a pool of
//! threads. `monitor` puts both together and keeps account of every instant. `outbox` keeps every result until Kafka
//! has acknowledged it.
//!
//! The storing side turns records into rows. `store` reads Kafka and writes PostgreSQL, with the offset in the
//! transaction of the rows, so that each result is stored exactly once. `jobs` is a queue in the same database, for its
//! upkeep and for an embedder's own work. `page` reads what is stored, and shows it on status pages. The two sides share
//! only [`config`], [`site`], [`record`] and [`kafka`].
//!
//! The programs `webmon-check`, `webmon-store` and `webmon-page` are built from this library, and so can other programs be.
//! It writes nothing to stdout or stderr, logs through the `log` crate, and never ends the process.
//!
//! # Features
//! | feature | what it brings | default |
//! |---|---|---|
//! | `schedule` | the scheduler | with `check` |
//! | `check` | the scheduler, the checks and the outbox | yes |
//! | `store` | the storing side and the job queue, over PostgreSQL | yes |
//! | `alerts` | telling people of alerts, and `store`, which notices them | yes |
//! | `page` | the status pages, with `store` | yes |
//! | `librdkafka` | the Kafka client librdkafka | yes |
//! | `kafka-rust` | the Kafka client kafka-rust, for brokers up to 3.9 | yes |
//! | `cli` | what the programs need in addition | yes |
//!
//! A program that only schedules and checks takes `default-features = false, features = ["check"]`.
//! `docs/embedding.md` in the repository shows how, and what it costs.
//!
//! The crates whose types are in the public interface are re-exported: [`jiff`], [`url`], [`regex`], [`ipnet`], and
//! with `store` also `postgres`.

#![warn(missing_docs, unreachable_pub)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "store")]
pub use postgres;
pub use {ipnet, jiff, regex, url};

#[cfg(feature = "store")]
pub mod alerts;
#[cfg(any(feature = "check", feature = "store", feature = "librdkafka"))]
mod backoff;
#[cfg(feature = "check")]
pub mod check;
pub mod config;
#[cfg(feature = "store")]
pub mod database;
#[cfg(any(feature = "alerts", feature = "check"))]
mod denied;
#[cfg(feature = "store")]
pub mod jobs;
pub mod kafka;
pub mod limits;
#[cfg(feature = "check")]
pub mod monitor;
mod mutex;
#[cfg(feature = "check")]
pub mod outbox;
#[cfg(feature = "page")]
pub mod page;
#[cfg(any(feature = "check", feature = "store"))]
pub mod panicked;
pub mod record;
pub mod schedule;
pub mod secret;
pub mod shutdown;
pub mod site;
#[cfg(feature = "store")]
pub mod store;
pub mod text;
#[cfg(feature = "store")]
pub mod upkeep;
#[cfg(feature = "check")]
mod watched;

/// The code of `docs/embedding.md`, compiled and run as a test.
#[cfg(all(doctest, feature = "check", feature = "store"))]
#[doc = include_str!("../docs/embedding.md")]
mod embedding {}
