//! Claims on topic-partitions: a lease and a fence. A claim is taken and renewed in short transactions that are durable
//! when they return. Its epoch is the fence that every ingest transaction must pass.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postgres::Client;

use super::batch::Fingerprint;
use super::locked::Locked;
use crate::database::AnyTime;
use crate::store::error::StoreError;
use crate::text::truncated;

/// A partition that this writer may store until its lease is over or a newer epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub partition: i32,
    pub epoch: i64,
    /// The next offset to store; none if storing the partition has never begun.
    pub next_offset: Option<i64>,
}

/// A claim just taken, and what is known of the partition from when it was stored last.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub claim: Claim,
    /// The cluster it was stored from, if that is known.
    pub cluster: Option<String>,
    /// The record before the next offset, if there was one.
    pub last: Option<Fingerprint>,
}

/// The writers at work on a topic, as one of them sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    /// How many there are without the newcomers.
    pub writers: usize,
    /// How many of these come before this one, by name.
    pub place: usize,
    /// How many have joined the others less than one of their leases ago.
    pub newcomers: usize,
    /// How many of the newcomers came after this one.
    pub younger: usize,
    /// Whether this one is a newcomer.
    pub newcomer: bool,
    pub server_time: Timestamp,
}

impl Company {
    /// How many of `partitions` are this writer's share. The newcomers together have one partition, and the youngest of
    /// them holds it. So a writer that dies again and again as soon as it has begun costs the others only that one. The
    /// others share the rest, and no two shares differ by more than one.
    pub(crate) fn share(self, partitions: usize) -> usize {
        if self.writers == 0 {
            // Only newcomers are left: the writers that they joined are gone.
            return part(partitions, self.newcomers, self.younger);
        }
        let tried = partitions.min(usize::from(self.newcomers > 0));
        match self.newcomer {
            true if self.younger == 0 => tried,
            true => 0,
            false => part(partitions - tried, self.writers, self.place),
        }
    }
}

/// The part of the one at `place` (from 0) among `writers`.
fn part(partitions: usize, writers: usize, place: usize) -> usize {
    let writers = writers.max(1);
    partitions / writers + usize::from(place < partitions % writers)
}

/// The name of a writer's connection: the writer's name in printable ASCII, as the server would put it, cut to what
/// NAMEDATALEN leaves room for. `end_frozen_writers.sql` makes the same name.
pub(crate) fn application_name(owner: &str) -> String {
    let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let name: String = "webmon-store:".chars().chain(owner.chars().map(printable)).collect();
    truncated(&name, 63)
}

/// A connection that looked frozen, and how far it was then.
#[derive(Clone, Copy, Debug)]
struct Look {
    pid: i32,
    xact_start: Timestamp,
    state_change: Timestamp,
    bytes: i64,
}

/// The least time between the two looks at a connection that show it has not moved.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// Why partitions are given back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Release<'a> {
    /// For others to claim at once.
    Free,
    /// The same, with what is wrong with them.
    Failed(&'a str),
    /// Nobody may claim them before an operator has looked at them.
    Paused(&'a str),
}

/// One writer's access to `partition_offsets`.
pub(crate) struct Claims {
    pub topic: String,
    pub owner: String,
    pub lease: Duration,
    /// The connections that looked frozen, and when that was.
    suspects: Vec<Look>,
    looked_at: Option<Instant>,
    locked: Locked,
}

impl Claims {
    pub(crate) fn new(topic: &str, owner: &str, lease: Duration) -> Claims {
        Claims {
            topic: topic.to_owned(),
            owner: owner.to_owned(),
            lease,
            suspects: Vec::new(),
            looked_at: None,
            locked: Locked::default(),
        }
    }

    pub(crate) fn lease_ms(&self) -> f64 {
        self.lease.as_millis() as f64
    }

    /// Inserts a row for each partition of the topic that has none.
    pub(crate) fn discover(&self, client: &mut Client, partitions: i32) -> Result<(), StoreError> {
        let sql = "INSERT INTO webmon.partition_offsets (topic, partition) \
                   SELECT $1, p FROM generate_series(0, $2::integer - 1) AS p \
                   WHERE NOT EXISTS (SELECT FROM webmon.partition_offsets o WHERE o.topic = $1 AND o.partition = p) \
                   ON CONFLICT (topic, partition) DO NOTHING";
        client
            .execute(sql, &[&self.topic, &partitions])
            .map(drop)
            .map_err(StoreError::statement("cannot register the topic's partitions"))
    }

    /// Records that this writer is at work, and returns which others are.
    pub(crate) fn heartbeat(&self, client: &mut Client) -> Result<Company, StoreError> {
        let row = client
            .query_one(
                include_str!("../../../sql/queries/claims/heartbeat.sql"),
                &[&self.topic, &self.owner, &self.lease_ms()],
            )
            .map_err(StoreError::statement("cannot register the writer"))?;
        Ok(Company {
            writers: row.get::<_, i64>(0) as usize,
            place: row.get::<_, i64>(1) as usize,
            newcomers: row.get::<_, i64>(2) as usize,
            younger: row.get::<_, i64>(3) as usize,
            newcomer: row.get(4),
            server_time: row.get(5),
        })
    }

    /// Claims up to `count` free ones of the topic's `partitions`, except those `barred`, to store them from `cluster`.
    pub(crate) fn claim(
        &self,
        client: &mut Client,
        count: usize,
        partitions: i32,
        barred: &[i32],
        cluster: Option<&str>,
    ) -> Result<Vec<Taken>, StoreError> {
        let rows = client
            .query(
                include_str!("../../../sql/queries/claims/claim_partitions.sql"),
                &[
                    &self.topic,
                    &self.owner,
                    &self.lease_ms(),
                    &(count as i64),
                    &cluster,
                    &partitions,
                    &barred,
                ],
            )
            .map_err(StoreError::statement("cannot claim partitions"))?;
        let taken = |row: &postgres::Row| {
            let timestamp: Option<Timestamp> = row.get(4);
            let crc: Option<i64> = row.get(5);
            Taken {
                claim: Claim { partition: row.get(0), epoch: row.get(1), next_offset: row.get(2) },
                cluster: row.get(3),
                last: crc
                    .map(|crc| Fingerprint { timestamp_ms: timestamp.map(Timestamp::as_millisecond), crc }),
            }
        };
        Ok(rows.iter().map(taken).collect())
    }

    /// Looks for connections of writers that keep partitions or rows locked although their lease is over. Ends those
    /// that have not moved since the look before.
    pub(crate) fn end_frozen(&mut self, client: &mut Client) -> Result<(), StoreError> {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOKS_APART.min(self.lease / 3)) {
            return Ok(());
        }
        let column = |of: fn(&Look) -> Timestamp| self.suspects.iter().map(of).collect::<Vec<_>>();
        let pids: Vec<i32> = self.suspects.iter().map(|look| look.pid).collect();
        let begun = column(|look| look.xact_start);
        let changed = column(|look| look.state_change);
        let bytes: Vec<i64> = self.suspects.iter().map(|look| look.bytes).collect();
        let found = client
            .query(
                include_str!("../../../sql/queries/claims/end_frozen_writers.sql"),
                &[&self.topic, &self.owner, &self.lease_ms(), &pids, &begun, &changed, &bytes],
            )
            .map_err(StoreError::statement("cannot end frozen writers"))?;
        self.looked_at = Some(Instant::now());
        self.suspects.clear();
        for row in found {
            if row.get("ended") {
                log::warn!(writer = row.get::<_, &str>("application_name"); "ended the connection of a writer that does not answer");
            } else {
                self.suspects.push(Look {
                    pid: row.get("pid"),
                    xact_start: row.get("xact_start"),
                    state_change: row.get("state_change"),
                    bytes: row.get("bytes"),
                });
            }
        }
        Ok(())
    }

    /// After a claim that found too few partitions: logs those that are free but that nobody could take for at least a
    /// lease, and which process of the server keeps them locked.
    pub(crate) fn tell_locked(
        &mut self,
        client: &mut Client,
        partitions: i32,
        barred: &[i32],
    ) -> Result<(), StoreError> {
        let rows = client
            .query(
                include_str!("../../../sql/queries/claims/locked_partitions.sql"),
                &[&self.topic, &partitions, &barred],
            )
            .map_err(StoreError::statement("cannot look for locked partitions"))?;
        let found: BTreeMap<i32, Option<i32>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let locked: Vec<i32> = found.keys().copied().collect();
        for (partition, lasts) in self.locked.look(Instant::now(), self.lease, &locked) {
            let server_pid = found.get(&partition).copied().flatten();
            log::error!(partition, server_pid, for_s = lasts.as_secs(); "nobody can take a partition: a process of the database server has locked its row and does not end its transaction");
        }
        Ok(())
    }

    /// Renews the leases of `held`, and returns the partitions that are still held.
    pub(crate) fn renew(
        &self,
        client: &mut Client,
        held: &[Claim],
        at_end: &[i32],
    ) -> Result<Vec<i32>, StoreError> {
        let (partitions, epochs) = columns(held);
        let rows = client
            .query(
                include_str!("../../../sql/queries/claims/renew_leases.sql"),
                &[&self.topic, &self.owner, &self.lease_ms(), &partitions, &epochs, &at_end],
            )
            .map_err(StoreError::statement("cannot renew leases"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Gives partitions back.
    pub(crate) fn release(
        &self,
        client: &mut Client,
        held: &[Claim],
        release: Release<'_>,
    ) -> Result<(), StoreError> {
        let (partitions, epochs) = columns(held);
        let (paused, failed) = match release {
            Release::Free => (None, None),
            Release::Failed(why) => (None, Some(why)),
            Release::Paused(why) => (Some(why), None),
        };
        client
            .execute(
                include_str!("../../../sql/queries/claims/release_partitions.sql"),
                &[&self.topic, &self.owner, &partitions, &epochs, &paused, &failed],
            )
            .map(drop)
            .map_err(StoreError::statement("cannot release partitions"))
    }

    /// Signs the writer off, so that the others share its part at once. Also deletes writers not seen for an hour.
    pub(crate) fn sign_off(&self, client: &mut Client) -> Result<(), StoreError> {
        client
            .execute(
                "DELETE FROM webmon.writers WHERE (topic = $1 AND owner = $2) OR seen_at < clock_timestamp() - interval '1 hour'",
                &[&self.topic, &self.owner],
            )
            .map(drop)
            .map_err(StoreError::statement("cannot sign the writer off"))
    }

    /// Sets the first offset of a partition that was never stored. Returns whether the claim still holds.
    pub(crate) fn begin_at(
        &self,
        client: &mut Client,
        claim: Claim,
        offset: i64,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE webmon.partition_offsets SET next_offset = $4, updated_at = clock_timestamp() \
                   WHERE topic = $1 AND partition = $2 AND epoch = $3 AND next_offset IS NULL";
        client
            .execute(sql, &[&self.topic, &claim.partition, &claim.epoch, &offset])
            .map(|rows| rows == 1)
            .map_err(StoreError::statement("cannot begin a partition"))
    }

    /// Returns how many dead letters of a partition the ledger counts.
    pub(crate) fn dead_letters(&self, client: &mut Client, partition: i32) -> Result<i64, StoreError> {
        let sql = "SELECT coalesce(sum(dead), 0)::bigint FROM webmon.ingest_batches \
                   WHERE topic = $1 AND partition = $2";
        client
            .query_one(sql, &[&self.topic, &partition])
            .map(|row| row.get(0))
            .map_err(StoreError::statement("cannot count dead letters"))
    }

    /// Records that Kafka no longer holds `[lost_from, held_from)`, and moves the offset past it. Returns the claim's
    /// new epoch, or none if the claim was lost.
    pub(crate) fn skip_lost(
        &self,
        client: &mut Client,
        claim: Claim,
        lost_from: i64,
        held_from: i64,
    ) -> Result<Option<i64>, StoreError> {
        client
            .query_opt(
                include_str!("../../../sql/queries/claims/skip_lost_offsets.sql"),
                &[&self.topic, &claim.partition, &claim.epoch, &lost_from, &held_from],
            )
            .map(|row| row.map(|row| row.get(0)))
            .map_err(StoreError::statement("cannot record lost offsets"))
    }
}

/// Returns the newest instant that is rolled up into hours, to the hour, if there is one.
pub(crate) fn newest_stored(client: &mut Client) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT max(last_hour) + interval '1 hour' FROM webmon.site_locations";
    let newest: Option<AnyTime> = client
        .query_one(sql, &[])
        .map(|row| row.get(0))
        .map_err(StoreError::statement("cannot read what is stored last"))?;
    Ok(newest.filter(|time| !time.is_infinite()).map(|time| time.0))
}

fn columns(held: &[Claim]) -> (Vec<i32>, Vec<i64>) {
    held.iter().map(|claim| (claim.partition, claim.epoch)).unzip()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each of so many writers and newcomers sees, the newcomers last and the youngest first.
    fn companies(writers: usize, newcomers: usize) -> Vec<Company> {
        let company = |place: usize, younger: usize, newcomer: bool| Company {
            writers,
            place,
            newcomers,
            younger,
            newcomer,
            server_time: Timestamp::UNIX_EPOCH,
        };
        let full = (0..writers).map(|place| company(place, 0, false));
        full.chain((0..newcomers).map(|younger| company(0, younger, true))).collect()
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_newcomers_have_one_partition_in_all(
            partitions in 0_usize..200,
            writers in 0_usize..20,
            newcomers in 0_usize..20,
        ) {
            prop_assume!(writers + newcomers > 0);
            let shares: Vec<usize> =
                companies(writers, newcomers).into_iter().map(|company| company.share(partitions)).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), partitions);
            let (full, new) = shares.split_at(writers);
            let alike = if writers > 0 { full } else { new };
            prop_assert!(alike.iter().max().unwrap() - alike.iter().min().unwrap() <= 1);
            if writers > 0 {
                prop_assert!(new.iter().sum::<usize>() <= 1);
            }
        }
    }

    #[test]
    fn a_connection_is_named_in_printable_ascii_within_namedatalen() {
        assert_eq!(application_name("pöd\n:7:0"), "webmon-store:p?d?:7:0");
        let long = "ü".repeat(100);
        assert_eq!(application_name(&long), format!("webmon-store:{}", "?".repeat(50)));
    }
}
