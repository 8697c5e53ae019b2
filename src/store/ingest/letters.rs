//! Stores dead letters in the database.

use jiff::Timestamp;
use postgres::Transaction;

use super::batch::Letter;
use super::bisect::bisect;
use crate::store::error::StoreError;

/// Stores dead letters. One that the database refuses is stored without its key and value. Returns how many were not
/// stored already: a replay finds its own.
///
/// # Errors
/// With [`Remedy::Bisect`](crate::database::Remedy::Bisect), if the database refuses even that.
pub(super) fn insert_dead_letters<'a>(
    transaction: &mut Transaction<'_>,
    topic: &str,
    partition: i32,
    dead: impl Iterator<Item = &'a Letter>,
) -> Result<i64, StoreError> {
    let (mut inserted, mut stripped) = (0, Vec::new());
    let mut work = |transaction: &mut Transaction<'_>, letters: &[&Letter]| {
        inserted += try_insert_dead_letters(transaction, topic, partition, letters)?;
        Ok(())
    };
    let letters: Vec<&Letter> = dead.collect();
    bisect(transaction, &letters, &mut work, &mut |letter, error| {
        log::warn!(partition, offset = letter.offset, error = error.to_string(); "the database refuses a dead letter");
        stripped.push(letter.stripped(&error.to_string()));
    })?;
    if stripped.is_empty() {
        return Ok(inserted);
    }
    let stripped: Vec<&Letter> = stripped.iter().collect();
    Ok(inserted + try_insert_dead_letters(transaction, topic, partition, &stripped)?)
}

fn try_insert_dead_letters(
    transaction: &mut Transaction<'_>,
    topic: &str,
    partition: i32,
    dead: &[&Letter],
) -> Result<i64, StoreError> {
    let offsets: Vec<i64> = dead.iter().map(|letter| letter.offset).collect();
    let times: Vec<Option<Timestamp>> = dead.iter().map(|letter| letter.at).collect();
    let keys: Vec<Option<&[u8]>> = dead.iter().map(|letter| letter.key.as_deref()).collect();
    let values: Vec<Option<&[u8]>> = dead.iter().map(|letter| letter.value.as_deref()).collect();
    let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason).collect();
    let details: Vec<&str> = dead.iter().map(|letter| letter.detail.as_str()).collect();
    transaction
        .execute(
            include_str!("../../../sql/queries/ingest/insert_dead_letters.sql"),
            &[&topic, &partition, &offsets, &times, &keys, &values, &reasons, &details],
        )
        .map(|inserted| inserted as i64)
        .map_err(StoreError::statement("cannot store dead letters"))
}
