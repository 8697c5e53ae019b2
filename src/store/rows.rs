//! Results as columns: one array a column of `webmon.check_results`, in the order of `insert_results.sql`.

use std::error::Error;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use postgres::types::{IsNull, Json, ToSql, Type, to_sql_checked};

use super::batch::Row;
use super::dimensions::Ids;
use crate::result::{CheckResult, ErrorType, Expectation, HttpVersion, Outcome, Sample, TlsVersion};

#[derive(Default)]
pub(super) struct Columns<'a> {
    scheduled_at: Vec<Instant>,
    cert_not_after: Vec<Option<Instant>>,
    site_id: Vec<i32>,
    version_id: Vec<i32>,
    checker_id: Vec<i32>,
    next_after_s: Vec<Option<i32>>,
    started_after_us: Vec<Option<i32>>,
    dns_us: Vec<Option<i32>>,
    connect_us: Vec<Option<i32>>,
    tls_us: Vec<Option<i32>>,
    ttfb_us: Vec<Option<i32>>,
    download_us: Vec<Option<i32>>,
    total_us: Vec<Option<i32>>,
    body_bytes: Vec<Option<i32>>,
    location_id: Vec<i32>,
    http_status: Vec<Option<i16>>,
    redirects: Vec<i16>,
    attempts: Vec<i16>,
    failed_expectations: Vec<i16>,
    error_type: Vec<Option<i16>>,
    outcome: Vec<i8>,
    http_version: Vec<Option<i8>>,
    tls_version: Vec<Option<i8>>,
    body_matched: Vec<Option<bool>>,
    body_truncated: Vec<bool>,
    remote_ip: Vec<Option<IpAddr>>,
    final_url: Vec<Option<&'a str>>,
    error_detail: Vec<Option<&'a str>>,
    error_message: Vec<Option<&'a str>>,
    sample: Vec<Option<Json<&'a Sample>>>,
}

impl<'a> Columns<'a> {
    pub fn of(rows: &[&'a Row]) -> Columns<'a> {
        let mut columns = Columns::default();
        for row in rows {
            columns.push(&row.result, row.ids);
        }
        columns
    }

    fn push(&mut self, result: &'a CheckResult, ids: Ids) {
        let scheduled_us = result.scheduled_at.as_microsecond();
        // Decoding has checked every range: the casts below lose nothing.
        let micros = |value: Option<u32>| value.map(|value| value as i32);
        self.scheduled_at.push(Instant(result.scheduled_at));
        self.cert_not_after.push(result.cert_not_after.map(Instant));
        self.site_id.push(ids.site);
        self.version_id.push(ids.version);
        self.checker_id.push(ids.checker);
        self.next_after_s
            .push(result.next_at.map(|next| (next.as_second() - result.scheduled_at.as_second()) as i32));
        self.started_after_us
            .push(result.started_at.map(|started| (started.as_microsecond() - scheduled_us) as i32));
        self.dns_us.push(micros(result.dns_us));
        self.connect_us.push(micros(result.connect_us));
        self.tls_us.push(micros(result.tls_us));
        self.ttfb_us.push(micros(result.ttfb_us));
        self.download_us.push(micros(result.download_us));
        self.total_us.push(micros(result.total_us));
        self.body_bytes.push(micros(result.body_bytes));
        self.location_id.push(ids.location);
        self.http_status.push(result.http_status.map(|status| status as i16));
        self.redirects.push(result.redirects as i16);
        self.attempts.push(result.attempts as i16);
        self.failed_expectations.push(result.failed_expectations.iter().fold(0, |mask, e| mask | bit(*e)));
        self.error_type.push(result.error_type.map(error_code));
        self.outcome.push(outcome_code(result.outcome));
        self.http_version.push(result.http_version.map(http_code));
        self.tls_version.push(result.tls_version.map(tls_code));
        self.body_matched.push(result.body_matched);
        self.body_truncated.push(result.body_truncated);
        self.remote_ip.push(result.remote_ip);
        self.final_url.push(result.final_url.as_deref());
        self.error_detail.push(result.error_detail.as_deref());
        self.error_message.push(result.error_message.as_deref());
        self.sample.push(result.sample.as_ref().map(Json));
    }

    /// The parameters of `insert_results.sql` and `supersede_results.sql`.
    pub fn parameters(&self) -> [&(dyn ToSql + Sync); 30] {
        self.columns().map(|column| column.parameter())
    }

    /// The rows in the binary format of COPY (PostgreSQL manual, "COPY: Binary Format").
    pub fn copy_format(&self) -> Result<BytesMut, Box<dyn Error + Sync + Send>> {
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

    fn columns(&self) -> [&dyn Column; 30] {
        [
            &self.scheduled_at,
            &self.cert_not_after,
            &self.site_id,
            &self.version_id,
            &self.checker_id,
            &self.next_after_s,
            &self.started_after_us,
            &self.dns_us,
            &self.connect_us,
            &self.tls_us,
            &self.ttfb_us,
            &self.download_us,
            &self.total_us,
            &self.body_bytes,
            &self.location_id,
            &self.http_status,
            &self.redirects,
            &self.attempts,
            &self.failed_expectations,
            &self.error_type,
            &self.outcome,
            &self.http_version,
            &self.tls_version,
            &self.body_matched,
            &self.body_truncated,
            &self.remote_ip,
            &self.final_url,
            &self.error_detail,
            &self.error_message,
            &self.sample,
        ]
    }
}

/// A `timestamptz`, as microseconds since 2000 (PostgreSQL's `timestamp.h`). The driver's own way over a rounded
/// duration costs as much as four other columns.
#[derive(Debug)]
pub(super) struct Instant(pub Timestamp);

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

/// A column of any type: as one parameter, or value by value.
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

/// The types of the columns, in the order of [`Columns::columns`].
const TYPES: [Type; 30] = [
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::INT2,
    Type::INT2,
    Type::INT2,
    Type::INT2,
    Type::INT2,
    Type::CHAR,
    Type::CHAR,
    Type::CHAR,
    Type::BOOL,
    Type::BOOL,
    Type::INET,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::JSONB,
];

/// The codes of `webmon.error_types`.
pub(super) fn error_code(error_type: ErrorType) -> i16 {
    match error_type {
        ErrorType::Dns => 1,
        ErrorType::Connect => 2,
        ErrorType::Tls => 3,
        ErrorType::Timeout => 4,
        ErrorType::Protocol => 5,
        ErrorType::Redirect => 6,
        ErrorType::Body => 7,
        ErrorType::BlockedAddress => 8,
        ErrorType::ExpectationFailed => 9,
        ErrorType::Late => 101,
        ErrorType::Overlap => 102,
        ErrorType::Saturated => 103,
        ErrorType::Cancelled => 104,
        ErrorType::NetworkDown => 105,
        ErrorType::CheckerDown => 106,
        ErrorType::Maintenance => 107,
    }
}

fn outcome_code(outcome: Outcome) -> i8 {
    match outcome {
        Outcome::Success => b's' as i8,
        Outcome::Failure => b'f' as i8,
        Outcome::Missed => b'm' as i8,
    }
}

/// The outcome of a code of `check_results.outcome`.
pub(super) fn outcome_of(code: i8) -> Outcome {
    match code as u8 {
        b's' => Outcome::Success,
        b'f' => Outcome::Failure,
        _ => Outcome::Missed,
    }
}

fn http_code(version: HttpVersion) -> i8 {
    match version {
        HttpVersion::Http10 => b'0' as i8,
        HttpVersion::Http11 => b'1' as i8,
        HttpVersion::Http2 => b'2' as i8,
        HttpVersion::Http3 => b'3' as i8,
    }
}

fn tls_code(version: TlsVersion) -> i8 {
    match version {
        TlsVersion::Tls12 => b'2' as i8,
        TlsVersion::Tls13 => b'3' as i8,
    }
}

/// The bit in `failed_expectations`, as the view `webmon.checks` reads it.
fn bit(expectation: Expectation) -> i16 {
    match expectation {
        Expectation::Status => 1,
        Expectation::Body => 2,
        Expectation::NotBody => 4,
        Expectation::Header => 8,
        Expectation::MaxTime => 16,
        Expectation::Certificate => 32,
    }
}
