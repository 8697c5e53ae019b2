//! Claims on topic-partitions: a lease and a fence. A claim is taken and renewed in short transactions that
//! are durable when they return; the epoch it was given is the fence that every ingest transaction must pass.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;

use super::StoreError;
use super::batch::Mark;

/// A partition that this writer may store, until its lease is over or its epoch passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub partition: i32,
    pub epoch: i64,
    /// The next offset to store; none before the partition was ever begun.
    pub next_offset: Option<i64>,
}

/// A claim just taken, and what the partition was when it was stored last.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub claim: Claim,
    /// The cluster it is stored from, where that is known.
    pub cluster: Option<String>,
    /// The record before the next offset, where there was one.
    pub last: Option<Mark>,
}

/// The writers at work on a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Company {
    /// How many they are, this one included.
    pub writers: usize,
    /// This one's place among them, from 0.
    pub place: usize,
    pub server_time: Timestamp,
}

impl Company {
    /// How many of `partitions` are this writer's: no two writers differ by more than one.
    pub fn share(self, partitions: usize) -> usize {
        let writers = self.writers.max(1);
        partitions / writers + usize::from(self.place < partitions % writers)
    }
}

/// One writer's dealings with `partition_offsets`.
pub(super) struct Claims {
    pub topic: String,
    pub owner: String,
    pub lease: Duration,
}

impl Claims {
    pub fn lease_ms(&self) -> f64 {
        self.lease.as_millis() as f64
    }

    /// Makes a standing row for each partition of the topic.
    pub fn discover(&self, client: &mut Client, partitions: i32) -> Result<(), StoreError> {
        let sql = "INSERT INTO webmon.partition_offsets (topic, partition) \
                   SELECT $1, p FROM generate_series(0, $2::integer - 1) AS p \
                   WHERE NOT EXISTS (SELECT FROM webmon.partition_offsets o WHERE o.topic = $1 AND o.partition = p) \
                   ON CONFLICT (topic, partition) DO NOTHING";
        client
            .execute(sql, &[&self.topic, &partitions])
            .map(drop)
            .map_err(StoreError::database("cannot register the topic's partitions"))
    }

    /// Says that this writer is at work, and learns who else is.
    pub fn heartbeat(&self, client: &mut Client) -> Result<Company, StoreError> {
        let row = client
            .query_one(
                include_str!("../../sql/queries/heartbeat.sql"),
                &[&self.topic, &self.owner, &self.lease_ms()],
            )
            .map_err(StoreError::database("cannot register the writer"))?;
        Ok(Company {
            writers: row.get::<_, i64>(0) as usize,
            place: row.get::<_, i64>(1) as usize,
            server_time: row.get(2),
        })
    }

    /// Claims up to `count` free partitions, to be stored from `cluster`.
    pub fn claim(
        &self,
        client: &mut Client,
        count: usize,
        cluster: Option<&str>,
    ) -> Result<Vec<Taken>, StoreError> {
        let rows = client
            .query(
                include_str!("../../sql/queries/claim_partitions.sql"),
                &[&self.topic, &self.owner, &self.lease_ms(), &(count as i64), &cluster],
            )
            .map_err(StoreError::database("cannot claim partitions"))?;
        let taken = |row: &postgres::Row| {
            let timestamp: Option<Timestamp> = row.get(4);
            let crc: Option<i64> = row.get(5);
            Taken {
                claim: Claim { partition: row.get(0), epoch: row.get(1), next_offset: row.get(2) },
                cluster: row.get(3),
                last: crc.map(|crc| Mark { timestamp_ms: timestamp.map(Timestamp::as_millisecond), crc }),
            }
        };
        Ok(rows.iter().map(taken).collect())
    }

    /// Ends the connections of writers that hold partitions locked and no longer answer.
    pub fn end_frozen(&self, client: &mut Client) -> Result<(), StoreError> {
        let ended = client
            .query(
                include_str!("../../sql/queries/end_frozen_writers.sql"),
                &[&self.topic, &self.owner, &self.lease_ms()],
            )
            .map_err(StoreError::database("cannot end frozen writers"))?;
        for row in ended {
            log::warn!(writer = row.get::<_, &str>(0); "ended the connection of a writer that does not answer");
        }
        Ok(())
    }

    /// Renews the leases of `held`, and returns the partitions that are still held.
    pub fn renew(&self, client: &mut Client, held: &[Claim]) -> Result<Vec<i32>, StoreError> {
        let (partitions, epochs) = columns(held);
        let rows = client
            .query(
                include_str!("../../sql/queries/renew_leases.sql"),
                &[&self.topic, &self.owner, &self.lease_ms(), &partitions, &epochs],
            )
            .map_err(StoreError::database("cannot renew leases"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Gives partitions back; `paused` says why nobody is to claim them again.
    pub fn release(
        &self,
        client: &mut Client,
        held: &[Claim],
        paused: Option<&str>,
    ) -> Result<(), StoreError> {
        let (partitions, epochs) = columns(held);
        client
            .execute(
                include_str!("../../sql/queries/release_partitions.sql"),
                &[&self.topic, &self.owner, &partitions, &epochs, &paused],
            )
            .map(drop)
            .map_err(StoreError::database("cannot release partitions"))
    }

    /// Signs the writer off, so that the others share its part at once, and forgets the long gone.
    pub fn sign_off(&self, client: &mut Client) -> Result<(), StoreError> {
        client
            .execute(
                "DELETE FROM webmon.writers WHERE (topic = $1 AND owner = $2) OR seen_at < clock_timestamp() - interval '1 hour'",
                &[&self.topic, &self.owner],
            )
            .map(drop)
            .map_err(StoreError::database("cannot sign the writer off"))
    }

    /// Sets where a partition that was never stored begins. Returns whether the claim still holds.
    pub fn begin_at(&self, client: &mut Client, claim: Claim, offset: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE webmon.partition_offsets SET next_offset = $4, updated_at = clock_timestamp() \
                   WHERE topic = $1 AND partition = $2 AND epoch = $3 AND next_offset IS NULL";
        client
            .execute(sql, &[&self.topic, &claim.partition, &claim.epoch, &offset])
            .map(|rows| rows == 1)
            .map_err(StoreError::database("cannot begin a partition"))
    }

    /// How many dead letters the ledger counts of a partition.
    pub fn dead_letters(&self, client: &mut Client, partition: i32) -> Result<i64, StoreError> {
        let sql = "SELECT coalesce(sum(dead), 0)::bigint FROM webmon.ingest_batches \
                   WHERE topic = $1 AND partition = $2";
        client
            .query_one(sql, &[&self.topic, &partition])
            .map(|row| row.get(0))
            .map_err(StoreError::database("cannot count dead letters"))
    }

    /// Records that Kafka no longer holds `[lost_from, held_from)` and goes on after it. Returns the claim's new
    /// epoch, or none when the claim was lost.
    pub fn skip_lost(
        &self,
        client: &mut Client,
        claim: Claim,
        lost_from: i64,
        held_from: i64,
    ) -> Result<Option<i64>, StoreError> {
        client
            .query_opt(
                include_str!("../../sql/queries/skip_lost_offsets.sql"),
                &[&self.topic, &claim.partition, &claim.epoch, &lost_from, &held_from],
            )
            .map(|row| row.map(|row| row.get(0)))
            .map_err(StoreError::database("cannot record lost offsets"))
    }
}

fn columns(held: &[Claim]) -> (Vec<i32>, Vec<i64>) {
    held.iter().map(|claim| (claim.partition, claim.epoch)).unzip()
}
