//! The storing side: Kafka to PostgreSQL, every result exactly once.
//!
//! A writer claims topic-partitions with a lease and a fence. It fetches outside any transaction, and stores each batch
//! in one transaction that first moves the partition's offset. A writer that has lost its claim cannot move the offset
//! and so can commit nothing, whatever the reason and however late it notices.

mod dead_letters;
mod error;
mod history;
mod ingest;
mod replay;
mod report;
mod stored_outcome;
mod verify;

pub use self::dead_letters::{
    DeadLetter, DeadLetterFilter, Discarded, MAX_REASON, Retried, count_dead_letters, dead_letters,
    discard_dead_letters, export_dead_letters, retry_dead_letters,
};
pub use self::error::StoreError;
pub use self::history::{
    Location, Retained, RetentionPlan, RollUpLimits, RolledUp, SetAside, apply_retention, locations,
    lower_retention, plan_retention, retain, retire_location, retire_silent, roll_up, set_aside,
};
pub use self::ingest::{ConsumerFactory, GRACE, Writers};
pub use self::replay::replay;
pub use self::report::{LatestResult, PartitionStatus, latest_results, partition_status, resume};
pub use self::verify::{Link, MAX_NAMED, PartitionLedger, Verification, compact_ledger, verify};
