//! Panics as errors: what a thread said that ended by a fault of the program's own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A thread came upon a fault of the program's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("thread {thread} panicked: {message}")]
pub struct Panicked {
    /// Its name.
    pub thread: String,
    /// What it said.
    pub message: String,
}

impl Panicked {
    /// Says so in the log. To be called when it is noted: a logger may be what panics.
    pub(crate) fn log(&self) {
        log::error!(thread = self.thread, panic = self.message; "a thread panicked: stopping");
    }
}

/// Does `work` on the thread called `thread`, and makes a panic an error. What `work` shares with others must be behind
/// locks that do not mind.
pub(crate) fn guarded<T>(thread: &str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Panicked { thread: thread.to_owned(), message: panic_message(&*panic).to_owned() })
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
