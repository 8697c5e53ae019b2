//! An outcome as the database has it.

use std::error::Error;

use postgres::types::{FromSql, Type};

use crate::record::Outcome;

/// An [`Outcome`], from its code in `check_results` or its word in the views.
pub(super) struct StoredOutcome(pub Outcome);

impl<'a> FromSql<'a> for StoredOutcome {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<StoredOutcome, Box<dyn Error + Sync + Send>> {
        match raw {
            b"s" | b"success" => Ok(StoredOutcome(Outcome::Success)),
            b"f" | b"failure" => Ok(StoredOutcome(Outcome::Failure)),
            b"m" | b"missed" => Ok(StoredOutcome(Outcome::Missed)),
            _ => Err(format!("unknown outcome \"{}\"", raw.escape_ascii()).into()),
        }
    }

    fn accepts(type_: &Type) -> bool {
        matches!(*type_, Type::CHAR | Type::TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_an_error_and_not_missed() {
        let read = |raw: &[u8]| StoredOutcome::from_sql(&Type::CHAR, raw).map(|outcome| outcome.0);
        assert_eq!(read(b"f").unwrap(), Outcome::Failure);
        assert_eq!(read(b"missed").unwrap(), Outcome::Missed);
        assert_eq!(read(b"x").unwrap_err().to_string(), "unknown outcome \"x\"");
    }
}
