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
/// The longest sampled body, in bytes of UTF-8.
pub const MAX_SAMPLE_BODY: usize = 4_096;
/// The most sampled headers.
pub const MAX_SAMPLE_HEADERS: usize = 32;
/// The most consecutive failures, or locations, that an incident may require.
pub const MAX_THRESHOLD: u16 = 100;
/// The largest encoded record, in bytes. A larger Kafka value is not parsed. Every valid record is smaller, even one
/// with only control characters, which JSON writes as six bytes each. Kafka's own default limit is larger.
pub const MAX_RECORD: usize = 512 * 1024;
