//! A job queue in PostgreSQL: work that is to be done once, later, or again and again, by any number of workers. For
//! webmon's own upkeep ([`upkeep`](crate::upkeep)) and for the kinds of whoever embeds it.
//!
//! A job is a row. [`enqueue`] writes it, also in a transaction of the caller's, so that it is there exactly when
//! what it is about is. A [`Worker`] claims it with a lease and a fence, and runs its [`Kind`] in a transaction that ends
//! with the job's completion: **it takes effect once**, however often it was begun. A worker that was killed, frozen or
//! cut off loses the lease, and cannot complete what another one has begun anew.
//!
//! ```text
//! enqueue ─▶ available ──▶ running ──▶ completed
//!                           ▲   │ ───▶ discarded: no attempt was left, or another would be of no use
//!                           │   ▼ ───▶ cancelled: as what waits can be, too
//!                         retryable: failed, to be tried again after a pause
//! ```
//!
//! A job that failed is `retryable`: it waits for 1 s, 2 s, 4 s and so on up to 1 h, drawn at random between the half
//! and the whole of it, and is then claimed like an available one. Discarded jobs are kept, with their last error, until
//! they are pruned; [`retry`] makes them available again.
//!
//! Workers look for work every [`WorkerOptions::poll`]. They are not notified: NOTIFY takes a lock that all commits with
//! one share, and LISTEN does not work through a pooler that gives connections out by the transaction.

mod enqueue;
mod error;
mod failure;
mod interrupt;
mod job;
mod kind;
mod options;
mod pause;
mod periodic;
mod report;
mod runner;
mod running;
mod setup;
mod state;
mod supervisor;
mod worker;

pub use self::enqueue::{
    DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, Enqueued, MAX_ARGS, MAX_BATCH, MAX_KEY, MAX_KIND, NewJob, enqueue,
    enqueue_all,
};
pub use self::error::{JobError, MAX_ERROR, QueueError};
pub use self::job::Job;
pub use self::kind::{DEFAULT_TIMEOUT, Kind};
pub use self::options::WorkerOptions;
pub use self::pause::{FIRST_PAUSE, LONGEST_PAUSE};
pub use self::report::{FailingKind, JobInfo, MAX_LIST, cancel, failing, get, list, prune, retry};
pub use self::state::State;
pub use self::worker::Worker;
