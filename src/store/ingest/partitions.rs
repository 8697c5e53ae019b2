//! The partitions of a session: it finds them, claims them, compares them with what was stored, waits for them and
//! gives them back.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::claims::{Claim, Release, Taken};
use super::held::Held;
use super::session::Session;
use super::trouble::{AGAIN_MAX, Barred, Trouble};
use crate::kafka::{KafkaError, OffsetRange};
use crate::store::error::StoreError;

/// How often to look for new partitions: once in so many leases, but at least this often.
const DISCOVERY_LEASES: u32 = 3;
const DISCOVERY: Duration = Duration::from_secs(30);
/// How often the log says what was stored.
const REPORT: Duration = Duration::from_secs(60);
/// How long Kafka must have been without trouble before the trouble counts as over.
const QUIET: Duration = Duration::from_secs(5);
/// How long a partition may end before the next offset until the topic counts as recreated; a lease, if that is
/// shorter. It does so for a moment after an election of its leader.
const RECREATED: Duration = Duration::from_secs(10);

impl Session<'_> {
    /// Looks for the topic's partitions from time to time. During trouble it looks whenever Kafka is to be asked again.
    pub(super) fn discover(&mut self) -> Result<(), StoreError> {
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

    /// Notes trouble that is not about a single partition. Such trouble is waited out without end, unless waiting
    /// cannot mend it: then the error is returned.
    pub(super) fn wait_out(&mut self, error: KafkaError) -> Result<(), StoreError> {
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

    pub(super) fn claim(&mut self, count: usize) -> Result<(), StoreError> {
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

    pub(super) fn take_up(&mut self, taken: Taken) -> Result<(), StoreError> {
        let claim = taken.claim;
        if let (Some(here), Some(before)) = (&self.cluster, &taken.cluster)
            && here != before
        {
            let reason =
                format!("the kafka cluster is {here:?}, but the partition was stored from {before:?}");
            return self.pause(claim, &reason);
        }
        log::info!(partition = claim.partition, epoch = claim.epoch, next_offset = claim.next_offset; "claimed a partition");
        self.held.insert(claim.partition, Held::new(claim, taken.last));
        Ok(())
    }

    /// Asks Kafka about the partitions that are unchecked, as long as no heartbeat is due.
    pub(super) fn check_due(&mut self) -> Result<(), StoreError> {
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

    /// Compares the next offset of a partition with the offsets that Kafka holds, and lets the partition be fetched. If
    /// the next offset is before them, the records in between are lost, and that is recorded. If it is behind them, the
    /// topic is not the one that was stored: the partition is paused if that lasts.
    pub(super) fn check(&mut self, partition: i32) -> Result<(), StoreError> {
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
            // Nothing of it was ever stored: begin with the oldest record.
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
            log::info!(partition, after_s = trouble.lasts().as_secs(); "the partition is available again");
        }
        self.barred.remove(&partition);
        self.reassign = true;
        Ok(())
    }

    /// Notes that a partition is not available now, and when to ask again. Returns whether that has lasted for
    /// `patience`.
    pub(super) fn in_trouble(&mut self, partition: i32, reason: &str, patience: Duration) -> bool {
        let Some(held) = self.held.get_mut(&partition) else { return false };
        let trouble = held.trouble.get_or_insert_with(|| {
            log::warn!(partition, error = reason; "waiting for a partition");
            Trouble::new()
        });
        trouble.again();
        trouble.lasts() >= patience
    }

    /// Gives `claim` back with the reason, and leaves it to others for a while, each time for longer.
    pub(super) fn give_back(&mut self, claim: Claim, reason: &str) -> Result<(), StoreError> {
        let barred = self.barred.entry(claim.partition);
        let pause = barred.or_insert_with(Barred::new).again();
        log::error!(partition = claim.partition, again_in_s = pause.as_secs(); "gave a partition back: {reason}");
        self.release(&[claim], Release::Failed(reason))
    }

    /// Gives `claim` back, paused: nobody may take it before an operator has looked at it.
    pub(super) fn pause(&mut self, claim: Claim, reason: &str) -> Result<(), StoreError> {
        log::error!(partition = claim.partition; "paused a partition: {reason}");
        self.release(&[claim], Release::Paused(reason))
    }

    pub(super) fn release(&mut self, claims: &[Claim], release: Release<'_>) -> Result<(), StoreError> {
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

    pub(super) fn release_all(&mut self, release: Release<'_>) -> Result<(), StoreError> {
        let claims: Vec<Claim> = self.held.values().map(|held| held.claim).collect();
        self.release(&claims, release)
    }

    pub(super) fn lose(&mut self, partition: i32) {
        if let Some(held) = self.held.remove(&partition) {
            log::warn!(partition, epoch = held.claim.epoch; "lost a claim to another writer");
            self.reassign = true;
        }
    }
}

fn recreated(next: i64, range: OffsetRange) -> String {
    format!("the next offset is {next}, but the partition ends at {}: the topic was recreated", range.end)
}
