//! Dead letters: records that could not be decoded or stored. They can be listed, exported, retried and discarded.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;
use serde::{Serialize, Serializer};

use super::error::StoreError;
use super::ingest::batch::{Admissible, Batch, Clocks};
use super::ingest::claims::newest_stored;
use super::ingest::counts::Counts;
use super::ingest::transaction::Ingest;
use crate::config;
use crate::database::AnyTime;
use crate::kafka::Fetched;

/// Letters read at a time.
const PAGE: i64 = 50;
/// How long to wait for a letter that another transaction has locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record that could not be decoded or stored, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Distinguishes it from another letter at the same offset, which there can be after a topic was recreated.
    pub digest: String,
    /// Its timestamp, if it had one.
    pub record_at: Option<Timestamp>,
    /// Its key. In JSON it is a text, in which bytes that are not UTF-8 are replaced.
    #[serde(serialize_with = "lossy")]
    pub key: Option<Vec<u8>>,
    /// Its value. In JSON it is a text like the key.
    #[serde(serialize_with = "lossy")]
    pub value: Option<Vec<u8>>,
    /// The class of what is wrong: `empty`, `too_large`, `malformed`, `unknown_version`, `invalid`, `ahead_of_time`, or
    /// `refused` by the database.
    pub reason: String,
    /// What is wrong, for people.
    pub detail: String,
    /// When it was stored as a dead letter.
    pub stored_at: Timestamp,
}

fn lossy<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(String::from_utf8_lossy).serialize(serializer)
}

/// Selects dead letters: those that match every field that is set.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Of this partition.
    pub partition: Option<i32>,
    /// At this offset.
    pub offset: Option<i64>,
    /// For this reason.
    pub reason: Option<String>,
}

/// The longest reason of a discard, in bytes.
pub const MAX_REASON: usize = 1_000;

/// What became of the letters that were retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// Stored, or found stored already. They are no longer dead letters.
    pub stored: u64,
    /// Still dead letters.
    pub still_dead: u64,
}

/// What became of the letters that were to be discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// Deleted. The ledger counts them as discarded.
    pub discarded: u64,
    /// Not deleted: their row of the ledger was being merged, or another process dealt with them.
    pub left: u64,
}

/// Returns the dead letters of `topic` that match `filter`, ordered by partition and offset, at most `limit`.
///
/// # Errors
/// [`StoreError::Database`].
pub fn dead_letters(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    page(client, topic, filter, None, limit.into())
}

/// Returns how many dead letters of `topic` match `filter`.
///
/// # Errors
/// [`StoreError::Database`].
pub fn count_dead_letters(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM webmon.dead_letters \
               WHERE topic = $1 AND ($2::integer IS NULL OR partition = $2) \
                 AND ($3::bigint IS NULL OR record_offset = $3) AND ($4::text IS NULL OR reason = $4)";
    client
        .query_one(sql, &[&topic, &filter.partition, &filter.offset, &filter.reason])
        .map(|row| row.get::<_, i64>(0) as u64)
        .map_err(StoreError::statement("cannot count dead letters"))
}

/// Retries the dead letters of `topic` that match `filter`, for example after an upgrade or when a constraint is gone.
/// Each is stored in its own transaction, which also corrects the ledger. `progress` is told how many were tried; when
/// it returns `false`, the call stops after that letter.
///
/// # Errors
/// [`StoreError::Database`]. Letters that were stored before the error stay stored.
pub fn retry_dead_letters(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
    store: &config::Store,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Retried, StoreError> {
    let mut ingest = Ingest::default();
    let mut retried = Retried::default();
    let mut last: Option<DeadLetter> = None;
    loop {
        let letters = page(client, topic, filter, last.as_ref(), PAGE)?;
        if letters.is_empty() {
            return Ok(retried);
        }
        let window = Admissible::around(clocks(client)?, store.retention.results, store.max_ahead);
        for letter in &letters {
            if retry(client, &mut ingest, topic, letter, window)? {
                retried.stored += 1;
            } else {
                retried.still_dead += 1;
            }
            if !progress(retried.stored + retried.still_dead) {
                return Ok(retried);
            }
        }
        last = letters.into_iter().next_back();
    }
}

/// Deletes the dead letters of `topic` that match `filter`. The ledger counts their records as discarded, and
/// `webmon.dead_letter_discards` keeps who did it, when, and `reason`. `progress` is told how many were looked at; when
/// it returns `false`, the call stops after that page.
///
/// # Errors
/// [`StoreError::Invalid`] for a reason that is empty, longer than [`MAX_REASON`], or contains NUL.
/// [`StoreError::Database`]; letters that were discarded before the error stay discarded.
pub fn discard_dead_letters(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
    reason: &str,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Discarded, StoreError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON || reason.contains('\0') {
        return Err(StoreError::Invalid(format!(
            "the reason of a discard has {} bytes: expected 1 to {MAX_REASON}, without NUL",
            reason.len()
        )));
    }
    let failed = StoreError::statement;
    let mut done = Discarded::default();
    let mut last: Option<DeadLetter> = None;
    loop {
        let letters = page(client, topic, filter, last.as_ref(), PAGE)?;
        if letters.is_empty() {
            return Ok(done);
        }
        let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
        transaction
            .batch_execute(&format!("SET LOCAL lock_timeout = {}", PATIENCE.as_millis()))
            .map_err(failed("cannot set up a transaction"))?;
        let discard = transaction
            .prepare(include_str!("../../sql/queries/dead_letters/discard_dead_letter.sql"))
            .map_err(failed("cannot discard a dead letter"))?;
        let mut discarded = 0;
        for letter in &letters {
            discarded += transaction
                .execute(&discard, &[&topic, &letter.partition, &letter.offset, &letter.digest])
                .map_err(failed("cannot discard a dead letter"))?;
        }
        if discarded > 0 {
            transaction
                .execute(
                    "INSERT INTO webmon.dead_letter_discards (topic, letters, reason) VALUES ($1, $2, $3)",
                    &[&topic, &(discarded as i64), &reason],
                )
                .map_err(failed("cannot record a discard"))?;
        }
        transaction.commit().map_err(failed("cannot commit"))?;
        done.discarded += discarded;
        done.left += letters.len() as u64 - discarded;
        if !progress(done.discarded + done.left) {
            return Ok(done);
        }
        last = letters.into_iter().next_back();
    }
}

/// Passes the dead letters of `topic` that match `filter` to `each`, ordered by partition and offset. Reads a page at a
/// time. Returns how many there were.
///
/// # Errors
/// [`StoreError::Database`], and what `each` returns.
pub fn export_dead_letters<E: From<StoreError>>(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
    each: &mut dyn FnMut(&DeadLetter) -> Result<(), E>,
) -> Result<u64, E> {
    let mut exported = 0;
    let mut last: Option<DeadLetter> = None;
    loop {
        let letters = page(client, topic, filter, last.as_ref(), PAGE)?;
        if letters.is_empty() {
            return Ok(exported);
        }
        for letter in &letters {
            each(letter)?;
            exported += 1;
        }
        last = letters.into_iter().next_back();
    }
}

fn page(
    client: &mut Client,
    topic: &str,
    filter: &DeadLetterFilter,
    after: Option<&DeadLetter>,
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = client
        .query(
            include_str!("../../sql/queries/dead_letters/list_dead_letters.sql"),
            &[
                &topic,
                &filter.partition,
                &filter.offset,
                &filter.reason,
                &after.map(|letter| letter.partition),
                &after.map(|letter| letter.offset),
                &after.map(|letter| &letter.digest),
                &limit,
            ],
        )
        .map_err(StoreError::statement("cannot read dead letters"))?;
    let letter = |row: &postgres::Row| DeadLetter {
        partition: row.get("partition"),
        offset: row.get("record_offset"),
        digest: row.get("digest"),
        record_at: row.get("record_at"),
        key: row.get("key"),
        value: row.get("value"),
        reason: row.get("reason"),
        detail: row.get("detail"),
        stored_at: row.get("stored_at"),
    };
    Ok(rows.iter().map(letter).collect())
}

/// Reads the clocks.
fn clocks(client: &mut Client) -> Result<Clocks, StoreError> {
    let server: AnyTime = client
        .query_one("SELECT clock_timestamp()", &[])
        .map(|row| row.get(0))
        .map_err(StoreError::statement("cannot read the server's clock"))?;
    Ok(Clocks { server: server.0, own: Timestamp::now(), newest_stored: newest_stored(client)? })
}

/// Stores one letter, if that is possible now. Returns whether it is no longer a dead letter.
fn retry(
    client: &mut Client,
    ingest: &mut Ingest,
    topic: &str,
    letter: &DeadLetter,
    window: Admissible,
) -> Result<bool, StoreError> {
    let failed = StoreError::statement;
    let record = Fetched {
        partition: letter.partition,
        offset: letter.offset,
        timestamp_ms: letter.record_at.map(Timestamp::as_millisecond),
        key: letter.key.as_deref(),
        value: letter.value.as_deref(),
    };
    let mut batch = Batch::new(letter.partition, letter.offset);
    batch.add(record, window);
    if batch.dead.is_empty() {
        ingest.prepare(client, &mut batch, PATIENCE)?;
    }
    if !batch.dead.is_empty() {
        return Ok(false);
    }
    let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
    let Some(ledger) = transaction
        .query_opt(
            include_str!("../../sql/queries/dead_letters/take_dead_letter.sql"),
            &[&topic, &letter.partition, &letter.offset, &letter.digest],
        )
        .map_err(failed("cannot take a dead letter"))?
    else {
        // Another process has stored it, or is compacting the ledger. In the second case it stays for the next time.
        drop(transaction);
        let filter =
            DeadLetterFilter { partition: Some(letter.partition), offset: Some(letter.offset), reason: None };
        let left = page(client, topic, &filter, None, PAGE)?;
        return Ok(!left.iter().any(|left| left.digest == letter.digest));
    };
    let (counts, refused) = ingest.write(&mut transaction, &mut batch)?;
    if !refused.is_empty() {
        return Ok(false);
    }
    let Counts { inserted, superseded, duplicate, gaps, expired, dead: _ } = counts;
    let (epoch, minute): (i64, Timestamp) = (ledger.get(0), ledger.get(1));
    transaction
        .execute(
            include_str!("../../sql/queries/dead_letters/recount_dead_letter.sql"),
            &[
                &topic,
                &letter.partition,
                &epoch,
                &minute,
                &inserted,
                &superseded,
                &duplicate,
                &gaps,
                &expired,
            ],
        )
        .map_err(failed("cannot write the ledger"))?;
    transaction.commit().map_err(failed("cannot commit"))?;
    Ok(true)
}
