//! A writer's session on one connection: it claims its share of the partitions, fetches outside any transaction, and
//! stores batch after batch. It never waits for a lock that it could be holding itself. In any doubt it gives its
//! claims up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Client;

use super::batch::{Admissible, Batch, Clocks, Fingerprint};
use super::caught_up::CaughtUp;
use super::claims::{Claim, Claims, Release, application_name, newest_stored};
use super::counts::Counts;
use super::held::Held;
use super::transaction::{Committed, Ingest};
use super::trouble::{AGAIN_MIN, Barred, Trouble};
use super::writer::Writer;
use crate::database::{Line, Remedy, check_schema};
use crate::kafka::{Consumer, FetchLimits};
use crate::store::error::StoreError;

/// How long a fetch waits at most, so that a stop and the next heartbeat are never far.
const FETCH_WAIT: Duration = Duration::from_millis(200);
/// Tries of a batch that the server rolls back through no fault of the batch, before the session is given up.
const MAX_TRIES: u32 = 8;
/// The longest time between heartbeats. A partition that was handed over, or whose lease is over, is taken up within
/// this time and that of a batch.
const BEAT: Duration = Duration::from_millis(500);
/// How often the log says what was stored.
const REPORT: Duration = Duration::from_secs(60);
/// How many leases trouble with Kafka is waited out while the claims are kept. Then the partition is given back, or all
/// of them.
const PATIENCE_LEASES: u32 = 6;
/// How often offsets are committed to the consumer group.
const COMMIT: Duration = Duration::from_secs(5);
/// How often the newest instant stored is read.
const NEWEST: Duration = Duration::from_secs(60);
/// Records of an unknown version that it takes before a partition is paused for them.
const UNKNOWN_MIN: usize = 20;
/// How long one request to Kafka may take: a third of a lease, but at most and at least this.
const REQUEST_MAX: Duration = Duration::from_secs(5);
const REQUEST_MIN: Duration = Duration::from_millis(100);

/// One connection's life.
pub(super) struct Session<'a> {
    pub(super) writer: &'a Writer<'a>,
    pub(super) client: Client,
    pub(super) consumer: Box<dyn Consumer>,
    /// The cluster that the consumer fetches from, if it can tell.
    pub(super) cluster: Option<String>,
    pub(super) claims: Claims,
    pub(super) ingest: Ingest,
    pub(super) held: BTreeMap<i32, Held>,
    /// Whether the partitions or offsets to fetch have changed.
    pub(super) reassign: bool,
    /// Trouble with Kafka that is not about a single partition.
    pub(super) trouble: Option<Trouble>,
    /// The partitions that had no leader when Kafka was asked last.
    pub(super) leaderless: Vec<i32>,
    pub(super) barred: BTreeMap<i32, Barred>,
    /// How far the server's clock is ahead of this one's.
    pub(super) clock_ahead: jiff::SignedDuration,
    /// The newest instant stored, to the hour, and when that was read.
    pub(super) newest_stored: Option<Timestamp>,
    pub(super) newest_read_at: Option<Instant>,
    pub(super) partitions: i32,
    pub(super) discovered_at: Option<Instant>,
    pub(super) beat_at: Option<Instant>,
    pub(super) caught_up: CaughtUp,
    pub(super) committed_at: Instant,
    /// Whether the last commit to the consumer group succeeded.
    pub(super) commits: bool,
    pub(super) totals: Counts,
    pub(super) reported_at: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn open(writer: &'a Writer<'a>, line: &Line, owner: &str) -> Result<Session<'a>, StoreError> {
        let mut client = writer.connector.named(&application_name(owner)).connect_on(line)?;
        check_schema(&mut client)?;
        let mut consumer = (writer.consumer)()?;
        consumer.set_request_timeout((writer.store.lease / 3).clamp(REQUEST_MIN, REQUEST_MAX));
        Ok(Session {
            writer,
            client,
            consumer,
            cluster: None,
            claims: Claims::new(writer.topic, owner, writer.store.lease),
            ingest: Ingest::default(),
            held: BTreeMap::new(),
            reassign: false,
            trouble: None,
            leaderless: Vec::new(),
            barred: BTreeMap::new(),
            clock_ahead: jiff::SignedDuration::ZERO,
            newest_stored: None,
            newest_read_at: None,
            partitions: 0,
            discovered_at: None,
            beat_at: None,
            caught_up: CaughtUp::default(),
            committed_at: Instant::now(),
            commits: true,
            totals: Counts::default(),
            reported_at: Instant::now(),
        })
    }

    /// Stores until a stop is asked for.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        while !self.writer.shutdown.is_requested() {
            self.beat()?;
            self.step()?;
        }
        self.hand_over()
    }

    /// Runs at least three times a lease: sends a heartbeat, renews the claims, and takes or gives back partitions so
    /// that all writers have their share.
    fn beat(&mut self) -> Result<(), StoreError> {
        if !self.until_beat().is_zero() {
            return Ok(());
        }
        self.beat_at = Some(Instant::now());
        self.discover()?;
        if self.partitions == 0
            || self.trouble.as_ref().is_some_and(|trouble| trouble.lasts() > self.patience())
        {
            // A writer that cannot reach Kafka leaves the partitions to those that can, and has no share.
            return self.release_all(Release::Failed("kafka cannot be reached, or the topic is missing"));
        }
        let company = self.claims.heartbeat(&mut self.client)?;
        self.clock_ahead = company.server_time.duration_since(Timestamp::now());
        if self.newest_read_at.is_none_or(|at| at.elapsed() >= NEWEST) {
            self.newest_read_at = Some(Instant::now());
            self.newest_stored = newest_stored(&mut self.client)?;
        }

        if !self.held.is_empty() {
            let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
            let at_end = match self.trouble {
                None => self.caught_up.look(&mut *self.consumer, &self.held),
                Some(_) => Vec::new(),
            };
            let renewed = self.claims.renew(&mut self.client, &claims, &at_end)?;
            let lost =
                claims.iter().map(|claim| claim.partition).filter(|partition| !renewed.contains(partition));
            for partition in lost.collect::<Vec<_>>() {
                self.lose(partition);
            }
        }
        let share = company.share(self.partitions.max(0) as usize);
        if self.held.len() > share {
            let surplus: Vec<Claim> = self.held.values().skip(share).map(|held| held.claim).collect();
            self.release(&surplus, Release::Free)?;
        } else if self.held.len() < share {
            self.claim(share - self.held.len())?;
        }
        if self.committed_at.elapsed() >= COMMIT {
            self.commit();
        }
        self.report();
        Ok(())
    }

    pub(super) fn until_beat(&self) -> Duration {
        let apart = BEAT.min(self.claims.lease / 3);
        self.beat_at.map_or(Duration::ZERO, |at| apart.saturating_sub(at.elapsed()))
    }

    /// How long trouble with Kafka is waited out.
    pub(super) fn patience(&self) -> Duration {
        self.claims.lease * PATIENCE_LEASES
    }

    /// Fetches once and stores what came, in one transaction for each partition.
    fn step(&mut self) -> Result<(), StoreError> {
        self.check_due()?;
        let positions: Vec<(i32, i64)> =
            self.held.values().filter_map(|held| Some((held.claim.partition, held.fetch_from()?))).collect();
        let idle = self.until_beat().min(FETCH_WAIT);
        let wait = self.trouble.as_ref().map_or(Duration::ZERO, Trouble::wait);
        if !wait.is_zero() {
            self.writer.shutdown.wait(wait.min(idle));
            return Ok(());
        }
        if self.reassign {
            self.consumer.assign(&positions)?;
            self.reassign = false;
        }
        if positions.is_empty() {
            self.writer.shutdown.wait(idle.min(AGAIN_MIN));
            return Ok(());
        }
        let store = self.writer.store;
        let own = Timestamp::now();
        let clocks = Clocks {
            server: own.checked_add(self.clock_ahead).unwrap_or(Timestamp::MAX),
            own,
            newest_stored: self.newest_stored,
        };
        let window = Admissible::around(clocks, store.retention.results, store.max_ahead);
        let limits = FetchLimits {
            records: self.writer.throttle.records(),
            bytes: store.batch_bytes,
            wait: idle,
            linger: store.linger.min(self.claims.lease / 3),
        };
        let mut batches: BTreeMap<i32, Batch> = BTreeMap::new();
        let mut strange: Vec<Claim> = Vec::new();
        let held = &mut self.held;
        let fetched = self.consumer.fetch(limits, &mut |record| {
            let Some(held) = held.get_mut(&record.partition) else { return };
            let Some(from) = held.claim.next_offset else { return };
            if let Some(mark) = held.unverified.take()
                && record.offset < from
                && !mark.fits(Fingerprint::of(&record))
            {
                strange.push(held.claim);
            }
            batches
                .entry(record.partition)
                .or_insert_with(|| Batch::new(record.partition, from))
                .add(record, window);
        });
        // Also if the fetch failed in the end, because a strange record is not fetched and compared again.
        for claim in strange {
            let last = claim.next_offset.unwrap_or_default() - 1;
            self.pause(
                claim,
                &format!(
                    "the record at offset {last} is not the one that was stored: the topic was recreated"
                ),
            )?;
        }
        if let Err(error) = fetched {
            // The error does not say which partition it is about, so each is checked before it is fetched again.
            self.held.values_mut().for_each(|held| held.unchecked = true);
            self.reassign = true;
            return self.wait_out(error);
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
        let outcome = match self.try_store(claim, batch) {
            Err(error) if error.is_cancelled() && self.writer.throttle.halve() => {
                let records = self.writer.throttle.records();
                log::warn!(partition = batch.partition, records, error = error.to_string(); "a batch took too long: trying smaller ones");
                // The batch is fetched again from its beginning.
                self.reassign = true;
                return Ok(());
            }
            outcome => outcome,
        };
        match outcome {
            Ok(Committed::ClaimLost) => self.lose(batch.partition),
            Ok(Committed::Stored(counts)) => {
                self.writer.throttle.note_in_time();
                log::debug!(partition = batch.partition, from = batch.from, to = batch.to, inserted = counts.inserted; "stored a batch");
                if let Some(held) = self.held.get_mut(&batch.partition) {
                    held.claim.next_offset = Some(batch.to);
                }
                self.totals += counts;
                if counts.dead > 0 {
                    self.bound_dead_letters(claim)?;
                }
            }
            // Not even a dead letter can be made of the data.
            Err(error) if error.remedy() == Remedy::Bisect => self.give_back(claim, &error.to_string())?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Pauses a partition that has as many dead letters as it may: a stream of nothing else must not fill the disk.
    fn bound_dead_letters(&mut self, claim: Claim) -> Result<(), StoreError> {
        let dead = self.claims.dead_letters(&mut self.client, claim.partition)?;
        let most = self.writer.store.max_dead_letters;
        if dead < most {
            return Ok(());
        }
        let reason = format!(
            "it has {dead} dead letters, and store.max_dead_letters is {most}: retry or discard them, then resume"
        );
        self.pause(claim, &reason)
    }

    /// Commits the stored offsets to the consumer group. Nothing depends on it.
    fn commit(&mut self) {
        self.committed_at = Instant::now();
        let stored = |held: &Held| held.claim.next_offset.filter(|next| held.committed != Some(*next));
        let offsets: Vec<(i32, i64)> =
            self.held.iter().filter_map(|(partition, held)| Some((*partition, stored(held)?))).collect();
        if offsets.is_empty() && self.commits {
            return;
        }
        let outcome = self.consumer.commit(&offsets);
        match &outcome {
            Ok(()) if !self.commits => log::info!("offsets are committed to the consumer group again"),
            Err(error) if self.commits => {
                log::warn!(error = error.to_string(); "the consumer group is behind: nothing else depends on it");
            }
            _ => {}
        }
        self.commits = outcome.is_ok();
        for (partition, offset) in offsets {
            if let Some(held) = self.held.get_mut(&partition) {
                held.committed = Some(offset).filter(|_| self.commits);
            }
        }
    }

    fn try_store(&mut self, claim: Claim, batch: &mut Batch) -> Result<Committed, StoreError> {
        let mut pause = Duration::from_millis(5);
        let mut tries = 1;
        loop {
            match self.ingest.store(&mut self.client, &self.claims, claim, batch) {
                Err(error) if error.remedy() == Remedy::Retry && tries < MAX_TRIES => {
                    log::debug!(partition = batch.partition, tries, error = error.to_string(); "storing a batch again");
                    self.ingest.forget_days();
                    // Perhaps it waited for the locks of a writer that is frozen.
                    self.claims.end_frozen(&mut self.client)?;
                    self.writer.shutdown.wait(pause);
                    pause *= 2;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
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

    /// Gives all partitions back, so that the other writers need not wait for the lease.
    fn hand_over(mut self) -> Result<(), StoreError> {
        self.log_totals("stopping");
        if self.commits {
            self.commit();
        }
        self.release_all(Release::Free)?;
        self.claims.sign_off(&mut self.client)
    }
}
