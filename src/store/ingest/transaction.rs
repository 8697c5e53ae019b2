//! One batch in one transaction: the offset first, as a fence, then everything that the records came to.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::time::Duration;

use jiff::civil::Date;
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Statement, Transaction};

use super::batch::{Batch, Letter, Row, timestamp};
use super::bisect::bisect;
use super::claims::{Claim, Claims};
use super::columns::{Columns, Instant};
use super::counts::Counts;
use super::days::{bounds, by_day, utc_day};
use super::dimensions::Dimensions;
use super::gaps::insert_gaps;
use super::letters::insert_dead_letters;
use crate::database::{AnyTime, Remedy};
use crate::record::Outcome;
use crate::store::error::StoreError;
use crate::store::history::{marks, retention};
use crate::store::stored_outcome::StoredOutcome;

/// From how many rows on COPY is worth its savepoint.
const COPY_FROM: usize = 200;
/// Batches that are looked up first, after one that could not be copied: where twins check, or in a replay, most of them
/// would fail, each leaving its rows behind as dead ones.
const LOOK_UPS_AFTER_CONFLICT: u32 = 64;

/// How a commit ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// Stored, and the offset moved.
    Stored(Counts),
    /// The claim was lost: nothing was stored, somebody else goes on from the same offset.
    ClaimLost,
}

/// What a connection knows: it is made anew with each connection.
#[derive(Default)]
pub(crate) struct Ingest {
    dimensions: Dimensions,
    days: BTreeSet<Date>,
    statements: HashMap<&'static str, Statement>,
    /// Batches to come that are looked up first: the last ones met rows that were there already.
    look_ups: u32,
}

impl Ingest {
    /// Stores `batch` under `claim`. After an error nothing is stored, except that a commit cut off by a lost
    /// connection may have taken effect: the offset tells.
    pub fn store(
        &mut self,
        client: &mut Client,
        claims: &Claims,
        claim: Claim,
        batch: &mut Batch,
    ) -> Result<Committed, StoreError> {
        self.prepare(client, batch, claims.lease)?;

        let failed = StoreError::statement;
        let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
        // Rows and offset go back together after a crash of the server, so waiting for the disk buys nothing.
        // A writer that stops between two statements must not hold its locks for ever, and one that waits for
        // such a one's locks must come back to end it. Replaced rows are found by the primary key: for a hash or merge
        // join the planner may read the whole day, once a batch.
        let lease_ms = claims.lease.as_millis();
        transaction
            .batch_execute(&format!(
                "SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '60s'; \
                 SET LOCAL lock_timeout = {lease_ms}; SET LOCAL enable_hashjoin = off; \
                 SET LOCAL enable_mergejoin = off"
            ))
            .map_err(failed("cannot set up a transaction"))?;
        let (topic, partition) = (&claims.topic, claim.partition);
        let last_at = batch.last.and_then(|mark| timestamp(mark.timestamp_ms));
        let last_crc = batch.last.map(|mark| mark.crc);
        let advance = self.prepared(
            &mut transaction,
            include_str!("../../../sql/queries/ingest/advance_offset.sql"),
            "cannot move the offset",
        )?;
        let moved = transaction
            .execute(
                &advance,
                &[
                    topic,
                    &partition,
                    &claim.epoch,
                    &batch.from,
                    &batch.to,
                    &claims.lease_ms(),
                    &last_at,
                    &last_crc,
                ],
            )
            .map_err(failed("cannot move the offset"))?;
        if moved != 1 {
            return Ok(Committed::ClaimLost);
        }
        let (mut counts, refused) = self.write(&mut transaction, batch)?;
        let dead = batch.dead.iter().chain(&refused);
        counts.dead = insert_dead_letters(&mut transaction, topic, partition, dead)?;
        counts.duplicate += (batch.dead.len() + refused.len()) as i64 - counts.dead;
        let record = self.prepared(
            &mut transaction,
            include_str!("../../../sql/queries/ingest/record_batch.sql"),
            "cannot write the ledger",
        )?;
        transaction
            .execute(
                &record,
                &[
                    topic,
                    &partition,
                    &claim.epoch,
                    &batch.from,
                    &batch.to,
                    &counts.inserted,
                    &counts.superseded,
                    &counts.duplicate,
                    &counts.gaps,
                    &counts.expired,
                    &counts.dead,
                ],
            )
            .map_err(failed("cannot write the ledger"))?;
        transaction.commit().map_err(failed("cannot commit"))?;
        Ok(Committed::Stored(counts))
    }

    /// What comes before the transaction of a batch: ids, order, and partitions for its days.
    pub fn prepare(
        &mut self,
        client: &mut Client,
        batch: &mut Batch,
        patience: Duration,
    ) -> Result<(), StoreError> {
        self.dimensions.resolve(client, batch, patience)?;
        batch.finish();
        self.ensure_days(client, batch)
    }

    /// Writes a batch's results and gaps, and marks their hours as changed. Returns what became of them, and what the
    /// database refuses of them.
    pub fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        batch: &mut Batch,
    ) -> Result<(Counts, Vec<Letter>), StoreError> {
        let failed = StoreError::statement;
        let doing = "cannot read the floor of retention";
        let floor = self.prepared(transaction, retention::FLOOR, doing)?;
        let floor: Option<AnyTime> = transaction.query_one(&floor, &[]).map_err(failed(doing))?.get(0);
        match floor {
            // All would be expired, and never come back.
            Some(floor) if floor.is_infinite() => return Err(StoreError::InfiniteFloor),
            Some(AnyTime(floor)) => batch.expire_before(floor),
            None => {}
        }
        let batch = &*batch;
        let mut counts = Counts { duplicate: batch.duplicate, expired: batch.expired, ..Counts::default() };
        let mut refused = Vec::new();
        counts += self.store_results(transaction, batch, &mut refused)?;
        counts.gaps = insert_gaps(transaction, batch, &mut refused)?;
        if counts.inserted + counts.superseded > 0 {
            let hours = marks::hours(batch.results.iter().map(|row| row.result.scheduled_at));
            let doing = "cannot mark hours as changed";
            let mark = self.prepared(transaction, marks::MARK, doing)?;
            transaction.execute(&mark, &[&hours]).map_err(failed(doing))?;
        }
        Ok((counts, refused))
    }

    fn prepared(
        &mut self,
        transaction: &mut Transaction<'_>,
        sql: &'static str,
        doing: &'static str,
    ) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = transaction.prepare(sql).map_err(StoreError::statement(doing))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Forgets which days have a partition: one was found missing.
    pub fn forget_days(&mut self) {
        self.days.clear();
    }

    /// Makes the partitions of the batch's days, before its transaction.
    fn ensure_days(&mut self, client: &mut Client, batch: &Batch) -> Result<(), StoreError> {
        let wanted: BTreeSet<Date> =
            batch.results.iter().map(|row| utc_day(row.result.scheduled_at)).collect();
        for day in wanted {
            if !self.days.contains(&day) {
                client
                    .execute("SELECT webmon.ensure_result_partition($1)", &[&day])
                    .map_err(StoreError::statement("cannot make a day's partition"))?;
                self.days.insert(day);
            }
        }
        Ok(())
    }

    /// Stores a batch's results: copies them, as long as they are new.
    fn store_results(
        &mut self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        refused: &mut Vec<Letter>,
    ) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let mut fresh: Vec<&Row> = batch.results.iter().collect();
        let mut higher = Vec::new();
        if self.look_ups > 0 {
            self.look_ups -= 1;
            let stored = self.look_up(transaction, &fresh)?;
            let all = std::mem::take(&mut fresh);
            for (row, stored) in all.into_iter().zip(stored) {
                match stored {
                    None => fresh.push(row),
                    Some(outcome) if row.result.outcome > outcome => higher.push(row),
                    // Nothing that is stored is ever replaced by a lower one.
                    Some(_) => counts.duplicate += 1,
                }
            }
        }
        if fresh.len() >= COPY_FROM {
            if let Some(copied) = self.try_copy(transaction, &fresh)? {
                counts += copied;
                fresh.clear();
            } else {
                self.look_ups = LOOK_UPS_AFTER_CONFLICT;
            }
        }
        counts += self.insert_results(transaction, batch, &fresh, refused)?;
        counts += self.insert_results(transaction, batch, &higher, refused)?;
        Ok(counts)
    }

    /// The outcomes that are stored already of the identities of `rows`.
    fn look_up(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &[&Row],
    ) -> Result<Vec<Option<Outcome>>, StoreError> {
        let doing = "cannot look up results";
        let sql = include_str!("../../../sql/queries/ingest/look_up_results.sql");
        let mut stored = vec![None; rows.len()];
        for (day, places) in by_day(rows) {
            let of_day = || places.iter().map(|place| rows[*place]);
            let sites: Vec<i32> = of_day().map(|row| row.ids.site).collect();
            let locations: Vec<i32> = of_day().map(|row| row.ids.location).collect();
            let instants: Vec<Instant> = of_day().map(|row| Instant(row.result.scheduled_at)).collect();
            let (from, to) = bounds(day);
            let found = transaction
                .query(sql, &[&sites, &locations, &instants, &from, &to])
                .map_err(StoreError::statement(doing))?;
            for row in found {
                let outcome: StoredOutcome = row.try_get(1).map_err(StoreError::statement(doing))?;
                stored[places[row.get::<_, i64>(0) as usize - 1]] = Some(outcome.0);
            }
        }
        Ok(stored)
    }

    /// Inserts `rows`, all but those that the database refuses for what is in them.
    fn insert_results(
        &mut self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        rows: &[&Row],
        refused: &mut Vec<Letter>,
    ) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let mut work = |transaction: &mut Transaction<'_>, rows: &[&Row]| {
            counts += self.try_insert(transaction, rows)?;
            Ok(())
        };
        bisect(transaction, rows, &mut work, &mut |row, error| {
            refused.push(batch.refused(&row.source, &error.to_string()));
        })?;
        Ok(counts)
    }

    /// Copies `rows` straight into the table, or returns none where one of them is there already or cannot be
    /// stored: COPY takes all or nothing.
    fn try_copy(
        &mut self,
        transaction: &mut Transaction<'_>,
        rows: &[&Row],
    ) -> Result<Option<Counts>, StoreError> {
        let data = Columns::of(rows).copy_format().map_err(StoreError::Encode)?;
        let mut savepoint =
            transaction.savepoint("copy").map_err(StoreError::statement("cannot set a savepoint"))?;
        let mut copy = || -> Result<u64, postgres::Error> {
            let mut writer =
                savepoint.copy_in(include_str!("../../../sql/queries/ingest/copy_results.sql"))?;
            // What keeps the data from being written is told by the end of the copy.
            let _ = writer.write_all(&data);
            writer.finish()
        };
        match copy() {
            Ok(copied) => {
                savepoint.commit().map_err(StoreError::statement("cannot release a savepoint"))?;
                Ok(Some(Counts { inserted: copied as i64, ..Counts::default() }))
            }
            Err(cause) => {
                let conflict = cause.code() == Some(&SqlState::UNIQUE_VIOLATION);
                let error = StoreError::statement("cannot copy results")(cause);
                if !conflict && error.remedy() != Remedy::Bisect {
                    return Err(error);
                }
                savepoint.rollback().map_err(StoreError::statement("cannot roll back to a savepoint"))?;
                Ok(None)
            }
        }
    }

    fn try_insert(&mut self, transaction: &mut Transaction<'_>, rows: &[&Row]) -> Result<Counts, StoreError> {
        let columns = Columns::of(rows);
        let parameters = columns.parameters();
        let failed = StoreError::statement;
        let insert = self.prepared(
            transaction,
            include_str!("../../../sql/queries/ingest/insert_results.sql"),
            "cannot insert results",
        )?;
        let inserted =
            transaction.execute(&insert, &parameters).map_err(failed("cannot insert results"))? as i64;
        let met = rows.len() as i64 - inserted;
        let mut superseded = 0;
        if met > 0 {
            let sql = include_str!("../../../sql/queries/ingest/supersede_results.sql");
            for (day, places) in by_day(rows) {
                let of_day: Vec<&Row> = places.into_iter().map(|place| rows[place]).collect();
                let columns = Columns::of(&of_day);
                let (from, to) = bounds(day);
                let mut parameters = columns.parameters().to_vec();
                parameters.extend([&from as &(dyn ToSql + Sync), &to]);
                superseded +=
                    transaction.execute(sql, &parameters).map_err(failed("cannot replace results"))? as i64;
            }
        }
        Ok(Counts { inserted, superseded, duplicate: met - superseded, ..Counts::default() })
    }
}
