//! Stores gaps in the database.

use jiff::Timestamp;
use postgres::Transaction;

use super::batch::{Batch, GapRow, Letter};
use super::bisect::bisect;
use crate::store::error::StoreError;

/// Stores the batch's gaps and marks their hours, except those gaps that the database refuses because of their data.
/// Returns how many were stored.
pub(super) fn insert_gaps(
    transaction: &mut Transaction<'_>,
    batch: &Batch,
    refused: &mut Vec<Letter>,
) -> Result<i64, StoreError> {
    let mut stored = 0;
    let mut work = |transaction: &mut Transaction<'_>, rows: &[&GapRow]| {
        try_insert_gaps(transaction, batch.oldest, rows)?;
        stored += rows.len() as i64;
        Ok(())
    };
    let rows: Vec<&GapRow> = batch.gaps.iter().collect();
    bisect(transaction, &rows, &mut work, &mut |row, error| {
        refused.push(batch.refused(&row.source, &error.to_string()));
    })?;
    Ok(stored)
}

fn try_insert_gaps(
    transaction: &mut Transaction<'_>,
    oldest: Timestamp,
    rows: &[&GapRow],
) -> Result<(), StoreError> {
    let sites: Vec<i32> = rows.iter().map(|row| row.ids.site).collect();
    let locations: Vec<i32> = rows.iter().map(|row| row.ids.location).collect();
    let checkers: Vec<i32> = rows.iter().map(|row| row.ids.checker).collect();
    let gaps = || rows.iter().map(|row| &row.gap.gap);
    let from: Vec<Timestamp> = gaps().map(|gap| gap.from).collect();
    let to: Vec<Option<Timestamp>> = gaps().map(|gap| gap.to).collect();
    let instants: Vec<i64> = gaps().map(|gap| gap.instants as i64).collect();
    let reasons: Vec<&str> = gaps().map(|gap| gap.reason.as_str()).collect();
    transaction
        .execute(
            include_str!("../../../sql/queries/ingest/mark_gaps.sql"),
            &[&sites, &locations, &from, &to, &instants, &reasons, &oldest],
        )
        .map_err(StoreError::statement("cannot mark the hours of gaps"))?;
    transaction
        .execute(
            include_str!("../../../sql/queries/ingest/insert_gaps.sql"),
            &[&sites, &locations, &from, &to, &instants, &reasons, &checkers],
        )
        .map(drop)
        .map_err(StoreError::statement("cannot store gaps"))
}
