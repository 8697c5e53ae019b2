//! Where the monitor puts its records.

use crate::record::Record;

/// Takes every record. Called from many threads.
pub trait RecordSink: Send + Sync {
    /// Takes what a check has seen; when it returns that is as durable as it gets.
    fn append(&self, record: Record);

    /// Takes a missed instant or a gap; it may be made durable later. It must not wait.
    fn enqueue(&self, record: Record) {
        self.append(record);
    }

    /// As [`RecordSink::append`] for each of them, durable together.
    fn append_all(&self, records: Vec<Record>) {
        for record in records {
            self.append(record);
        }
    }
}

/// A function as a [`RecordSink`].
pub struct RecordSinkFn<F>(pub F);

impl<F: Fn(Record) + Send + Sync> RecordSink for RecordSinkFn<F> {
    fn append(&self, record: Record) {
        (self.0)(record);
    }
}
