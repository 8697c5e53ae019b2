//! The writer: claims its share of the partitions, fetches outside any transaction, and stores batch after
//! batch. It never waits for a lock it could be holding itself, and any doubt ends in giving its claims up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Client;

use super::StoreError;
use super::batch::{Batch, Mark, Window};
use super::claims::{Claim, Claims, Taken, application_name};
use super::connect::Connector;
use super::error::Remedy;
use super::incidents::set_incident_thresholds;
use super::ingest::{Committed, Counts, Ingest};
use super::migrate::check_schema;
use crate::config::{Postgres, Store};
use crate::kafka::{Consumer, FetchLimits, KafkaError, OffsetRange};
use crate::shutdown::Shutdown;

/// How long a fetch waits at most, so that a stop and the next heartbeat are never far.
const FETCH_WAIT: Duration = Duration::from_millis(200);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Tries of a batch that the server rolls back through no fault of its own, before the connection is doubted.
const MAX_TRIES: u32 = 8;
/// How long apart heartbeats are at most: a partition that was handed over, or whose lease is over, is taken up within this
/// time and that of a batch.
const BEAT: Duration = Duration::from_millis(500);
/// How often new partitions are looked for, in leases, and at least.
const DISCOVERY_LEASES: u32 = 3;
const DISCOVERY: Duration = Duration::from_secs(30);
/// How often the log says what was stored.
const REPORT: Duration = Duration::from_secs(60);
/// Records of an unknown version that must have come before a partition may be paused for them.
const UNKNOWN_MIN: usize = 20;

/// Makes a consumer for each session with the database.
pub type ConsumerFactory = dyn Fn() -> Result<Box<dyn Consumer>, KafkaError> + Send + Sync;

/// What a writer is made of.
pub(super) struct Writer<'a> {
    pub topic: &'a str,
    pub owner: String,
    pub postgres: &'a Postgres,
    pub store: &'a Store,
    pub consumer: &'a ConsumerFactory,
    pub shutdown: &'a Shutdown,
}

impl Writer<'_> {
    /// Stores until a stop is asked for. Connections that fail are made again, without end and ever more slowly.
    pub fn run(&self) -> Result<(), StoreError> {
        let connector = Connector::new(self.postgres, &application_name(&self.owner))?;
        let mut backoff = BACKOFF_MIN;
        while !self.shutdown.is_requested() {
            let begun = Instant::now();
            let Err(error) = self.session(&connector) else { return Ok(()) };
            if matches!(error.remedy(), Remedy::Stop | Remedy::Bisect) {
                return Err(error);
            }
            if begun.elapsed() > BACKOFF_MAX * 4 {
                backoff = BACKOFF_MIN;
            }
            log::warn!(error = error.to_string(), again_in_ms = backoff.as_millis() as u64; "gave every claim up, connecting anew");
            self.shutdown.wait(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        Ok(())
    }

    fn session(&self, connector: &Connector) -> Result<(), StoreError> {
        let mut client = connector.connect()?;
        check_schema(&mut client)?;
        if set_incident_thresholds(&mut client, &self.store.incidents)? {
            log::info!(failures = self.store.incidents.failures, locations = self.store.incidents.locations; "incidents have other thresholds");
        }
        let mut consumer = (self.consumer)()?;
        let cluster = consumer.cluster_id()?;
        let mut session = Session {
            writer: self,
            client,
            consumer,
            cluster,
            claims: Claims::new(self.topic, &self.owner, self.store.lease),
            ingest: Ingest::default(),
            held: BTreeMap::new(),
            reassign: false,
            clock_ahead: jiff::SignedDuration::ZERO,
            partitions: 0,
            discovered_at: None,
            beat_at: None,
            totals: Counts::default(),
            reported_at: Instant::now(),
        };
        while !self.shutdown.is_requested() {
            session.beat()?;
            session.step()?;
        }
        session.hand_over()
    }
}

/// A partition held.
struct Held {
    claim: Claim,
    /// Records lately, and how many of them were of an unknown version.
    recent: (usize, usize),
    /// The record before the next offset, to be fetched once more and compared: is this still the topic that was
    /// stored? None once it was.
    unverified: Option<Mark>,
}

impl Held {
    fn fetch_from(&self) -> Option<i64> {
        Some(self.claim.next_offset? - i64::from(self.unverified.is_some()))
    }
}

/// One connection's life.
struct Session<'a> {
    writer: &'a Writer<'a>,
    client: Client,
    consumer: Box<dyn Consumer>,
    /// The cluster that the consumer fetches from, where it can tell.
    cluster: Option<String>,
    claims: Claims,
    ingest: Ingest,
    held: BTreeMap<i32, Held>,
    /// Whether what is held is no longer what is fetched.
    reassign: bool,
    /// How far the server's clock is ahead of this one's.
    clock_ahead: jiff::SignedDuration,
    partitions: i32,
    discovered_at: Option<Instant>,
    beat_at: Option<Instant>,
    totals: Counts,
    reported_at: Instant,
}

impl Session<'_> {
    /// Three times a lease, at least: shows up, renews, and takes or gives partitions so that all writers have
    /// their share.
    fn beat(&mut self) -> Result<(), StoreError> {
        if !self.until_beat().is_zero() {
            return Ok(());
        }
        self.beat_at = Some(Instant::now());
        let discovery = DISCOVERY.min(self.claims.lease * DISCOVERY_LEASES);
        if self.discovered_at.is_none_or(|at| at.elapsed() >= discovery) {
            self.discovered_at = Some(Instant::now());
            match self.consumer.partitions() {
                Ok(partitions) => {
                    self.partitions = partitions;
                    self.claims.discover(&mut self.client, partitions)?;
                }
                // A broker that is away is waited for, with the claims kept.
                Err(KafkaError::Unreachable { .. }) if self.partitions > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
        let company = self.claims.heartbeat(&mut self.client)?;
        self.clock_ahead = company.server_time.duration_since(Timestamp::now());

        if !self.held.is_empty() {
            let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
            let renewed = self.claims.renew(&mut self.client, &claims)?;
            let lost =
                claims.iter().map(|claim| claim.partition).filter(|partition| !renewed.contains(partition));
            for partition in lost.collect::<Vec<_>>() {
                self.lose(partition);
            }
        }
        let share = company.share(self.partitions.max(0) as usize);
        if self.held.len() > share {
            let surplus: Vec<Claim> = self.held.values().skip(share).map(|held| held.claim).collect();
            self.release(&surplus, None)?;
        } else if self.held.len() < share {
            self.claim(share - self.held.len())?;
        }
        self.report();
        Ok(())
    }

    fn until_beat(&self) -> Duration {
        let apart = BEAT.min(self.claims.lease / 3);
        self.beat_at.map_or(Duration::ZERO, |at| apart.saturating_sub(at.elapsed()))
    }

    fn claim(&mut self, count: usize) -> Result<(), StoreError> {
        let taken = self.claims.claim(&mut self.client, count, self.cluster.as_deref())?;
        if taken.len() < count {
            self.claims.end_frozen(&mut self.client)?;
        }
        taken.into_iter().try_for_each(|taken| self.take_up(taken))
    }

    fn take_up(&mut self, taken: Taken) -> Result<(), StoreError> {
        let mut claim = taken.claim;
        if let (Some(here), Some(before)) = (&self.cluster, &taken.cluster)
            && here != before
        {
            let reason = format!("kafka's cluster is {here:?}, but it was stored from {before:?}");
            return self.pause(claim, &reason);
        }
        let range = self.consumer.offsets(claim.partition)?;
        let mut unverified = taken.last;
        match claim.next_offset {
            // Nothing was ever stored of it: begin with the oldest record there is.
            None => {
                if !self.claims.begin_at(&mut self.client, claim, range.earliest)? {
                    return Ok(());
                }
                claim.next_offset = Some(range.earliest);
            }
            Some(next) if next > range.end => return self.pause(claim, &recreated(next, range)),
            Some(next) if next <= range.earliest => unverified = None,
            Some(_) => {}
        }
        log::info!(partition = claim.partition, epoch = claim.epoch, next_offset = claim.next_offset; "claimed a partition");
        self.held.insert(claim.partition, Held { claim, recent: (0, 0), unverified });
        self.reassign = true;
        Ok(())
    }

    /// Gives `claim` back, for nobody to take before somebody has looked at it.
    fn pause(&mut self, claim: Claim, reason: &str) -> Result<(), StoreError> {
        log::error!(partition = claim.partition; "paused a partition: {reason}");
        self.release(&[claim], Some(reason))
    }

    fn release(&mut self, claims: &[Claim], paused: Option<&str>) -> Result<(), StoreError> {
        for claim in claims {
            log::info!(partition = claim.partition, epoch = claim.epoch, paused; "released a partition");
            self.held.remove(&claim.partition);
            self.reassign = true;
        }
        self.claims.release(&mut self.client, claims, paused)
    }

    fn lose(&mut self, partition: i32) {
        if let Some(held) = self.held.remove(&partition) {
            log::warn!(partition, epoch = held.claim.epoch; "lost a claim to another writer");
            self.reassign = true;
        }
    }

    /// Fetches once and stores what came, a transaction a partition.
    fn step(&mut self) -> Result<(), StoreError> {
        if self.reassign {
            let positions: Vec<(i32, i64)> = self
                .held
                .values()
                .filter_map(|held| Some((held.claim.partition, held.fetch_from()?)))
                .collect();
            self.consumer.assign(&positions)?;
            self.reassign = false;
        }
        if self.held.is_empty() {
            self.writer.shutdown.wait(self.until_beat().min(FETCH_WAIT));
            return Ok(());
        }
        let store = self.writer.store;
        let server_now = Timestamp::now().checked_add(self.clock_ahead).unwrap_or(Timestamp::MAX);
        let window = Window::around(server_now, store.retention.results, store.max_ahead);
        let limits = FetchLimits {
            records: store.batch_records,
            bytes: store.batch_bytes,
            wait: FETCH_WAIT.min(self.until_beat()),
        };
        let mut batches: BTreeMap<i32, Batch> = BTreeMap::new();
        let mut strange: Vec<Claim> = Vec::new();
        let held = &mut self.held;
        let fetched = self.consumer.fetch(limits, &mut |record| {
            let Some(held) = held.get_mut(&record.partition) else { return };
            let Some(from) = held.claim.next_offset else { return };
            if let Some(mark) = held.unverified.take()
                && record.offset < from
                && !mark.fits(Mark::of(&record))
            {
                strange.push(held.claim);
            }
            batches
                .entry(record.partition)
                .or_insert_with(|| Batch::new(record.partition, from))
                .add(record, window);
        });
        match fetched {
            Ok(_) => {}
            Err(KafkaError::OffsetOutOfRange { .. }) => return self.settle_out_of_range(),
            Err(error) => return Err(error.into()),
        }
        for claim in strange {
            let last = claim.next_offset.unwrap_or_default() - 1;
            self.pause(
                claim,
                &format!(
                    "the record at offset {last} is not the one that was stored: the topic was recreated"
                ),
            )?;
        }
        for mut batch in batches.into_values().filter(|batch| batch.records > 0) {
            self.store(&mut batch)?;
        }
        Ok(())
    }

    fn store(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let Some(held) = self.held.get_mut(&batch.partition) else { return Ok(()) };
        let claim = held.claim;
        held.recent.0 += batch.records;
        held.recent.1 += batch.unknown_versions;
        let (records, unknown) = held.recent;
        if unknown >= UNKNOWN_MIN && unknown * 2 > records {
            let error = StoreError::UnknownVersions { partition: batch.partition };
            return self.pause(claim, &error.to_string());
        }
        if records > 10_000 {
            held.recent = (records / 2, unknown / 2);
        }
        match self.try_store(claim, batch)? {
            Committed::ClaimLost => self.lose(batch.partition),
            Committed::Stored(counts) => {
                log::debug!(partition = batch.partition, from = batch.from, to = batch.to, inserted = counts.inserted; "stored a batch");
                if let Some(held) = self.held.get_mut(&batch.partition) {
                    held.claim.next_offset = Some(batch.to);
                }
                self.totals += counts;
            }
        }
        Ok(())
    }

    fn try_store(&mut self, claim: Claim, batch: &mut Batch) -> Result<Committed, StoreError> {
        let mut pause = Duration::from_millis(5);
        let mut tries = 1;
        loop {
            match self.ingest.store(&mut self.client, &self.claims, claim, batch) {
                Err(error) if error.remedy() == Remedy::Retry && tries < MAX_TRIES => {
                    log::debug!(partition = batch.partition, tries, error = error.to_string(); "storing a batch again");
                    self.ingest.forget_days();
                    // Perhaps it waited for the locks of one that is frozen.
                    self.claims.end_frozen(&mut self.client)?;
                    self.writer.shutdown.wait(pause);
                    pause *= 2;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Finds the partitions whose next offset Kafka does not hold: behind what it holds records are lost, and
    /// that is written down; ahead of it the topic is not the one that was stored.
    fn settle_out_of_range(&mut self) -> Result<(), StoreError> {
        self.reassign = true;
        let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
        for claim in claims {
            let Some(next) = claim.next_offset else { continue };
            let range = self.consumer.offsets(claim.partition)?;
            if next < range.earliest {
                log::error!(partition = claim.partition, from = next, to = range.earliest; "kafka no longer holds these offsets: their records are lost");
                match self.claims.skip_lost(&mut self.client, claim, next, range.earliest)? {
                    None => self.lose(claim.partition),
                    Some(epoch) => {
                        let claim = Claim { epoch, next_offset: Some(range.earliest), ..claim };
                        self.held.insert(claim.partition, Held { claim, recent: (0, 0), unverified: None });
                    }
                }
            } else if next > range.end {
                self.pause(claim, &recreated(next, range))?;
            } else if let Some(held) = self.held.get_mut(&claim.partition) {
                // Only the record before it is gone, meanwhile.
                held.unverified = None;
            }
        }
        Ok(())
    }

    fn report(&mut self) {
        if self.reported_at.elapsed() >= REPORT {
            self.reported_at = Instant::now();
            self.log_totals("storing");
        }
    }

    fn log_totals(&self, what: &str) {
        let t = self.totals;
        log::info!(
            partitions = self.held.len(), inserted = t.inserted, superseded = t.superseded, duplicate = t.duplicate,
            gaps = t.gaps, expired = t.expired, dead = t.dead;
            "{what}"
        );
    }

    /// Gives everything back, so that the other writers need not wait for the lease.
    fn hand_over(mut self) -> Result<(), StoreError> {
        let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
        self.log_totals("stopping");
        if !claims.is_empty() {
            self.release(&claims, None)?;
        }
        self.claims.sign_off(&mut self.client)
    }
}

fn recreated(next: i64, range: OffsetRange) -> String {
    format!("the next offset is {next}, but the partition ends at {}: the topic was recreated", range.end)
}
