//! What a process is called in the database.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::text::truncated;

/// A name for this process: short enough to stand whole in application_name, by which the connections of a frozen one
/// can be found. It is told apart from an earlier process with the same id, and two runs of one process are.
pub(crate) fn process_name(host: &str) -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let host = truncated(host, 24);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let mark = jiff::Timestamp::now().as_millisecond() & 0xff_ffff;
    format!("{host}:{}:{mark:x}.{run:x}", std::process::id())
}
