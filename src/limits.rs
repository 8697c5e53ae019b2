//! The limits that several modules share. The checking side keeps to them, the record and the configuration refuse what
//! exceeds them, and the database has columns for them.

/// The longest key, name, location, checker, label or `error_detail`, in characters.
pub const MAX_TEXT: usize = 200;
/// The most labels of a site.
pub const MAX_LABELS: usize = 16;
/// The longest `url` or `final_url`, in bytes.
pub const MAX_URL: usize = 2_048;
/// The longest `error_message`, in bytes.
pub const MAX_MESSAGE: usize = 1_024;
/// The most redirects of a check that are followed and recorded.
pub const MAX_HOPS: usize = 20;
/// The longest URL of a recorded redirect, in bytes.
pub const MAX_HOP_URL: usize = 1_024;
/// The most recorded tries before the last one: the retries, and the repetitions after the checker stood still.
pub const MAX_TRIES: usize = 8;
/// The most recorded names of a certificate.
pub const MAX_SUBJECT_NAMES: usize = 32;
/// The longest name of a certificate, in bytes: that of a host, with room for a longer one of its subject.
pub const MAX_NAME: usize = 256;
/// The longest sampled body, in bytes of UTF-8.
pub const MAX_SAMPLE_BODY: usize = 4_096;
/// The most sampled headers.
pub const MAX_SAMPLE_HEADERS: usize = 32;
/// The most consecutive failures, consecutive successes, locations, or percent of them, that an incident may require.
pub const MAX_THRESHOLD: u16 = 100;
/// The highest target of uptime, in millionths: 99.9999 %.
pub const MAX_SLO_UPTIME_PPM: u32 = 999_999;
/// The longest time over which a target of uptime is to be met, in days.
pub const MAX_SLO_WINDOW_DAYS: u16 = 90;
/// The most windows of maintenance that a record says.
pub const MAX_MAINTENANCE: usize = 10;
/// The longest window of maintenance, in seconds: 30 days.
pub const MAX_MAINTENANCE_S: u32 = 30 * 86_400;
/// The largest encoded record, in bytes. A larger Kafka value is not parsed. Every valid record is smaller, even one
/// with only control characters, which JSON writes as six bytes each. Kafka's own default limit is larger.
pub const MAX_RECORD: usize = 768 * 1024;
