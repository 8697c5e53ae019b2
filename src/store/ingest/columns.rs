//! Results as columns: one array for each column of `webmon.check_results`. The table below is the only list of the
//! columns in Rust. The statements of `insert_results.sql`, `supersede_results.sql` and `copy_results.sql` list them in
//! the same order.

use std::error::Error;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use postgres::types::{IsNull, Json, ToSql, Type, to_sql_checked};

use super::batch::Row;
use super::codes::{bit, error_code, http_code, outcome_code, tls_code};
use super::ids::Ids;
use crate::record::{CheckResult, Hop, Sample, Try};

/// Makes [`Columns`] of lines `name: type in Rust = type in PostgreSQL, value;`.
macro_rules! columns {
    ($life:lifetime, $result:ident, $ids:ident; $($name:ident: $rust:ty = $postgres:ident, $value:expr;)+) => {
        #[derive(Default)]
        pub(crate) struct Columns<$life> { $($name: Vec<$rust>),+ }

        const NAMES: &[&str] = &[$(stringify!($name)),+];
        const TYPES: [Type; NAMES.len()] = [$(Type::$postgres),+];

        impl<$life> Columns<$life> {
            // Decoding has checked every range: the casts lose nothing.
            fn push(&mut self, $result: &$life CheckResult, $ids: Ids) {
                $(self.$name.push($value);)+
            }

            fn columns(&self) -> [&dyn Column; NAMES.len()] {
                [$(&self.$name),+]
            }
        }
    };
}

columns! { 'a, result, ids;
    scheduled_at: Instant = TIMESTAMPTZ, Instant(result.scheduled_at);
    cert_not_after: Option<Instant> = TIMESTAMPTZ, result.cert_not_after.map(Instant);
    site_id: i32 = INT4, ids.site;
    version_id: i32 = INT4, ids.version;
    checker_id: i32 = INT4, ids.checker;
    next_after_s: Option<i32> = INT4, result.next_at.map(|next| (next.as_second() - result.scheduled_at.as_second()) as i32);
    started_after_us: Option<i32> = INT4, result.started_at.map(|started| (started.as_microsecond() - result.scheduled_at.as_microsecond()) as i32);
    dns_us: Option<i32> = INT4, micros(result.dns_us);
    connect_us: Option<i32> = INT4, micros(result.connect_us);
    tls_us: Option<i32> = INT4, micros(result.tls_us);
    ttfb_us: Option<i32> = INT4, micros(result.ttfb_us);
    download_us: Option<i32> = INT4, micros(result.download_us);
    total_us: Option<i32> = INT4, micros(result.total_us);
    body_bytes: Option<i32> = INT4, micros(result.body_bytes);
    location_id: i32 = INT4, ids.location;
    certificate_id: Option<i32> = INT4, ids.certificate;
    http_status: Option<i16> = INT2, result.http_status.map(|status| status as i16);
    redirects: Option<i16> = INT2, some(result.redirects as i16);
    attempts: i16 = INT2, result.attempts as i16;
    failed_expectations: Option<i16> = INT2, some(result.failed_expectations.iter().fold(0, |mask, e| mask | bit(*e)));
    error_type: Option<i16> = INT2, result.error_type.map(error_code);
    outcome: i8 = CHAR, outcome_code(result.outcome);
    http_version: Option<i8> = CHAR, result.http_version.map(http_code);
    tls_version: Option<i8> = CHAR, result.tls_version.map(tls_code);
    body_matched: Option<bool> = BOOL, result.body_matched;
    body_truncated: Option<bool> = BOOL, some(result.body_truncated);
    degraded: Option<bool> = BOOL, some(result.degraded);
    remote_ip: Option<IpAddr> = INET, result.remote_ip;
    final_url: Option<&'a str> = TEXT, result.final_url.as_deref();
    error_detail: Option<&'a str> = TEXT, result.error_detail.as_deref();
    error_message: Option<&'a str> = TEXT, result.error_message.as_deref();
    sample: Option<Json<&'a Sample>> = JSONB, result.sample.as_ref().map(Json);
    hops: Option<Json<&'a [Hop]>> = JSONB, filled(&result.hops);
    tries: Option<Json<&'a [Try]>> = JSONB, filled(&result.tries);
}

/// Null for zero and false, which saves their bytes in nearly every row.
fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// Null for an empty list.
fn filled<T>(list: &[T]) -> Option<Json<&[T]>> {
    (!list.is_empty()).then_some(Json(list))
}

fn micros(value: Option<u32>) -> Option<i32> {
    value.map(|value| value as i32)
}

impl<'a> Columns<'a> {
    pub(super) fn of(rows: &[&'a Row]) -> Columns<'a> {
        let mut columns = Columns::default();
        for row in rows {
            columns.push(&row.result, row.ids);
        }
        columns
    }

    /// The parameters of `insert_results.sql` and `supersede_results.sql`.
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); NAMES.len()] {
        self.columns().map(Column::parameter)
    }

    /// The rows in the binary format of COPY (PostgreSQL manual, "COPY: Binary Format").
    pub(super) fn copy_format(&self) -> Result<BytesMut, Box<dyn Error + Sync + Send>> {
        let columns = self.columns();
        let rows = self.scheduled_at.len();
        let mut out = BytesMut::with_capacity(64 + rows * 320);
        out.put_slice(b"PGCOPY\n\xff\r\n\0");
        out.put_i32(0); // flags
        out.put_i32(0); // no header extension
        for row in 0..rows {
            out.put_i16(columns.len() as i16);
            for (column, type_) in columns.iter().zip(&TYPES) {
                let length_at = out.len();
                out.put_i32(-1);
                if let IsNull::No = column.encode(row, type_, &mut out)? {
                    let length = (out.len() - length_at - 4) as i32;
                    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
        out.put_i16(-1); // the end
        Ok(out)
    }
}

/// A `timestamptz`, as microseconds since 2000 (PostgreSQL's `timestamp.h`). The driver's own encoding, by way of a
/// rounded duration, costs as much as four other columns.
#[derive(Debug)]
pub(crate) struct Instant(pub Timestamp);

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        const EPOCH_US: i64 = 946_684_800_000_000;
        out.put_i64(self.0.as_microsecond() - EPOCH_US);
        Ok(IsNull::No)
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// A column of any type, as one parameter or value by value.
trait Column {
    fn parameter(&self) -> &(dyn ToSql + Sync);

    fn encode(
        &self,
        row: usize,
        type_: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>>;
}

impl<T: ToSql + Sync> Column for Vec<T> {
    fn parameter(&self) -> &(dyn ToSql + Sync) {
        self
    }

    fn encode(
        &self,
        row: usize,
        type_: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self[row].to_sql(type_, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_list_the_columns_in_the_order_of_the_table() {
        let statements = [
            include_str!("../../../sql/queries/ingest/copy_results.sql"),
            include_str!("../../../sql/queries/ingest/insert_results.sql"),
            include_str!("../../../sql/queries/ingest/supersede_results.sql"),
        ];
        let expected = NAMES.join(",");
        for statement in statements {
            let words: String = statement.split_whitespace().collect();
            assert!(words.contains(&format!("({expected})")), "{statement}");
        }
    }
}
