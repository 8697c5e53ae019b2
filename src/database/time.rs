//! Times as the database can have them, including `infinity` and years that Rust's types cannot hold.

use std::error::Error;

use jiff::Timestamp;
use postgres::types::{FromSql, Type};

/// Any `timestamptz`. A time too early or too late for a [`Timestamp`] becomes the first or the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnyTime(pub Timestamp);

impl AnyTime {
    /// Whether it is before or after every time that can occur.
    pub(crate) fn is_infinite(self) -> bool {
        self.0 == Timestamp::MIN || self.0 == Timestamp::MAX
    }
}

impl<'a> FromSql<'a> for AnyTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<AnyTime, Box<dyn Error + Sync + Send>> {
        // Microseconds since 2000; the infinities are the least and the greatest (PostgreSQL's `timestamp.h`).
        const EPOCH_US: i64 = 946_684_800_000_000;
        let us = i64::from_be_bytes(raw.try_into()?);
        let limit = if us < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Ok(AnyTime(Timestamp::from_microsecond(us.saturating_add(EPOCH_US)).unwrap_or(limit)))
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_the_database_can_be_read() {
        let read = |us: i64| AnyTime::from_sql(&Type::TIMESTAMPTZ, &us.to_be_bytes()).unwrap().0;
        assert_eq!(read(0).to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(read(-1).to_string(), "1999-12-31T23:59:59.999999Z");
        assert_eq!((read(i64::MIN), read(i64::MAX)), (Timestamp::MIN, Timestamp::MAX));
        // 4714 BC and 294276 AD, the ends of PostgreSQL's times.
        assert!(AnyTime(read(-211_813_488_000_000_000)).0 < read(0));
        assert!(AnyTime(read(9_223_371_331_199_999_999)).is_infinite());
    }
}
