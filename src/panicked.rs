//! Panics as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A thread of this program panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("thread {thread} panicked: {message}")]
pub struct Panicked {
    /// The thread's name.
    pub thread: String,
    /// The panic's message.
    pub message: String,
}

impl Panicked {
    /// Logs the panic. Call it after the panic was noted, because the logger itself may panic.
    pub(crate) fn log(&self) {
        log::error!(thread = self.thread, panic = self.message; "a thread panicked: stopping");
    }
}

/// Does `work` on the thread called `thread`, and turns a panic into an error. What `work` shares with other threads
/// must be behind locks that remain usable after a panic.
pub(crate) fn guarded<T>(thread: &str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Panicked { thread: thread.to_owned(), message: panic_message(&*panic).to_owned() })
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
