//! A flag that ends a program in order. It is set once, every loop sees it, and waiting for it needs no polling.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::mutex::lock;

/// A shared request to stop. Clones are handles to the same request. It is never withdrawn.
///
/// ```
/// use std::time::Duration;
/// use webmon::shutdown::Shutdown;
///
/// let shutdown = Shutdown::new();
/// assert!(!shutdown.wait(Duration::ZERO));
/// shutdown.request();
/// assert!(shutdown.wait(Duration::from_secs(60))); // returns at once
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<(Mutex<bool>, Condvar)>);

impl Shutdown {
    /// A request that is not made yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Asks everything that holds a handle to stop, and wakes all that wait.
    pub fn request(&self) {
        let (flag, changed) = &*self.0;
        *lock(flag) = true;
        changed.notify_all();
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        *lock(&self.0.0)
    }

    /// Waits up to `timeout` for the request. Returns whether it was made.
    pub fn wait(&self, timeout: Duration) -> bool {
        let (flag, changed) = &*self.0;
        let guard = lock(flag);
        let (guard, _) = changed
            .wait_timeout_while(guard, timeout, |requested| !*requested)
            .unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}
