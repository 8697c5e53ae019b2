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
use super::late::{Late, NOTE_LATE};
use super::letters::insert_dead_letters;
use super::notes::{NOTE, News};
use crate::database::{AnyTime, Remedy};
use crate::record::Outcome;
use crate::store::error::StoreError;
use crate::store::history::{marks, retention};
use crate::store::stored_outcome::StoredOutcome;

/// From this many rows on, COPY is worth its savepoint.
const COPY_FROM: usize = 200;
/// How many batches are looked up first after one that could not be copied. Where twins check, or in a replay, most
/// copies would fail, and each would leave its rows behind as dead ones.
const LOOK_UPS_AFTER_CONFLICT: u32 = 64;

/// How a commit ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// Stored, and the offset moved.
    Stored(Counts),
    /// The claim was lost. Nothing was stored; another writer goes on from the same offset.
    ClaimLost,
}

/// What a connection knows. Each connection starts with a new one.
#[derive(Default)]
pub(crate) struct Ingest {
    dimensions: Dimensions,
    days: BTreeSet<Date>,
    statements: HashMap<&'static str, Statement>,
    /// How many of the next batches are looked up first, because an earlier one met rows that were stored already.
    look_ups: u32,
}

impl Ingest {
    /// Stores `batch` under `claim`. After an error nothing is stored, with one exception: a commit that a lost
    /// connection cut off may have taken effect. The offset tells.
    pub(crate) fn store(
        &mut self,
        client: &mut Client,
        claims: &Claims,
        claim: Claim,
        batch: &mut Batch,
    ) -> Result<Committed, StoreError> {
        self.prepare(client, batch, claims.lease)?;

        let failed = StoreError::statement;
        let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
        // After a crash of the server, rows and offset go back together, so waiting for the disk gains nothing. A
        // writer that stops between two statements must not hold its locks for ever. A writer that waits for such locks
        // must come back, so that it can end the holder's connection. Replaced rows are found by the primary key: for a
        // hash or merge join the planner may read the whole day, once per batch.
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

    /// Prepares a batch before its transaction: finds the ids, sorts the rows, and makes partitions for their days.
    pub(crate) fn prepare(
        &mut self,
        client: &mut Client,
        batch: &mut Batch,
        patience: Duration,
    ) -> Result<(), StoreError> {
        self.dimensions.resolve(client, batch, patience)?;
        batch.finish();
        self.ensure_days(client, batch)
    }

    /// Writes a batch's results and gaps, and marks their hours as changed. Returns what became of them, and those that
    /// the database refuses.
    pub(crate) fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        batch: &mut Batch,
    ) -> Result<(Counts, Vec<Letter>), StoreError> {
        let failed = StoreError::statement;
        let doing = "cannot read the floor of retention";
        let floor = self.prepared(transaction, retention::FLOOR, doing)?;
        let floor: Option<AnyTime> = transaction.query_one(&floor, &[]).map_err(failed(doing))?.get(0);
        match floor {
            // Every result would expire and never come back.
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
        if counts.inserted + counts.superseded + counts.gaps > 0 {
            let news = News::of(batch);
            let doing = "cannot note which sites must be judged";
            let note = self.prepared(transaction, NOTE, doing)?;
            transaction
                .execute(&note, &[&news.sites, &news.locations, &news.newest, &news.bad])
                .map_err(failed(doing))?;
        }
        let late = Late::of(batch);
        if !late.checkers.is_empty() {
            let doing = "cannot note late results";
            let note = self.prepared(transaction, NOTE_LATE, doing)?;
            transaction.execute(&note, &[&late.checkers, &late.sent, &late.late_s]).map_err(failed(doing))?;
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

    /// Forgets which days have a partition, because one was found missing.
    pub(crate) fn forget_days(&mut self) {
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
                    .map_err(StoreError::statement("cannot create the partition of a day"))?;
                self.days.insert(day);
            }
        }
        Ok(())
    }

    /// Stores a batch's results. Copies them as long as they are new.
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
                    // A stored result is never replaced by a lower one.
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

    /// Returns the outcomes that are stored already for the identities of `rows`.
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

    /// Inserts `rows`, except those that the database refuses because of their data.
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

    /// Copies `rows` straight into the table. Returns none if one of them is stored already or cannot be stored,
    /// because COPY takes all or nothing.
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
            // If the data cannot be written, the end of the copy says why.
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
