//! A topic and a database of a test's own, the programs between them, and the proof that each record is stored once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use webmon::config::Config;
use webmon::kafka::{self, Delivery, NewTopic, Outgoing};
use webmon::record::{Outcome, Record};

use super::{
    Database, Program, Signal, config_toml, database, program, result, scale, unique, value, wait_until,
    wait_within,
};

/// What a writer may have resident at most, in kB.
const MAX_MEMORY_KB: u64 = 200_000;

/// A topic of its own and a database of its own, and the configuration that names both.
pub struct Pipeline {
    pub brokers: String,
    pub topic: String,
    pub database: Database,
    pub partitions: i32,
}

/// On the services that all tests share.
pub fn pipeline(partitions: i32) -> Option<Pipeline> {
    Some(Pipeline::new(&super::kafka()?, database()?, partitions))
}

impl Pipeline {
    /// With a copy of each record on every one of `brokers`, which commas separate.
    pub fn new(brokers: &str, database: Database, partitions: i32) -> Pipeline {
        let pipeline =
            Pipeline { brokers: brokers.to_owned(), topic: unique("pipeline"), database, partitions };
        let replication = brokers.split(',').count() as i32;
        let topic = NewTopic { partitions, replication, retention: Duration::from_secs(86_400) };
        kafka::create_topic(&pipeline.config().kafka, &topic).unwrap();
        pipeline
    }

    pub fn toml(&self, more: &str) -> String {
        config_toml(&self.brokers, &self.topic, &self.database.url, more)
    }

    pub fn config(&self) -> Config {
        super::config(&self.brokers, &self.topic, &self.database.url, "")
    }

    /// A writer.
    pub fn store(&self) -> Program {
        program(env!("CARGO_BIN_EXE_webmon-store"), &self.toml(""), &["run"])
    }

    pub fn rows(&self) -> i64 {
        self.database.number("SELECT count(*) FROM webmon.check_results")
    }

    /// Waits until so many more rows are stored.
    pub fn wait_for_rows(&self, more: i64) {
        let rows = self.rows();
        wait_until("rows go on arriving", || self.rows() > rows + more);
    }

    /// How many writers hold a partition by a lease that is not over.
    pub fn holders(&self) -> i64 {
        let sql = "SELECT count(DISTINCT owner) FROM webmon.partition_offsets WHERE lease_until > clock_timestamp()";
        self.database.number(sql)
    }

    pub fn wait_for_holders(&self, writers: i64) {
        wait_until("the partitions are held by as many writers as there are", || self.holders() == writers);
    }

    /// The sum of the partitions' ends in Kafka.
    pub fn log_end(&self) -> i64 {
        let mut consumer = kafka::consumer(&self.config().kafka).unwrap();
        (0..self.partitions).map(|partition| consumer.offsets(partition).unwrap().end).sum()
    }

    pub fn stored_end(&self) -> i64 {
        self.database.number("SELECT coalesce(sum(next_offset), 0)::bigint FROM webmon.partition_offsets")
    }

    /// Waits until everything that is in Kafka by now is stored: how many records these are.
    pub fn wait_for_all(&self) -> i64 {
        let end = self.log_end();
        wait_within(Duration::from_secs(600), "the store has caught up", || self.stored_end() >= end);
        end
    }

    /// Each of `records` distinct results is one row, none came twice, and nothing is dead.
    pub fn assert_exactly_once(&self, records: i64) {
        self.assert_exact(records, 0);
    }

    /// Stored is what Kafka holds, no more and no less: `results` distinct results are a row each, `dead` records a
    /// dead letter each, what came twice was counted as a duplicate, and the ledger tells it all without a hole.
    pub fn assert_exact(&self, results: i64, dead: i64) {
        let end = self.wait_for_all();
        // The ledger's ranges adjoin, from the first offset to the next one to be stored.
        let holes = "
            SELECT count(*) FROM (
                SELECT from_offset, lag(to_offset, 1, 0::bigint) OVER (PARTITION BY partition ORDER BY from_offset) AS before
                FROM webmon.ingest_batches) q
            WHERE from_offset <> before";
        assert_eq!(self.database.number(holes), 0);
        let ledger = self.database.json(
            "SELECT sum(records)::bigint AS records, sum(to_offset - from_offset)::bigint AS offsets, \
             sum(inserted)::bigint AS inserted, sum(duplicate)::bigint AS duplicate, sum(dead)::bigint AS dead \
             FROM webmon.ingest_batches",
        );
        let duplicate = end - results - dead;
        let expected = json!({"records": end, "offsets": end, "inserted": results, "duplicate": duplicate, "dead": dead});
        assert_eq!(ledger, [expected]);
        assert_eq!(self.database.number("SELECT count(*) FROM webmon.dead_letters"), dead);

        // Row by row.
        let (mut sent, mut undecodable) = (BTreeSet::new(), 0);
        let config = self.config();
        super::read_topic(&config.kafka, |record| match record.value.map(Record::decode) {
            Some(Ok(Record::Result(result))) => {
                sent.insert((result.site, result.scheduled_at));
            }
            _ => undecodable += 1,
        });
        assert_eq!(sent.len() as i64, results + dead - undecodable);
        let sql = "SELECT key, scheduled_at FROM webmon.check_results JOIN webmon.sites USING (site_id)";
        let rows = self.database.client().query(sql, &[]).unwrap();
        assert_eq!(rows.len() as i64, results);
        let unknown = rows.iter().find(|row| !sent.contains(&(row.get(0), row.get(1))));
        assert!(unknown.is_none(), "{unknown:?}");

        let mut found = webmon::store::verify(&self.database.connector(), None, &mut |_, _| {}).unwrap();
        found.broken_links.truncate(3);
        assert!(found.proven, "{found:?}");
    }

    /// Has `fault` happen while distinct results of 50 sites keep arriving, and returns how many these were.
    pub fn under_load(&self, fault: impl FnOnce()) -> i64 {
        while_producing(|stop| self.produce_until(stop), fault)
    }

    /// About 1,000 a second, which also a debug build on a busy machine can store, or 5,000 at the whole scale; what Kafka
    /// does not take is sent again.
    fn produce_until(&self, stop: &AtomicBool) -> i64 {
        let mut producer = kafka::producer(&self.config().kafka).unwrap();
        let mut produced = 0;
        while !stop.load(Ordering::Relaxed) {
            // Into the past, of which there is enough at any time of the day.
            let waiting: Vec<Outgoing> = (produced..produced + 100)
                .map(|n| {
                    let site = format!("site-{}", n % 50);
                    Outgoing { key: site.clone(), value: value(result(&site, -(n / 50), Outcome::Success)) }
                })
                .collect();
            send_all(producer.as_mut(), waiting);
            produced += 100;
            pause(Duration::from_millis(scale(95, 15)));
        }
        produced
    }
}

/// Has `fault` happen while `produce` is at work, which ends when it is told to. Returns what it returns.
pub fn while_producing<T: Send>(produce: impl FnOnce(&AtomicBool) -> T + Send, fault: impl FnOnce()) -> T {
    /// Stops the producer also when `fault` panics, or the scope would wait for it for ever.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&stopped));
        let stop = Stop(&stopped);
        fault();
        drop(stop);
        producer.join().unwrap()
    })
}

/// Sends what Kafka does not take again, until it has all of it.
pub fn send_all(producer: &mut dyn kafka::Producer, mut waiting: Vec<Outgoing>) {
    wait_within(Duration::from_secs(300), "kafka takes them", || {
        let mut deliveries = producer.produce(&waiting).into_iter();
        waiting.retain(|_| !matches!(deliveries.next(), Some(Delivery::Delivered)));
        waiting.is_empty()
    });
}

/// The most memory that a writer has had is bounded.
pub fn assert_memory(writer: &Program) {
    let peak = super::peak_memory_kb(writer.child.id());
    assert!(peak < MAX_MEMORY_KB, "{peak} kB");
}

pub fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// A number below `bound`, from a seed that a failure shows.
pub fn random(seed: &mut u64, bound: u64) -> u64 {
    // xorshift64 (Marsaglia, 2003)
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % bound
}

pub fn seed() -> u64 {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {seed}");
    seed
}

/// Stops a program that must still run, within its memory, and end in order.
pub fn end(mut program: Program) {
    let ended = program.child.try_wait().unwrap();
    assert!(ended.is_none(), "it has ended by itself, {ended:?}: {}", program.log());
    assert_memory(&program);
    program.signal(Signal::TERM);
    let (code, _, log) = program.finish();
    assert_eq!(code, Some(0), "{log}");
}
