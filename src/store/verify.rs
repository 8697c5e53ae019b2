//! Proves that the history is complete: every offset is accounted for, the counts are those of the rows, and each
//! result's `next_at` leads to the next one.

use std::time::Duration;

use jiff::Timestamp;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, GenericClient, IsolationLevel, Transaction};
use serde::Serialize;

use super::StoreError;

/// Broken links that a [`Verification`] names; all are counted.
pub const MAX_NAMED: usize = 1_000;
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// What [`verify`] found, all of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether nothing is wrong.
    pub proven: bool,
    /// What the ledger says of each topic-partition.
    pub partitions: Vec<PartitionLedger>,
    /// Rows of results.
    pub results: i64,
    /// Rows of results that the ledger demands, without those that retention has dropped since.
    pub results_expected: i64,
    /// Rows of dead letters.
    pub dead_letters: i64,
    /// Rows of dead letters that the ledger demands.
    pub dead_letters_expected: i64,
    /// Links of the chain: results and gaps that announce another instant.
    pub links: i64,
    /// Links that lead nowhere though there is something later: lost instants.
    pub broken: i64,
    /// The first [`MAX_NAMED`] of these.
    pub broken_links: Vec<Link>,
    /// Links that lead nowhere, with nothing later: the ends of the chains.
    pub open: i64,
    /// Of these, how many were due over five minutes ago: on their way, or a checker that is down.
    pub overdue: i64,
}

/// The ledger of one topic-partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionLedger {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to store; none before the first claim.
    pub next_offset: Option<i64>,
    /// The first offset accounted for; none before the first batch.
    pub from_offset: Option<i64>,
    /// One past the last offset accounted for.
    pub to_offset: Option<i64>,
    /// Offsets that Kafka no longer held when they were to be stored.
    pub lost: i64,
    /// Records stored; more than there are offsets after a replay.
    pub records: i64,
    /// Of these, new results.
    pub inserted: i64,
    /// Results that replaced one of a lower outcome.
    pub superseded: i64,
    /// Results and dead letters that were there already.
    pub duplicate: i64,
    /// Gap records.
    pub gaps: i64,
    /// Results too old to be stored.
    pub expired: i64,
    /// Dead letters.
    pub dead: i64,
    /// Dead letters that somebody discarded since.
    pub discarded: i64,
    /// Ranges of offsets `[from, to)` that nothing accounts for.
    pub holes: Vec<(i64, i64)>,
}

/// An instant that was announced and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The site's key.
    pub site: String,
    /// Where it is checked from.
    pub location: String,
    /// The instant whose result, or the gap whose end, announced it.
    pub announced_at: Timestamp,
    /// The instant that is missing.
    pub due_at: Timestamp,
}

/// Verifies everything stored of `topic`, or of all topics; results and chains always of all, as they belong to no
/// topic. It reads every row once, about a million a second, in one transaction that changes nothing and keeps nobody
/// waiting; meanwhile vacuum cannot remove what is deleted. `progress` is told the days read and how many there are.
///
/// # Errors
/// [`StoreError::Database`].
pub fn verify(
    client: &mut Client,
    topic: Option<&str>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verification, StoreError> {
    let failed = StoreError::database;
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .map_err(failed("cannot begin a transaction"))?;
    let counts = transaction
        .query_one(
            "SELECT now(), (SELECT count(*) FROM webmon.dead_letters), \
                    (SELECT coalesce(sum(inserted), 0)::bigint FROM webmon.ingest_batches) \
                        - (SELECT results_dropped FROM webmon.retention), \
                    (SELECT coalesce(sum(dead), 0)::bigint FROM webmon.ingest_batches)",
            &[],
        )
        .map_err(failed("cannot read the ledger"))?;
    let mut found = Verification {
        proven: false,
        partitions: read_ledger(&mut transaction, topic)?,
        results: 0,
        results_expected: counts.get(2),
        dead_letters: counts.get(1),
        dead_letters_expected: counts.get(3),
        links: 0,
        broken: 0,
        broken_links: Vec::new(),
        open: 0,
        overdue: 0,
    };
    let now: Timestamp = counts.get(0);
    let days: Vec<Timestamp> = transaction
        .query(include_str!("../../sql/queries/verify_days.sql"), &[])
        .map_err(failed("cannot read the days"))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    for (done, day) in days.iter().enumerate() {
        progress(done, days.len());
        let sql = include_str!("../../sql/queries/verify_rows.sql");
        found.results += follow(&mut transaction, sql, &[day, &(*day + DAY)], now, &mut found)?;
    }
    follow(&mut transaction, include_str!("../../sql/queries/verify_gaps.sql"), &[], now, &mut found)?;
    progress(days.len(), days.len());
    found.proven = found.broken == 0
        && found.results == found.results_expected
        && found.dead_letters == found.dead_letters_expected
        && found.partitions.iter().all(|ledger| ledger.holes.is_empty());
    Ok(found)
}

/// Merges the ledger's rows of more than `age` ago, a row a minute, into a row a day and epoch. What [`verify`] proves
/// by them stays proven. Returns how many rows are left of those merged.
///
/// # Errors
/// [`StoreError::Database`].
pub fn compact_ledger(client: &mut impl GenericClient, age: Duration) -> Result<u64, StoreError> {
    let until = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
    client
        .execute(include_str!("../../sql/queries/compact_ledger.sql"), &[&until])
        .map_err(StoreError::database("cannot compact the ledger"))
}

fn read_ledger(
    transaction: &mut Transaction<'_>,
    topic: Option<&str>,
) -> Result<Vec<PartitionLedger>, StoreError> {
    let rows = transaction
        .query(include_str!("../../sql/queries/verify_ledger.sql"), &[&topic])
        .map_err(StoreError::database("cannot read the ledger"))?;
    let ledger = |row: &postgres::Row| {
        let holes_from: Vec<i64> = row.get("hole_from");
        let holes_to: Vec<i64> = row.get("hole_to");
        PartitionLedger {
            topic: row.get("topic"),
            partition: row.get("partition"),
            next_offset: row.get("next_offset"),
            from_offset: row.get("from_offset"),
            to_offset: row.get("to_offset"),
            lost: row.get("lost"),
            records: row.get("records"),
            inserted: row.get("inserted"),
            superseded: row.get("superseded"),
            duplicate: row.get("duplicate"),
            gaps: row.get("gaps"),
            expired: row.get("expired"),
            dead: row.get("dead"),
            discarded: row.get("discarded"),
            holes: holes_from.into_iter().zip(holes_to).collect(),
        }
    };
    Ok(rows.iter().map(ledger).collect())
}

/// Runs one of the two queries that follow links, and returns how many rows it read.
fn follow(
    transaction: &mut Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    now: Timestamp,
    found: &mut Verification,
) -> Result<i64, StoreError> {
    let failed = StoreError::database;
    let statement = transaction.prepare(sql).map_err(failed("cannot follow the chains"))?;
    // Row by row: how many links are broken has no bound.
    let mut rows = transaction
        .query_raw(&statement, parameters.iter().copied())
        .map_err(failed("cannot follow the chains"))?;
    let mut read = 0;
    while let Some(row) = rows.next().map_err(failed("cannot follow the chains"))? {
        let Some(site) = row.get::<_, Option<String>>("site") else {
            read += row.get::<_, i64>("rows");
            found.links += row.get::<_, i64>("links");
            continue;
        };
        let link = Link {
            site,
            location: row.get("location"),
            announced_at: row.get("announced_at"),
            due_at: row.get("due_at"),
        };
        if row.get("broken") {
            found.broken += 1;
            if found.broken_links.len() < MAX_NAMED {
                found.broken_links.push(link);
            }
        } else {
            found.open += 1;
            let age = now.duration_since(link.due_at);
            found.overdue += i64::from(age > jiff::SignedDuration::from_mins(5));
        }
    }
    Ok(read)
}
