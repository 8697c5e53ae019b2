//! From Kafka to rows: a writer claims topic-partitions with a lease and a fence. It fetches outside any transaction,
//! and stores each batch in one transaction that first moves the partition's offset.

pub(super) mod batch;
mod bisect;
mod caught_up;
pub(super) mod claims;
mod codes;
mod columns;
pub(super) mod counts;
mod days;
mod dimensions;
mod gaps;
mod held;
mod ids;
mod late;
mod letters;
mod locked;
mod notes;
mod partitions;
mod per_site;
mod session;
mod site_certificate;
mod site_version;
mod throttle;
pub(super) mod transaction;
mod trouble;
mod writer;
mod writers;

pub use self::writer::ConsumerFactory;
pub use self::writers::{GRACE, Writers};
