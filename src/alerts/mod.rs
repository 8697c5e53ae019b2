//! Alerts: what changed, who is told of it, and what became of each message.

mod notice;
mod receiver;

pub use self::notice::{Action, Held, Message, Notice};
pub use self::receiver::{Limits, Outcome, beat, max_notices, send};
