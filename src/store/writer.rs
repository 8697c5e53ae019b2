//! The writer: claims its share of the partitions, fetches outside any transaction, and stores batch after
//! batch. It never waits for a lock it could be holding itself, and any doubt ends in giving its claims up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Client;

use super::StoreError;
use super::batch::{Batch, Clocks, Mark, Window};
use super::claims::{Claim, Claims, Release, Taken, application_name, newest_stored};
use super::connect::Connector;
use super::error::Remedy;
use super::ingest::{Committed, Counts, Ingest};
use super::migrate::check_schema;
use super::outage::Outage;
use super::stream::{End, Line};
use super::throttle::Throttle;
use crate::config::Store;
use crate::kafka::{Consumer, FetchLimits, KafkaError, OffsetRange};
use crate::shutdown::Shutdown;

/// How long a fetch waits at most, so that a stop and the next heartbeat are never far.
const FETCH_WAIT: Duration = Duration::from_millis(200);
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
/// How long trouble with Kafka is waited out with the claims kept, before a partition is given back, or all of them: in
/// leases.
const PATIENCE_LEASES: u32 = 6;
/// How long apart Kafka is asked again meanwhile.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// How long there must be no more of it before it counts as over.
const QUIET: Duration = Duration::from_secs(5);
/// How long a partition that was given back is left to others, the first time and at most.
const BARRED_MIN: Duration = Duration::from_secs(5);
const BARRED_MAX: Duration = Duration::from_secs(300);
/// How long a partition may end before the next offset, as it does for a moment after an election of its leader, before the
/// topic counts as recreated; a lease, if that is shorter.
const RECREATED: Duration = Duration::from_secs(10);
/// How long one request to Kafka may take, and the least of it: a third of a lease, within these.
const REQUEST_MAX: Duration = Duration::from_secs(5);
const REQUEST_MIN: Duration = Duration::from_millis(100);
/// How often offsets are committed to the consumer group.
const COMMIT: Duration = Duration::from_secs(5);
/// How often the newest instant stored is read.
const NEWEST: Duration = Duration::from_secs(60);
/// Records of an unknown version that must have come before a partition may be paused for them.
const UNKNOWN_MIN: usize = 20;

/// Makes a consumer for each session with the database.
pub type ConsumerFactory = dyn Fn() -> Result<Box<dyn Consumer>, KafkaError> + Send + Sync;

/// What a writer is made of.
pub(super) struct Writer<'a> {
    pub topic: &'a str,
    pub owner: String,
    pub connector: &'a Connector,
    pub store: &'a Store,
    pub consumer: &'a ConsumerFactory,
    /// Whether this process has seen the topic: from then on a topic that is missing is waited for.
    pub topic_seen: &'a AtomicBool,
    pub shutdown: &'a Shutdown,
    pub throttle: Throttle,
}

impl Writer<'_> {
    /// Stores until a stop is asked for. Connections that fail are made again, without end and ever more slowly.
    pub fn run(&self) -> Result<(), StoreError> {
        let mut outage = Outage::default();
        let mut owner = self.owner.clone();
        let mut silences = 0;
        while !self.shutdown.is_requested() {
            let begun = Instant::now();
            let line = self.connector.line();
            let Err(error) = self.session(&line, &owner) else { return Ok(()) };
            if error.remedy() == Remedy::Stop {
                return Err(error);
            }
            if self.shutdown.is_requested() {
                log::warn!(error = error.to_string(); "stopped without handing over: others take the partitions when their leases are over");
                return Ok(());
            }
            if let Some(End::Silence(_)) = line.end() {
                // The server may be at that batch still, and hold rows locked that have this name.
                self.throttle.halve();
                silences += 1;
                owner = format!("{}.{silences}", self.owner);
            }
            let doing = "gave every claim up, connecting anew";
            self.shutdown.wait(outage.note(begun, &error, line.end(), doing));
        }
        Ok(())
    }

    fn session(&self, line: &Line, owner: &str) -> Result<(), StoreError> {
        let mut client = self.connector.named(&application_name(owner)).connect_on(line)?;
        check_schema(&mut client)?;
        let mut consumer = (self.consumer)()?;
        consumer.set_request_timeout((self.store.lease / 3).clamp(REQUEST_MIN, REQUEST_MAX));
        let mut session = Session {
            writer: self,
            client,
            consumer,
            cluster: None,
            claims: Claims::new(self.topic, owner, self.store.lease),
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
            committed_at: Instant::now(),
            commits: true,
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

/// Trouble with Kafka that is being waited out.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    last_at: Instant,
    /// When to ask again.
    again_at: Instant,
    pause: Duration,
    /// When the log told of it last.
    told_at: Instant,
}

impl Trouble {
    fn new() -> Trouble {
        let now = Instant::now();
        Trouble { since: now, last_at: now, again_at: now, pause: AGAIN_MIN, told_at: now }
    }

    /// It was there once more: asks again a little later than the time before.
    fn again(&mut self) {
        self.last_at = Instant::now();
        self.again_at = self.last_at + self.pause;
        self.pause = (self.pause * 2).min(AGAIN_MAX);
    }

    fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    fn wait(&self) -> Duration {
        self.again_at.saturating_duration_since(Instant::now())
    }
}

/// A partition that was given back and is left to others for a while.
struct Barred {
    until: Instant,
    pause: Duration,
}

/// A partition held.
struct Held {
    claim: Claim,
    /// Records lately, and how many of them were of an unknown version.
    recent: (usize, usize),
    /// The record before the next offset, to be fetched once more and compared: is this still the topic that was
    /// stored? None once it was.
    unverified: Option<Mark>,
    /// Whether Kafka is still to be asked what it holds of it; it is not fetched before.
    unchecked: bool,
    trouble: Option<Trouble>,
    /// The offset committed to the consumer group.
    committed: Option<i64>,
}

impl Held {
    fn new(claim: Claim, unverified: Option<Mark>) -> Held {
        Held { claim, recent: (0, 0), unverified, unchecked: true, trouble: None, committed: None }
    }

    fn fetch_from(&self) -> Option<i64> {
        Some(self.claim.next_offset? - i64::from(self.unverified.is_some())).filter(|_| !self.unchecked)
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
    /// Trouble that is not a single partition's.
    trouble: Option<Trouble>,
    /// The partitions that had no leader when Kafka was asked last.
    leaderless: Vec<i32>,
    barred: BTreeMap<i32, Barred>,
    /// How far the server's clock is ahead of this one's.
    clock_ahead: jiff::SignedDuration,
    /// About the newest instant stored, and when that was read.
    newest_stored: Option<Timestamp>,
    newest_read_at: Option<Instant>,
    partitions: i32,
    discovered_at: Option<Instant>,
    beat_at: Option<Instant>,
    committed_at: Instant,
    /// Whether the last commit to the consumer group was taken.
    commits: bool,
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
        self.discover()?;
        if self.partitions == 0
            || self.trouble.as_ref().is_some_and(|trouble| trouble.lasts() > self.patience())
        {
            // Who cannot reach Kafka leaves the partitions to those who can, and has no share.
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

    fn until_beat(&self) -> Duration {
        let apart = BEAT.min(self.claims.lease / 3);
        self.beat_at.map_or(Duration::ZERO, |at| apart.saturating_sub(at.elapsed()))
    }

    /// How long trouble with Kafka is waited out.
    fn patience(&self) -> Duration {
        self.claims.lease * PATIENCE_LEASES
    }

    /// Looks for the topic's partitions, now and then, and in trouble as often as that is asked about.
    fn discover(&mut self) -> Result<(), StoreError> {
        let discovery = DISCOVERY.min(self.claims.lease * DISCOVERY_LEASES);
        let due = match &self.trouble {
            Some(trouble) => trouble.wait().is_zero(),
            None => {
                let apart = if self.leaderless.is_empty() { discovery } else { discovery.min(AGAIN_MAX) };
                self.discovered_at.is_none_or(|at| at.elapsed() >= apart)
            }
        };
        if !due {
            return Ok(());
        }
        self.discovered_at = Some(Instant::now());
        let partitions = match self.consumer.partitions() {
            Ok(partitions) => partitions,
            Err(error @ KafkaError::UnknownTopic { .. })
                if !self.writer.topic_seen.load(Ordering::Relaxed) =>
            {
                return Err(error.into());
            }
            Err(error) => return self.wait_out(error),
        };
        self.writer.topic_seen.store(true, Ordering::Relaxed);
        if let Some(trouble) = self.trouble.take_if(|trouble| trouble.last_at.elapsed() >= QUIET) {
            log::info!(after_s = trouble.lasts().as_secs(); "kafka answers again");
        }
        if self.cluster.is_none() {
            self.cluster = self.consumer.cluster_id().unwrap_or_default();
        }
        if partitions != self.partitions {
            self.partitions = partitions;
            let gone: Vec<Claim> = self.held.range(partitions..).map(|(_, held)| held.claim).collect();
            let why = format!("the topic has {partitions} partitions now: it was recreated with fewer");
            self.release(&gone, Release::Failed(&why))?;
        }
        self.claims.discover(&mut self.client, partitions)?;
        self.leaderless = self.consumer.leaderless();
        for partition in &self.leaderless {
            if let Some(held) = self.held.get_mut(partition)
                && !held.unchecked
            {
                held.unchecked = true;
                self.reassign = true;
            }
        }
        Ok(())
    }

    /// Trouble that is not a single partition's: it is waited out, without end, but for what no waiting can mend.
    fn wait_out(&mut self, error: KafkaError) -> Result<(), StoreError> {
        if !error.is_passing() {
            return Err(error.into());
        }
        let tell = |what: &str| log::warn!(error = error.to_string(); "{what}");
        if self.trouble.is_none() {
            tell("waiting for kafka");
        }
        let trouble = self.trouble.get_or_insert_with(Trouble::new);
        if trouble.told_at.elapsed() >= REPORT {
            trouble.told_at = Instant::now();
            tell("still waiting for kafka");
        }
        trouble.again();
        Ok(())
    }

    fn claim(&mut self, count: usize) -> Result<(), StoreError> {
        let barred: Vec<i32> = self
            .barred
            .iter()
            .filter(|(_, barred)| barred.until > Instant::now())
            .map(|(partition, _)| *partition)
            .collect();
        let cluster = self.cluster.as_deref();
        let taken = self.claims.claim(&mut self.client, count, self.partitions, &barred, cluster)?;
        if taken.len() < count {
            self.claims.end_frozen(&mut self.client)?;
            self.claims.tell_locked(&mut self.client, self.partitions, &barred)?;
        }
        taken.into_iter().try_for_each(|taken| self.take_up(taken))
    }

    fn take_up(&mut self, taken: Taken) -> Result<(), StoreError> {
        let claim = taken.claim;
        if let (Some(here), Some(before)) = (&self.cluster, &taken.cluster)
            && here != before
        {
            let reason = format!("kafka's cluster is {here:?}, but it was stored from {before:?}");
            return self.pause(claim, &reason);
        }
        log::info!(partition = claim.partition, epoch = claim.epoch, next_offset = claim.next_offset; "claimed a partition");
        self.held.insert(claim.partition, Held::new(claim, taken.last));
        Ok(())
    }

    /// Asks Kafka about the partitions that it is still to be asked about, as long as no heartbeat is due.
    fn check_due(&mut self) -> Result<(), StoreError> {
        let due = |held: &Held| {
            held.unchecked && held.trouble.as_ref().is_none_or(|trouble| trouble.wait().is_zero())
        };
        let due: Vec<i32> = self.held.iter().filter(|(_, held)| due(held)).map(|(p, _)| *p).collect();
        for (n, partition) in due.into_iter().enumerate() {
            if n > 0 && self.until_beat().is_zero() {
                break;
            }
            self.check(partition)?;
        }
        Ok(())
    }

    /// Compares the next offset of a partition with those that Kafka holds: before them, records are lost, and that is
    /// written down; behind them, the topic is not the one that was stored. Then it may be fetched.
    fn check(&mut self, partition: i32) -> Result<(), StoreError> {
        let Some(Held { claim, .. }) = self.held.get(&partition) else { return Ok(()) };
        let mut claim = *claim;
        let range = if self.leaderless.contains(&partition) {
            Err("the partition has no leader".to_owned())
        } else {
            match self.consumer.offsets(partition) {
                Err(error) if !error.is_passing() => return Err(error.into()),
                outcome => outcome.map_err(|error| error.to_string()),
            }
        };
        let mut lost = false;
        match (range, claim.next_offset) {
            (Err(reason), _) => {
                if self.in_trouble(partition, &reason, self.patience()) {
                    self.give_back(claim, &reason)?;
                }
                return Ok(());
            }
            // Nothing was ever stored of it: begin with the oldest record there is.
            (Ok(range), None) => {
                if !self.claims.begin_at(&mut self.client, claim, range.earliest)? {
                    self.lose(partition);
                    return Ok(());
                }
                claim.next_offset = Some(range.earliest);
            }
            (Ok(range), Some(next)) if next > range.end => {
                let reason = recreated(next, range);
                if self.in_trouble(partition, &reason, RECREATED.min(self.claims.lease)) {
                    self.pause(claim, &reason)?;
                }
                return Ok(());
            }
            (Ok(range), Some(next)) if next < range.earliest => {
                log::error!(partition, from = next, to = range.earliest; "kafka no longer holds these offsets: their records are lost");
                let Some(epoch) = self.claims.skip_lost(&mut self.client, claim, next, range.earliest)?
                else {
                    self.lose(partition);
                    return Ok(());
                };
                claim = Claim { epoch, next_offset: Some(range.earliest), ..claim };
                lost = true;
            }
            // The record before it is gone.
            (Ok(range), Some(next)) => lost = next == range.earliest,
        }
        let Some(held) = self.held.get_mut(&partition) else { return Ok(()) };
        held.claim = claim;
        held.unchecked = false;
        if lost {
            held.unverified = None;
        }
        if let Some(trouble) = held.trouble.take() {
            log::info!(partition, after_s = trouble.lasts().as_secs(); "the partition is there again");
        }
        self.barred.remove(&partition);
        self.reassign = true;
        Ok(())
    }

    /// Notes that a partition is not to be had now, and when to ask again. Whether that has lasted for `patience`.
    fn in_trouble(&mut self, partition: i32, reason: &str, patience: Duration) -> bool {
        let Some(held) = self.held.get_mut(&partition) else { return false };
        let trouble = held.trouble.get_or_insert_with(|| {
            log::warn!(partition, error = reason; "waiting for a partition");
            Trouble::new()
        });
        trouble.again();
        trouble.lasts() >= patience
    }

    /// Gives `claim` back with what is wrong, and leaves it to others for a while: each time for longer.
    fn give_back(&mut self, claim: Claim, reason: &str) -> Result<(), StoreError> {
        let barred = self.barred.entry(claim.partition);
        let barred = barred.or_insert(Barred { until: Instant::now(), pause: BARRED_MIN });
        barred.until = Instant::now() + barred.pause;
        log::error!(partition = claim.partition, again_in_s = barred.pause.as_secs(); "gave a partition back: {reason}");
        barred.pause = (barred.pause * 2).min(BARRED_MAX);
        self.release(&[claim], Release::Failed(reason))
    }

    /// Gives `claim` back, for nobody to take before somebody has looked at it.
    fn pause(&mut self, claim: Claim, reason: &str) -> Result<(), StoreError> {
        log::error!(partition = claim.partition; "paused a partition: {reason}");
        self.release(&[claim], Release::Paused(reason))
    }

    fn release(&mut self, claims: &[Claim], release: Release<'_>) -> Result<(), StoreError> {
        if claims.is_empty() {
            return Ok(());
        }
        for claim in claims {
            log::info!(partition = claim.partition, epoch = claim.epoch; "released a partition");
            self.held.remove(&claim.partition);
            self.reassign = true;
        }
        self.claims.release(&mut self.client, claims, release)
    }

    fn release_all(&mut self, release: Release<'_>) -> Result<(), StoreError> {
        let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
        self.release(&claims, release)
    }

    fn lose(&mut self, partition: i32) {
        if let Some(held) = self.held.remove(&partition) {
            log::warn!(partition, epoch = held.claim.epoch; "lost a claim to another writer");
            self.reassign = true;
        }
    }

    /// Fetches once and stores what came, a transaction a partition.
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
        let window = Window::around(clocks, store.retention.results, store.max_ahead);
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
                && !mark.fits(Mark::of(&record))
            {
                strange.push(held.claim);
            }
            batches
                .entry(record.partition)
                .or_insert_with(|| Batch::new(record.partition, from))
                .add(record, window);
        });
        // Also when the fetch failed in the end: what was strange is not fetched and compared again.
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
            // The error does not say which partition it is about: each is looked at before it is fetched again.
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
                // What was fetched behind its beginning is fetched again.
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
            // Not even a dead letter can be made of what is in it.
            Err(error) if error.remedy() == Remedy::Bisect => self.give_back(claim, &error.to_string())?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Pauses a partition that has more dead letters than are kept: a stream of nothing else must not fill the disk.
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

    /// Commits to the consumer group how far the partitions are stored. Nothing depends on it.
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
        self.log_totals("stopping");
        if self.commits {
            self.commit();
        }
        self.release_all(Release::Free)?;
        self.claims.sign_off(&mut self.client)
    }
}

fn recreated(next: i64, range: OffsetRange) -> String {
    format!("the next offset is {next}, but the partition ends at {}: the topic was recreated", range.end)
}
