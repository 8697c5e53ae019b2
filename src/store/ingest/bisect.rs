//! Finds by halving which items the database refuses because of their data, so that their neighbours are stored.

use postgres::Transaction;

use crate::database::Remedy;
use crate::store::error::StoreError;

/// Does `work` on `items` under a savepoint. If the database refuses them because of the data in one of them, does it
/// on each half. Passes each item that is refused alone to `refuse`.
///
/// # Errors
/// Any other error of `work`. The transaction must then be given up.
pub(crate) fn bisect<T: Copy>(
    transaction: &mut Transaction<'_>,
    items: &[T],
    work: &mut impl FnMut(&mut Transaction<'_>, &[T]) -> Result<(), StoreError>,
    refuse: &mut impl FnMut(T, StoreError),
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut savepoint =
        transaction.savepoint("bisect").map_err(StoreError::statement("cannot set a savepoint"))?;
    let error = match work(&mut savepoint, items) {
        Ok(()) => return savepoint.commit().map_err(StoreError::statement("cannot release a savepoint")),
        Err(error) if error.remedy() == Remedy::Bisect => error,
        Err(error) => return Err(error),
    };
    savepoint.rollback().map_err(StoreError::statement("cannot roll back to a savepoint"))?;
    if let [item] = items {
        refuse(*item, error);
        return Ok(());
    }
    let (left, right) = items.split_at(items.len() / 2);
    bisect(transaction, left, work, refuse)?;
    bisect(transaction, right, work, refuse)
}
