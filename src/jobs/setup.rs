//! What the threads of a worker share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::kind::Kind;
use super::options::WorkerOptions;
use crate::database::process_name;

pub(super) struct Setup {
    pub kinds: BTreeMap<String, Kind>,
    pub kind_names: Vec<String>,
    pub options: WorkerOptions,
    process: String,
    connections: AtomicU32,
}

impl Setup {
    pub(super) fn new(kinds: BTreeMap<String, Kind>, options: WorkerOptions) -> Setup {
        Setup {
            kind_names: kinds.keys().cloned().collect(),
            kinds,
            process: process_name(&options.host),
            options,
            connections: AtomicU32::new(0),
        }
    }

    /// Returns a name for a connection that was not used before, so that nothing meant for an earlier connection
    /// affects this one.
    pub(super) fn next_owner(&self) -> String {
        format!("{}:{}", self.process, self.connections.fetch_add(1, Ordering::Relaxed))
    }
}
