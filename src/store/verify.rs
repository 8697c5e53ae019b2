//! Proves that the history is complete: every offset is accounted for, the counts match the rows, and each result's
//! `next_at` leads to the next result.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, GenericClient, IsolationLevel, Transaction};
use serde::Serialize;

use super::error::StoreError;
use crate::database::Connector;

/// Broken links that a [`Verification`] lists; it counts all.
pub const MAX_NAMED: usize = 1_000;
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// What [`verify`] found, all as of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether nothing is wrong.
    pub proven: bool,
    /// What the ledger says of each topic-partition.
    pub partitions: Vec<PartitionLedger>,
    /// Rows of results.
    pub results: i64,
    /// Rows of results that there must be according to the ledger, without those that retention has dropped since.
    pub results_expected: i64,
    /// Rows of dead letters.
    pub dead_letters: i64,
    /// Rows of dead letters that there must be according to the ledger.
    pub dead_letters_expected: i64,
    /// Links of the chain: results and gaps that announce another instant.
    pub links: i64,
    /// Links to an instant that is not stored although a later one is: lost instants.
    pub broken: i64,
    /// The newest [`MAX_NAMED`] of these.
    pub broken_links: Vec<Link>,
    /// Links to an instant that is not stored, with nothing later: the ends of the chains.
    pub open: i64,
    /// Of these, how many were due over five minutes ago: they are on their way, or the checker is down.
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
    /// Records stored. After a replay there are more of them than offsets.
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
    /// Dead letters that were discarded since.
    pub discarded: i64,
    /// Offsets among those stored that held no record. A log that is compacted, or written in transactions, has such
    /// offsets, so they disprove nothing. A result that was lost for another reason shows as a broken link.
    pub without_record: i64,
    /// Records stored beyond one per offset: some were counted twice.
    pub overcounted: i64,
    /// Ranges of offsets `[from, to)` that nothing accounts for.
    pub holes: Vec<(i64, i64)>,
}

/// An instant that was announced but is not stored.
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

/// Verifies everything stored of `topic`, or of all topics. Results and chains belong to no topic, so all of them are
/// always verified. It reads every row once, about a million a second, day by day from the newest to the oldest. It
/// changes nothing and keeps nobody waiting.
///
/// It uses two connections. One holds the moment that is verified; meanwhile vacuum cannot remove what is deleted. The
/// other reads each day in a transaction of its own, so that few tables are locked at once. `progress` is told how many
/// days were read and how many there are.
///
/// # Errors
/// [`StoreError::Database`].
pub fn verify(
    connector: &Connector,
    topic: Option<&str>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verification, StoreError> {
    let failed = StoreError::statement;
    let (mut holder, mut reader) = (connector.connect()?, connector.connect()?);
    let mut moment = begin(&mut holder)?;
    moment
        .batch_execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        .map_err(failed("cannot set up a transaction"))?;
    let snapshot: String = moment
        .query_one("SELECT pg_export_snapshot()", &[])
        .map_err(failed("cannot export a snapshot"))?
        .get(0);
    let counts = moment
        .query_one(
            "SELECT now(), nullif(floor_at, '-infinity'), results_dropped, \
                    (SELECT count(*) FROM webmon.dead_letters), \
                    (SELECT coalesce(sum(inserted), 0)::bigint FROM webmon.ingest_batches), \
                    (SELECT coalesce(sum(dead), 0)::bigint FROM webmon.ingest_batches) \
             FROM webmon.retention",
            &[],
        )
        .map_err(failed("cannot read the ledger"))?;
    let dropped: i64 = counts.get(2);
    let mut chains = Chains {
        now: counts.get(0),
        floor: counts.get(1),
        newest: newest_gaps(&mut moment)?,
        found: Verification {
            proven: false,
            partitions: read_ledger(&mut moment, topic)?,
            results: 0,
            results_expected: counts.get::<_, i64>(4) - dropped,
            dead_letters: counts.get(3),
            dead_letters_expected: counts.get(5),
            links: 0,
            broken: 0,
            broken_links: Vec::new(),
            open: 0,
            overdue: 0,
        },
    };
    let days: BTreeMap<Timestamp, bool> = moment
        .query(include_str!("../../sql/queries/verify/verify_days.sql"), &[&chains.floor])
        .map_err(failed("cannot read the days"))?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let (mut read_days, mut read_results) = (Vec::new(), Vec::new());
    for (done, (&day, &stored)) in days.iter().rev().enumerate() {
        progress(done, days.len());
        let mut transaction = begin(&mut reader)?;
        transaction
            .batch_execute(&format!(
                "SET TRANSACTION SNAPSHOT '{snapshot}'; SET LOCAL plan_cache_mode = force_custom_plan"
            ))
            .map_err(failed("cannot read as of the moment that is verified"))?;
        if stored {
            read_days.push(day);
            read_results.push(chains.follow_day(&mut transaction, day, &days)?);
        }
        let sql = include_str!("../../sql/queries/verify/verify_gaps.sql");
        chains.follow(&mut transaction, sql, &[&day, &after(day, 1)], Timestamp::MAX)?;
        transaction.commit().map_err(failed("cannot end a transaction"))?;
    }
    let mut found = chains.found;
    found.results = read_results.iter().sum();
    found.results_expected -= dropped_unread(&mut reader, dropped, &read_days, &read_results)?;
    progress(days.len(), days.len());
    found.proven = found.broken == 0
        && found.results == found.results_expected
        && found.dead_letters == found.dead_letters_expected
        && found.partitions.iter().all(|ledger| ledger.holes.is_empty() && ledger.overcounted == 0);
    Ok(found)
}

/// Merges the ledger's rows that are older than `age`, one a minute, into one row for each day and epoch. What
/// [`verify`] proves from them stays proven. Returns how many rows are left of those merged.
///
/// # Errors
/// [`StoreError::Database`].
pub fn compact_ledger(client: &mut impl GenericClient, age: Duration) -> Result<u64, StoreError> {
    let until = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
    client
        .execute(include_str!("../../sql/queries/verify/compact_ledger.sql"), &[&until])
        .map_err(StoreError::statement("cannot compact the ledger"))
}

fn read_ledger(
    transaction: &mut Transaction<'_>,
    topic: Option<&str>,
) -> Result<Vec<PartitionLedger>, StoreError> {
    let rows = transaction
        .query(include_str!("../../sql/queries/verify/verify_ledger.sql"), &[&topic])
        .map_err(StoreError::statement("cannot read the ledger"))?;
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
            without_record: row.get("without_record"),
            overcounted: row.get("overcounted"),
            holes: holes_from.into_iter().zip(holes_to).collect(),
        }
    };
    Ok(rows.iter().map(ledger).collect())
}

fn begin(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .map_err(StoreError::statement("cannot begin a transaction"))
}

/// The start of the UTC day that many days later.
fn after(day: Timestamp, days: i32) -> Timestamp {
    day.checked_add(DAY * days).unwrap_or(Timestamp::MAX)
}

/// The start of the newest gap of each site and location.
fn newest_gaps(moment: &mut Transaction<'_>) -> Result<HashMap<Place, Timestamp>, StoreError> {
    let sql = "SELECT site_id, location_id, max(from_at) FROM webmon.gaps GROUP BY site_id, location_id";
    let rows = moment.query(sql, &[]).map_err(StoreError::statement("cannot read the gaps"))?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

/// How many results retention has dropped meanwhile, before they were read.
fn dropped_unread(
    client: &mut Client,
    before: i64,
    days: &[Timestamp],
    results: &[i64],
) -> Result<i64, StoreError> {
    let failed = || StoreError::statement("cannot read what was dropped");
    let row = client.query_one("SELECT results_dropped FROM webmon.retention", &[]).map_err(failed())?;
    if row.get::<_, i64>(0) == before {
        return Ok(0);
    }
    let row = client
        .query_one(include_str!("../../sql/queries/verify/verify_dropped.sql"), &[&days, &results])
        .map_err(failed())?;
    Ok(row.get::<_, i64>(0) - before - row.get::<_, i64>(1))
}

/// A site and a location, by their ids.
type Place = (i32, i32);

/// The chains, followed from the newest day to the oldest.
struct Chains {
    now: Timestamp,
    /// What was due before this may be deleted, or was never stored.
    floor: Option<Timestamp>,
    /// The newest instant seen so far of each site and location: a result, or the start of a gap.
    newest: HashMap<Place, Timestamp>,
    found: Verification,
}

impl Chains {
    /// Follows the links of a day's results, and returns how many results there are.
    fn follow_day(
        &mut self,
        transaction: &mut Transaction<'_>,
        day: Timestamp,
        days: &BTreeMap<Timestamp, bool>,
    ) -> Result<i64, StoreError> {
        let (end, near) = (after(day, 1), after(day, 2));
        let sql = include_str!("../../sql/queries/verify/verify_rows.sql");
        let (results, far) = self.follow(transaction, sql, &[&day, &end, &near], near)?;
        let mut by_day: BTreeMap<Timestamp, Vec<(Place, Link)>> = BTreeMap::new();
        for (place, link) in far {
            let due_day = days.range(..=link.due_at).next_back().map_or(day, |(due_day, _)| *due_day);
            by_day.entry(due_day).or_default().push((place, link));
        }
        for (due_day, links) in by_day {
            let sites: Vec<i32> = links.iter().map(|((site, _), _)| *site).collect();
            let locations: Vec<i32> = links.iter().map(|((_, location), _)| *location).collect();
            let instants: Vec<Timestamp> = links.iter().map(|(_, link)| link.due_at).collect();
            let there = transaction
                .query(
                    include_str!("../../sql/queries/verify/verify_far.sql"),
                    &[&due_day, &after(due_day, 1), &sites, &locations, &instants],
                )
                .map_err(StoreError::statement("cannot follow the chains"))?;
            let mut links: Vec<Option<(Place, Link)>> = links.into_iter().map(Some).collect();
            for row in there {
                links[row.get::<_, i64>(0) as usize - 1] = None;
            }
            for (place, link) in links.into_iter().flatten() {
                self.missing(place, link);
            }
        }
        Ok(results)
    }

    /// Runs one of the two queries that follow links. Returns how many rows it read, and the links that lead to `near`
    /// or later.
    fn follow(
        &mut self,
        transaction: &mut Transaction<'_>,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
        near: Timestamp,
    ) -> Result<(i64, Vec<(Place, Link)>), StoreError> {
        let failed = || StoreError::statement("cannot follow the chains");
        // Reads row by row, because the number of broken links has no bound.
        let mut rows = transaction.query_raw(sql, parameters.iter().copied()).map_err(failed())?;
        let (mut read, mut far) = (0, Vec::new());
        while let Some(row) = rows.next().map_err(failed())? {
            let place = row.get::<_, Option<i32>>("site_id").zip(row.get("location_id"));
            let announced_at: Option<Timestamp> = row.get("announced_at");
            match (row.get::<_, Option<String>>("site"), place, announced_at) {
                (Some(site), Some(place), Some(announced_at)) => {
                    let (location, due_at) = (row.get("location"), row.get("due_at"));
                    let link = Link { site, location, announced_at, due_at };
                    match due_at < near {
                        true => self.missing(place, link),
                        false => far.push((place, link)),
                    }
                }
                (_, place, newest) => {
                    read += row.get::<_, i64>("rows");
                    self.found.links += row.get::<_, i64>("links");
                    if let (Some(place), Some(newest)) = (place, newest) {
                        let known = self.newest.entry(place).or_insert(newest);
                        *known = newest.max(*known);
                    }
                }
            }
        }
        Ok((read, far))
    }

    /// Counts an instant that is not stored: as lost if anything later is stored, else as the end of its chain.
    fn missing(&mut self, place: Place, link: Link) {
        if self.floor.is_some_and(|floor| link.due_at < floor) {
            return;
        }
        if self.newest.get(&place).is_some_and(|newest| *newest > link.due_at) {
            self.found.broken += 1;
            if self.found.broken_links.len() < MAX_NAMED {
                self.found.broken_links.push(link);
            }
        } else {
            self.found.open += 1;
            let age = self.now.duration_since(link.due_at);
            self.found.overdue += i64::from(age > jiff::SignedDuration::from_mins(5));
        }
    }
}
