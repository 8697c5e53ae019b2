//! The outbox and the publisher: nothing leaves before its acknowledgement, and what is dropped is accounted for.

#![cfg(feature = "check")]

mod memory;
mod publisher;

use std::time::Duration;

use jiff::Timestamp;
use webmon::outbox::{Outbox, Sequence};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, GapRecord, Record, RecordVersion};
use webmon::schedule::Schedule;
use webmon::site::{Origin, Site};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The result of `site` at `second`; the next instant comes one second later.
fn result(site: &str, second: i64) -> CheckResult {
    let schedule = Schedule::new("@every 1s", "UTC").unwrap();
    let site = Site::new(site, "https://shop.example/".parse().unwrap(), schedule);
    let origin = Origin { location: "here".to_owned(), checker: "test".to_owned() };
    let mut result = origin.blank(&site, at(second), Some(at(second + 1)));
    result.set_error(ErrorType::Late, None, None);
    result
}

fn record(site: &str, second: i64) -> Record {
    Record::Result(Box::new(result(site, second)))
}

fn gap(site: &str, from: i64, to: Option<i64>, instants: u64, reason: GapReason) -> Record {
    Record::Gap(GapRecord {
        v: RecordVersion,
        site: site.to_owned(),
        location: "here".to_owned(),
        checker: "test".to_owned(),
        gap: Gap { from: at(from), to: to.map(at), instants, reason },
    })
}

fn dropped(site: &str, from: i64, to: i64) -> Record {
    gap(site, from, Some(to), (to - from) as u64, GapReason::OutboxFull)
}

fn records(batch: &[(Sequence, Record)]) -> Vec<Record> {
    batch.iter().map(|(_, record)| record.clone()).collect()
}

fn sequences(batch: &[(Sequence, Record)]) -> Vec<Sequence> {
    batch.iter().map(|(sequence, _)| *sequence).collect()
}

/// Everything that waits, acknowledged.
fn drain(outbox: &dyn Outbox) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let batch = outbox.peek(7, NOW);
        if batch.is_empty() {
            return all;
        }
        outbox.acknowledge(&sequences(&batch));
        all.extend(records(&batch));
    }
}
