//! Work in one transaction, tried again if that helps.

use postgres::{Client, IsolationLevel, Transaction};

use super::error::{DatabaseError, Remedy};

/// Tries of a transaction that the server rolls back through no fault of its own.
const MAX_TRIES: u32 = 5;

/// Does `work` in a READ COMMITTED transaction. Does it again if the server rolled it back for a deadlock or the like.
pub(crate) fn in_transaction<T>(
    client: &mut Client,
    doing: &'static str,
    mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
) -> Result<T, DatabaseError> {
    let mut tries = 1;
    loop {
        let mut attempt = || {
            let mut transaction =
                client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start()?;
            let done = work(&mut transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        match attempt().map_err(DatabaseError::statement(doing)) {
            Err(error) if error.remedy() == Remedy::Retry && tries < MAX_TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}
