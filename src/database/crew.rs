//! The threads of one run. The first one that fails or panics ends all of them with an error. When a stop is requested
//! they end, whatever they wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use super::Connector;
use super::error::DatabaseError;
use crate::mutex::lock;
use crate::panicked::guarded;
use crate::shutdown::Shutdown;

/// How often connections are cut again, because a thread may have made a new one.
const CUT: Duration = Duration::from_secs(1);

pub(crate) struct Crew<'a, E> {
    shutdown: &'a Shutdown,
    state: Mutex<Roll<E>>,
    changed: Condvar,
}

struct Roll<E> {
    threads: usize,
    fault: Option<E>,
}

impl<E: From<DatabaseError> + Send> Crew<'_, E> {
    /// A crew without threads yet. It works until `shutdown` is requested, and requests that if a thread fails.
    pub(crate) fn new(shutdown: &Shutdown) -> Crew<'_, E> {
        Crew { shutdown, state: Mutex::new(Roll { threads: 0, fault: None }), changed: Condvar::new() }
    }

    /// Starts a thread.
    pub(crate) fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: String,
        work: impl FnOnce() -> Result<(), E> + Send + 'scope,
    ) {
        self.lock().threads += 1;
        let thread = name.clone();
        let work = move || match guarded(&thread, work) {
            Ok(outcome) => self.note(outcome),
            Err(panicked) => {
                self.note(Err(DatabaseError::from(panicked.clone()).into()));
                panicked.log();
            }
        };
        if let Err(error) = Builder::new().name(name).spawn_scoped(scope, work) {
            self.note(Err(DatabaseError::NoThread(error).into()));
        }
    }

    /// Waits until all threads have ended. After a stop is requested they have `grace`. Then all connections of
    /// `connector` are cut off. Returns the first fault.
    pub(crate) fn see_out(&self, connector: &Connector, grace: Duration) -> Result<(), E> {
        while !self.shutdown.wait(Duration::from_secs(3_600)) {}
        let mut patience = grace;
        while !self.wait_until_idle(patience) {
            if patience == grace {
                log::warn!(grace_ms = grace.as_millis() as u64; "cutting off the connections to the database: their work does not end");
            }
            connector.cut();
            patience = CUT;
        }
        self.lock().fault.take().map_or(Ok(()), Err)
    }

    /// One thread has ended.
    fn note(&self, outcome: Result<(), E>) {
        {
            let mut state = self.lock();
            state.threads -= 1;
            if let Err(error) = outcome {
                state.fault.get_or_insert(error);
                self.shutdown.request();
            }
        }
        self.changed.notify_all();
    }

    fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.changed
            .wait_timeout_while(self.lock(), timeout, |state| state.threads > 0)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .threads
            == 0
    }

    fn lock(&self) -> MutexGuard<'_, Roll<E>> {
        lock(&self.state)
    }
}
