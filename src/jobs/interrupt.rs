//! That a job is to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a job's handler can see of its interruption.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
