//! A job queue in PostgreSQL: work to be done once, later, or again and again, by any number of workers. It serves
//! webmon's own upkeep ([`upkeep`](crate::upkeep)) and the kinds of programs that embed webmon.
//!
//! A job is a row. [`enqueue`] writes it, in a transaction of the caller's if there is one, so that the job exists
//! exactly if the data that it is about does. A [`Worker`] claims the job with a lease and a fence, and runs its
//! [`Kind`] in a transaction that ends with the job's completion: **it takes effect once**, however often it was
//! started. A worker that was killed, frozen or cut off loses the lease, and cannot complete a job that another worker
//! has started again.
//!
//! ```text
//! enqueue ─▶ available ──▶ running ──▶ completed
//!                           ▲   │ ───▶ discarded: no attempt was left, or another would be of no use
//!                           │   ▼ ───▶ cancelled: a job that waits can be cancelled too
//!                         retryable: failed, to be tried again after a pause
//! ```
//!
//! A job that failed is `retryable`. It waits for 1 s, 2 s, 4 s and so on up to 1 h; the pause is drawn at random
//! between half of that and all of it. Then it is claimed like an available one. Discarded jobs are kept, with their
//! last error, until they are pruned; [`retry`] makes them available again.
//!
//! Workers look for work every [`WorkerOptions::poll`]. They are not notified: NOTIFY takes a lock that all commits
//! with a notification share, and LISTEN does not work through a pooler that assigns connections per transaction.

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
