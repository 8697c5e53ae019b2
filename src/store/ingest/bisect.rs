//! What the database refuses for what is in it is found by halving, so that it costs its neighbours nothing.

use postgres::Transaction;

use crate::database::Remedy;
use crate::store::error::StoreError;

/// Does `work` on `items`, under a savepoint. Where the database refuses them for what is in one of them, does it on each
/// half of them, and hands what is refused by itself to `refuse`.
///
/// # Errors
/// Any other error of `work`: the transaction is to be given up.
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
