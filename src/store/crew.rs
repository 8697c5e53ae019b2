//! The threads of one run: the first one that fails, or panics, ends all of them with an error; and when the end was asked
//! for, it comes, whatever they wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use super::{Connector, StoreError};
use crate::panicked::guarded;
use crate::shutdown::Shutdown;

/// How long apart connections are cut again: a thread may have made a new one.
const CUT: Duration = Duration::from_secs(1);

pub(crate) struct Crew<'a> {
    shutdown: &'a Shutdown,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    threads: usize,
    fault: Option<StoreError>,
}

impl Crew<'_> {
    /// A crew without threads, which works until `shutdown` is requested, and requests it when one of them fails.
    pub fn new(shutdown: &Shutdown) -> Crew<'_> {
        Crew { shutdown, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Starts a thread.
    pub fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: String,
        work: impl FnOnce() -> Result<(), StoreError> + Send + 'scope,
    ) {
        self.lock().threads += 1;
        let thread = name.clone();
        let work = move || {
            self.note(guarded(&thread, work).unwrap_or_else(|panicked| Err(panicked.into())));
        };
        if let Err(error) = Builder::new().name(name).spawn_scoped(scope, work) {
            self.note(Err(StoreError::NoThread(error)));
        }
    }

    /// Waits for the end of all threads. Once it is asked for they have `grace`; then all connections of `connector` are
    /// cut off. Returns the first fault.
    pub fn see_out(&self, connector: &Connector, grace: Duration) -> Result<(), StoreError> {
        while !self.shutdown.wait(Duration::from_secs(3_600)) {}
        let mut patience = grace;
        while !self.wait_until_idle(patience) {
            if patience == grace {
                log::warn!(grace_ms = grace.as_millis() as u64; "cutting off the connections to the database: they do not come to an end");
            }
            connector.cut();
            patience = CUT;
        }
        self.lock().fault.take().map_or(Ok(()), Err)
    }

    /// One thread has ended.
    fn note(&self, outcome: Result<(), StoreError>) {
        let panicked = match &outcome {
            Err(StoreError::Panicked(panicked)) => Some(panicked.clone()),
            _ => None,
        };
        {
            let mut state = self.lock();
            state.threads -= 1;
            if let Err(error) = outcome {
                state.fault.get_or_insert(error);
                self.shutdown.request();
            }
        }
        self.changed.notify_all();
        if let Some(panicked) = panicked {
            panicked.log();
        }
    }

    fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.changed
            .wait_timeout_while(self.lock(), timeout, |state| state.threads > 0)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .threads
            == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
