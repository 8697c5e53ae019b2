//! The sender of what waits in an outbox.

use std::error::Error;

use crate::kafka::{Delivery, Outgoing, Producer};
use crate::record::Record;

/// Sends records, and waits until it knows what became of each. Every Kafka [`Producer`] does.
pub trait Deliver: Send {
    /// Sends `records`, in order for each [key](Record::key) unless one fails. Returns one report for each, in the same
    /// order. It must come to an end: a [`Publisher`](super::Publisher) waits for it, also when it is stopped.
    fn deliver(&mut self, records: &[Record]) -> Vec<Result<(), Undelivered>>;
}

/// Why a record was not delivered.
#[derive(Debug)]
pub enum Undelivered {
    /// It is not known to have arrived; it may have. The outbox keeps it, and it is sent again.
    Retry(Box<dyn Error + Send + Sync>),
    /// It will never be taken, for this reason. The outbox drops it, and a gap stands for it.
    Refused(String),
}

impl Undelivered {
    /// [`Undelivered::Retry`] for `cause`, an error or a text.
    pub fn retry(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Undelivered {
        Undelivered::Retry(cause.into())
    }
}

impl<P: Producer> Deliver for P {
    fn deliver(&mut self, records: &[Record]) -> Vec<Result<(), Undelivered>> {
        let outgoing: Vec<Outgoing> = records
            .iter()
            .map(|record| Outgoing { key: record.key().to_owned(), value: record.encode() })
            .collect();
        let report = |delivery| match delivery {
            Delivery::Delivered => Ok(()),
            Delivery::Retry(error) => Err(Undelivered::retry(error)),
            Delivery::Refused(reason) => Err(Undelivered::Refused(reason)),
        };
        self.produce(&outgoing).into_iter().map(report).collect()
    }
}
