//! A topic in memory, for tests of the storing side that need to say exactly what arrives when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use webmon::config::Config;
use webmon::kafka::{Consumer, FetchLimits, Fetched, KafkaError, OffsetRange};
use webmon::shutdown::Shutdown;
use webmon::store::{StoreError, Writers};

/// Called with the number of the fetch (from 1), before the records it found are handed over.
type Hook = Box<dyn Fn(usize) + Send + Sync>;

#[derive(Clone, Default)]
pub struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    partitions: Mutex<Vec<Partition>>,
    before_fetch: Mutex<Option<Hook>>,
    before_delivery: Mutex<Option<Hook>>,
    fetches: Mutex<usize>,
    cluster: Mutex<Option<String>>,
}

#[derive(Clone, Default)]
struct Partition {
    earliest: i64,
    records: Vec<Option<Vec<u8>>>,
    /// When the records at these offsets were sent. Others are a second apart, from 1970 on.
    sent: BTreeMap<i64, Timestamp>,
}

impl Log {
    pub fn new(partitions: usize) -> Log {
        let log = Log::default();
        *log.0.partitions.lock().unwrap() = vec![Partition::default(); partitions];
        log
    }

    pub fn grow(&self, partitions: usize) {
        self.0.partitions.lock().unwrap().resize(partitions, Partition::default());
    }

    pub fn append(&self, partition: usize, value: impl Into<Option<Vec<u8>>>) {
        self.0.partitions.lock().unwrap()[partition].records.push(value.into());
    }

    /// As [`Log::append`], with the time at which it was sent.
    #[allow(dead_code, reason = "only some test files use it")]
    pub fn append_at(&self, partition: usize, value: impl Into<Option<Vec<u8>>>, sent: Timestamp) {
        let partition = &mut self.0.partitions.lock().unwrap()[partition];
        partition.sent.insert(partition.records.len() as i64, sent);
        partition.records.push(value.into());
    }

    /// What retention does: forgets the records before `earliest`.
    pub fn forget(&self, partition: usize, earliest: i64) {
        self.0.partitions.lock().unwrap()[partition].earliest = earliest;
    }

    /// The cluster it says to be on; none at first.
    pub fn move_to(&self, cluster: &str) {
        *self.0.cluster.lock().unwrap() = Some(cluster.to_owned());
    }

    pub fn clear(&self, partition: usize) {
        self.0.partitions.lock().unwrap()[partition] = Partition::default();
    }

    /// Called with the number of the fetch (from 1), before it looks for records.
    #[allow(dead_code, reason = "only some test files use it")]
    pub fn before_fetch(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        *self.0.before_fetch.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn before_delivery(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        *self.0.before_delivery.lock().unwrap() = Some(Box::new(hook));
    }

    /// Stores with one writer until it has fetched all that it may claim.
    pub fn store(&self, config: &Config) -> Result<(), StoreError> {
        let shutdown = Shutdown::new();
        self.store_until(config, &shutdown, true)
    }

    pub fn store_until(
        &self,
        config: &Config,
        shutdown: &Shutdown,
        until_drained: bool,
    ) -> Result<(), StoreError> {
        let (log, stop) = (self.clone(), until_drained.then(|| shutdown.clone()));
        let consumer = move || {
            let consumer = LogConsumer {
                log: log.clone(),
                positions: BTreeMap::new(),
                drained: 0,
                fetches: 0,
                idle: false,
                stop: stop.clone(),
            };
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        };
        Writers::new(&config.postgres, &config.kafka.topic, config.store.clone())?
            .host(&config.check.checker)
            .run(&consumer, shutdown)
    }
}

struct LogConsumer {
    log: Log,
    positions: BTreeMap<i32, i64>,
    drained: usize,
    fetches: usize,
    /// Whether it is assigned nothing any more.
    idle: bool,
    stop: Option<Shutdown>,
}

impl Consumer for LogConsumer {
    fn partitions(&mut self) -> Result<i32, KafkaError> {
        // What was claimed has been looked at by the time it asks again.
        if let Some(stop) = self.stop.as_ref().filter(|_| self.idle) {
            stop.request();
        }
        Ok(self.log.0.partitions.lock().unwrap().len() as i32)
    }

    fn offsets(&mut self, partition: i32) -> Result<OffsetRange, KafkaError> {
        let partition = &self.log.0.partitions.lock().unwrap()[partition as usize];
        Ok(OffsetRange { earliest: partition.earliest, end: partition.records.len() as i64 })
    }

    /// Its records are a second apart, from 1970 on.
    fn offset_at(&mut self, partition: i32, at: Timestamp) -> Result<i64, KafkaError> {
        let range = self.offsets(partition)?;
        Ok(at.as_second().clamp(range.earliest, range.end))
    }

    fn cluster_id(&mut self) -> Result<Option<String>, KafkaError> {
        Ok(self.log.0.cluster.lock().unwrap().clone())
    }

    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        self.positions = positions.iter().copied().collect();
        self.idle = positions.is_empty();
        Ok(())
    }

    fn fetch(&mut self, limits: FetchLimits, each: &mut dyn FnMut(Fetched<'_>)) -> Result<usize, KafkaError> {
        self.fetches += 1;
        if let Some(hook) = &*self.log.0.before_fetch.lock().unwrap() {
            hook(self.fetches);
        }
        let partitions = self.log.0.partitions.lock().unwrap().clone();
        let mut found: Vec<(i32, i64, Option<Vec<u8>>)> = Vec::new();
        let mut out_of_range = false;
        for (number, position) in &mut self.positions {
            let Some(partition) = partitions.get(*number as usize) else {
                out_of_range = true;
                continue;
            };
            if *position < partition.earliest || *position > partition.records.len() as i64 {
                out_of_range = true;
                continue;
            }
            for record in partition.records.iter().skip(*position as usize).take(limits.records - found.len())
            {
                found.push((*number, *position, record.clone()));
                *position += 1;
            }
        }
        if found.is_empty() && !out_of_range {
            self.drained += 1;
            match &self.stop {
                Some(stop) => stop.request(),
                None => std::thread::park_timeout(limits.wait),
            }
            return Ok(0);
        }
        let fetch = {
            let mut fetches = self.log.0.fetches.lock().unwrap();
            *fetches += 1;
            *fetches
        };
        if let Some(hook) = &*self.log.0.before_delivery.lock().unwrap() {
            hook(fetch);
        }
        for (partition, offset, value) in &found {
            let value = value.as_deref();
            let sent = partitions[*partition as usize].sent.get(offset);
            each(Fetched {
                partition: *partition,
                offset: *offset,
                timestamp_ms: Some(sent.map_or(offset * 1_000, |sent| sent.as_millisecond())),
                key: Some(b"key"),
                value,
            });
        }
        // As with a real client, what it has of the others comes before.
        if out_of_range {
            return Err(KafkaError::OffsetOutOfRange { topic: "log".to_owned() });
        }
        Ok(found.len())
    }
}
