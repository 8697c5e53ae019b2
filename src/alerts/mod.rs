//! Alerts: what changed, who is told of it, and what became of each message.
//!
//! A [`Watcher`] judges the sites with news. The state of an alert only goes forward, from its beginning to its end. Each
//! step is a transition, stored in one transaction with whom to tell of it and with the jobs that do so. These jobs
//! ([`kinds`]) put what waits for a receiver into messages, send them, and record what became of them. [`prove`] shows
//! that every transition has one outcome for each receiver.
//!
//! Judging is part of the storing side, because `webmon.current_status` needs it. Telling takes the feature `alerts`.
//!
//! ```text
//! rows ─▶ notes ─▶ Watcher: votes ─▶ judge ─▶ transition + notifications + jobs, one transaction
//!                                                       └─▶ compose ─▶ message ─▶ send ─▶ outcome
//! ```

mod certificates;
#[cfg(feature = "alerts")]
mod compose;
mod decide;
#[cfg(feature = "alerts")]
mod deliver;
mod draft;
mod fresh;
mod judge;
mod known;
mod notice;
#[cfg(feature = "alerts")]
mod outbox;
mod own;
mod proof;
mod prune;
#[cfg(feature = "alerts")]
mod pulse;
mod read;
#[cfg(feature = "alerts")]
mod receiver;
mod reminders;
mod report;
mod rounds;
mod routing;
mod silence;
mod store;
mod summary;
mod votes;
mod watcher;

#[cfg(feature = "alerts")]
pub use self::deliver::kinds;
pub use self::notice::{Action, Held, Message, Notice};
pub use self::proof::{AlertProof, prove};
pub(crate) use self::prune::prune;
#[cfg(feature = "alerts")]
pub use self::pulse::Pulse;
#[cfg(feature = "alerts")]
pub use self::receiver::{Limits, Outcome, beat, max_notices, send};
pub use self::report::{
    AlertDetails, AlertInfo, MAX_ALERTS, NotificationInfo, alert, alerts, enable_receiver,
};
pub use self::silence::{MAX_SILENCE_TEXT, NewSilence, Silence, add_silence, end_silence, silences};
pub use self::watcher::Watcher;
