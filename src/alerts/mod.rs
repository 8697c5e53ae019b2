//! Alerts: what changed, who is told of it, and what became of each message.

mod notice;

pub use self::notice::{Action, Held, Message, Notice};
