//! A job at work.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::JobError;
use super::interrupt::Interrupt;

/// A job at work, as its kind sees it.
#[derive(Debug)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its args, as they were enqueued.
    pub args: Value,
    /// Which attempt this is, from 1 on.
    pub attempt: i16,
    /// The last attempt there will be.
    pub max_attempts: i16,
    /// The earliest time at which it could run; for a periodic kind the instant of its schedule.
    pub scheduled_at: Timestamp,
    pub(super) epoch: i64,
    pub(super) interrupt: Interrupt,
}

impl Job {
    /// Reads the args as a type.
    ///
    /// # Errors
    /// A [`JobError`] after which the job is tried again, because a newer program may have enqueued the args.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        T::deserialize(&self.args).map_err(|error| JobError::new(format!("cannot read the args: {error}")))
    }

    /// Whether the job was cancelled, is out of time, was taken over by another worker, or its worker stops. What it
    /// does in the database is then ended anyway. A job that works elsewhere should call this now and then.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }
}
