//! The writers of one process.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::session::Session;
use super::throttle::Throttle;
use super::writer::{ConsumerFactory, Writer};
use crate::config::{Postgres, Store};
use crate::database::{Connector, Crew, End, Outage, Remedy, STEADY_PATIENCE, process_name};
use crate::shutdown::Shutdown;
use crate::store::error::StoreError;

/// How long writers may take to hand over after a stop was requested. Then their connections are cut off, and others
/// take their partitions when the leases are over.
pub const GRACE: Duration = Duration::from_secs(10);
/// How many leases a writer waits for a silent server, but at least 30 s.
const PATIENCE_LEASES: u32 = 3;

/// The writers of one process, which store the records of one topic.
///
/// Each writer makes its consumers on its own thread: it calls the factory again after every lost connection. With the
/// feature `librdkafka`:
///
#[cfg_attr(feature = "librdkafka", doc = "```no_run")]
#[cfg_attr(not(feature = "librdkafka"), doc = "```ignore")]
/// use webmon::config::{Kafka, Postgres, Store};
/// use webmon::database::{self, Connector};
/// use webmon::kafka::Consumer;
/// use webmon::kafka::librdkafka::LibrdkafkaConsumer;
/// use webmon::shutdown::Shutdown;
/// use webmon::store::Writers;
///
/// let postgres = Postgres::new("postgres://webmon@127.0.0.1:5432/webmon");
/// let kafka = Kafka::new(vec!["127.0.0.1:9092".to_owned()]);
/// database::migrate(&mut Connector::new(&postgres, "my-program")?.connect()?)?;
/// let writers = Writers::new(&postgres, &kafka.topic, Store::default())?;
/// let consumer = move || Ok(Box::new(LibrdkafkaConsumer::new(&kafka)?) as Box<dyn Consumer>);
/// writers.run(&consumer, &Shutdown::new())?; // blocks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writers {
    connector: Connector,
    topic: String,
    host: String,
    options: Store,
}

impl Writers {
    /// Prepares `options.threads` writers for `topic`. They do nothing before [`run`](Writers::run).
    ///
    /// # Errors
    /// [`StoreError::Database`] if `postgres` cannot be used.
    pub fn new(postgres: &Postgres, topic: &str, options: Store) -> Result<Writers, StoreError> {
        let patience = STEADY_PATIENCE.max(options.lease * PATIENCE_LEASES);
        let connector = Connector::new(postgres, "webmon-store")?.patience(patience);
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Ok(Writers { connector, topic: topic.to_owned(), host, options })
    }

    /// Sets the machine's name, with which the writers' names begin. By default it is the host's name.
    pub fn host(mut self, host: &str) -> Writers {
        host.clone_into(&mut self.host);
        self
    }

    /// Stores until `shutdown` is requested. Returns at once if one of the writers meets a fault that trying again
    /// cannot mend.
    ///
    /// # Errors
    /// The first such fault: the topic or the schema is missing, rights are missing, a writer panicked, and the like. A
    /// database that is down, read-only or full is not such a fault: the writers connect again without end, and the log
    /// says so.
    pub fn run(&self, consumer: &ConsumerFactory, shutdown: &Shutdown) -> Result<(), StoreError> {
        // Only the connections of this run are cut off.
        let connector = self.connector.apart();
        let topic_seen = AtomicBool::new(false);
        let process = process_name(&self.host);
        let crew = Crew::new(shutdown);
        std::thread::scope(|scope| {
            for thread in 0..self.options.threads {
                let writer = Writer {
                    topic: &self.topic,
                    owner: format!("{process}:{thread}"),
                    connector: &connector,
                    store: &self.options,
                    consumer,
                    topic_seen: &topic_seen,
                    shutdown,
                    throttle: Throttle::new(self.options.batch_records),
                };
                crew.spawn(scope, format!("writer-{thread}"), move || work(&writer));
            }
            crew.see_out(&connector, GRACE)
        })
    }
}

/// Stores until a stop is requested. After a connection fails it connects again, without end and ever more slowly.
fn work(writer: &Writer<'_>) -> Result<(), StoreError> {
    let mut outage = Outage::default();
    let mut owner = writer.owner.clone();
    let mut silences = 0;
    while !writer.shutdown.is_requested() {
        let begun = Instant::now();
        let line = writer.connector.line();
        let Err(error) = Session::open(writer, &line, &owner).and_then(Session::run) else { return Ok(()) };
        if error.remedy() == Remedy::Stop {
            return Err(error);
        }
        if writer.shutdown.is_requested() {
            log::warn!(error = error.to_string(); "stopped without handing over: others take the partitions when their leases are over");
            return Ok(());
        }
        if let Some(End::Silence(_)) = line.end() {
            // The server may still be working on that batch, and hold rows locked under this name.
            writer.throttle.halve();
            silences += 1;
            owner = format!("{}.{silences}", writer.owner);
        }
        let doing = "gave up every claim, connecting again";
        writer.shutdown.wait(outage.note(begun, &error, line.end(), doing));
    }
    Ok(())
}
