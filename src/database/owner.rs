//! The name of a process in the database.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::text::truncated;

/// A name for this process. It is short enough to fit into application_name, so that the connections of a frozen
/// process can be found by it. It differs from that of an earlier process with the same id, and for each run within one
/// process.
pub(crate) fn process_name(host: &str) -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let host = truncated(host, 24);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let mark = jiff::Timestamp::now().as_millisecond() & 0xff_ffff;
    format!("{host}:{}:{mark:x}.{run:x}", std::process::id())
}
