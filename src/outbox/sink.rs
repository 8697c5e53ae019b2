//! Every outbox takes the monitor's records.

use std::sync::Arc;

use super::contract::Outbox;
use crate::monitor::RecordSink;
use crate::record::Record;

impl<O: Outbox + ?Sized> RecordSink for Arc<O> {
    fn append(&self, record: Record) {
        Outbox::append(self.as_ref(), record);
    }

    fn enqueue(&self, record: Record) {
        Outbox::enqueue(self.as_ref(), record);
    }

    fn append_all(&self, records: Vec<Record>) {
        Outbox::append_all(self.as_ref(), records);
    }
}
