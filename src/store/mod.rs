//! The storing side: Kafka to PostgreSQL, every result exactly once.
//!
//! A writer claims topic-partitions with a lease and a fence, fetches outside any transaction, and stores each
//! batch in one transaction that first moves the partition's offset. A writer that lost its claim, for whatever
//! reason and however late it notices, cannot move the offset and so can commit nothing.

mod batch;
mod bisect;
mod claims;
mod connect;
mod crew;
mod dead_letters;
mod dimensions;
mod dirty;
mod error;
mod incidents;
mod ingest;
mod locations;
mod locked;
mod migrate;
mod outage;
mod replay;
mod report;
mod retention;
mod rollup;
mod rows;
mod set_aside;
mod stream;
mod throttle;
mod time;
mod verify;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use self::connect::STEADY_PATIENCE;
pub use self::connect::{Connector, PATIENCE};
pub(crate) use self::crew::Crew;
pub use self::dead_letters::{
    DeadLetter, DeadLetterFilter, Discarded, MAX_REASON, Retried, count_dead_letters, dead_letters,
    discard_dead_letters, export_dead_letters, retry_dead_letters,
};
pub(crate) use self::error::Remedy;
pub use self::error::StoreError;
pub use self::locations::{Location, locations, retire_location, retire_silent};
pub use self::migrate::{check_schema, migrate};
pub(crate) use self::outage::Outage;
pub use self::replay::replay;
pub use self::report::{LatestResult, PartitionStatus, latest_results, partition_status, resume};
pub use self::retention::{
    Retained, RetentionPlan, apply_retention, lower_retention, plan_retention, retain,
};
pub use self::rollup::{RollUpLimits, RolledUp, roll_up};
pub use self::set_aside::{SetAside, set_aside};
pub(crate) use self::stream::Line;
use self::throttle::Throttle;
pub(crate) use self::time::AnyTime;
pub use self::verify::{Link, MAX_NAMED, PartitionLedger, Verification, compact_ledger, verify};
pub use self::writer::ConsumerFactory;
use self::writer::Writer;
use crate::config::Config;
use crate::shutdown::Shutdown;

/// How long writers may take to hand over once a stop was asked for. Then their connections are cut off, and others take
/// their partitions when the leases are over.
pub const GRACE: Duration = Duration::from_secs(10);
/// How many leases a server may be silent while a writer waits for it, and 30 s at least.
const PATIENCE_LEASES: u32 = 3;

/// Stores the records of `config.kafka.topic` until `shutdown` is requested, with `config.store.threads` writers
/// in this process. Returns at once when one of them meets a fault that trying again cannot mend.
///
/// The consumers are made where they are used, one after another on each writer's thread: `consumer` is called
/// again after every lost connection. With the feature `librdkafka`:
///
#[cfg_attr(feature = "librdkafka", doc = "```no_run")]
#[cfg_attr(not(feature = "librdkafka"), doc = "```ignore")]
/// use std::path::Path;
/// use webmon::config::{Config, Role};
/// use webmon::kafka::Consumer;
/// use webmon::kafka::librdkafka::LibrdkafkaConsumer;
/// use webmon::shutdown::Shutdown;
/// use webmon::store;
///
/// let config = Config::load(Path::new("config.toml"), Role::Store)?;
/// store::migrate(&mut store::Connector::new(&config.postgres, "my-program")?.connect()?)?;
/// let kafka = config.kafka.clone();
/// let consumer = move || Ok(Box::new(LibrdkafkaConsumer::new(&kafka)?) as Box<dyn Consumer>);
/// store::run(&config, &consumer, &Shutdown::new())?; // blocks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first such fault: the topic or the schema is missing, rights are missing, a writer panicked, and the like. A
/// database that is away, is read-only or full is none: connections are made again, without end, and the log says so.
pub fn run(config: &Config, consumer: &ConsumerFactory, shutdown: &Shutdown) -> Result<(), StoreError> {
    let patience = STEADY_PATIENCE.max(config.store.lease * PATIENCE_LEASES);
    let connector = Connector::new(&config.postgres, "webmon-store")?.patience(patience);
    let topic_seen = AtomicBool::new(false);
    let process = process_name(&config.check.checker);
    let crew = Crew::new(shutdown);
    std::thread::scope(|scope| {
        for thread in 0..config.store.threads {
            let writer = Writer {
                topic: &config.kafka.topic,
                owner: format!("{process}:{thread}"),
                connector: &connector,
                store: &config.store,
                consumer,
                topic_seen: &topic_seen,
                shutdown,
                throttle: Throttle::new(config.store.batch_records),
            };
            crew.spawn(scope, format!("writer-{thread}"), move || writer.run());
        }
        crew.see_out(&connector, GRACE)
    })
}

/// A name for this process: short enough to stand whole in application_name, by which the connections of a frozen one
/// can be found. It is told apart from an earlier process with the same id, and two runs of one process are.
pub(crate) fn process_name(host: &str) -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let host = crate::result::truncated(host, 24);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let mark = jiff::Timestamp::now().as_millisecond() & 0xff_ffff;
    format!("{host}:{}:{mark:x}.{run:x}", std::process::id())
}
