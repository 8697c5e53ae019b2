//! A thread that works until it is told to end. Others can ask at any time whether it has ended early, and why.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::mutex::lock;
use crate::panicked::{Panicked, guarded};

/// A watched thread. It goes on if this is dropped.
pub(crate) struct Watched(Arc<Ended>);

#[derive(Default)]
struct Ended {
    outcome: Mutex<Option<Result<(), Panicked>>>,
    changed: Condvar,
}

impl Watched {
    pub(crate) fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Watched> {
        let ended = Arc::new(Ended::default());
        let noted = Arc::clone(&ended);
        Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = guarded(name, work);
            let fault = outcome.clone().err();
            *noted.lock() = Some(outcome);
            noted.changed.notify_all();
            if let Some(panicked) = fault {
                panicked.log();
            }
        })?;
        Ok(Watched(ended))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.lock().is_none()
    }

    /// The panic that ended it, if one has.
    pub(crate) fn fault(&self) -> Option<Panicked> {
        self.0.lock().clone().and_then(Result::err)
    }

    /// Waits until it has ended. It must have been told to end before.
    pub(crate) fn join(&self) -> Result<(), Panicked> {
        let outcome = self.0.changed.wait_while(self.0.lock(), |outcome| outcome.is_none());
        outcome.unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(Ok(()))
    }

    /// As `join`, for at most `patience`. Returns `None` if it has not ended by then.
    pub(crate) fn join_within(&self, patience: Duration) -> Option<Result<(), Panicked>> {
        let outcome = self.0.changed.wait_timeout_while(self.0.lock(), patience, |outcome| outcome.is_none());
        outcome.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, Option<Result<(), Panicked>>> {
        lock(&self.outcome)
    }
}
