//! Sends results to a sink of your own and loses none on the way: `custom_sink FILE SECONDS URL...` appends each as a
//! line of JSON to a file.
//!
//! Results wait in an outbox until the sink has acknowledged them, however long that takes, so a slow or absent
//! sink holds up no check. Needs the feature `check` only.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use webmon::check::{Pool, PoolOptions, Settings};
use webmon::jiff::Timestamp;
use webmon::outbox::{Deliver, MemoryOutbox, Outbox, Publisher, Undelivered};
use webmon::record::{CheckResult, Record};
use webmon::schedule::{Entry, Schedule, Scheduler};
use webmon::site::{Origin, Site};

/// A file of JSON lines.
struct JsonLines(File);

impl JsonLines {
    /// Appends all of `lines` durably, or nothing, because a line that is cut off would spoil the next one.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let end = self.0.metadata()?.len();
        self.0.write_all(lines).and_then(|()| self.0.sync_data()).inspect_err(|_| {
            let _ = self.0.set_len(end);
        })
    }
}

impl Deliver for JsonLines {
    /// `Retry` keeps a record in the outbox, `Ok` and `Refused` take it out.
    fn deliver(&mut self, records: &[Record]) -> Vec<Result<(), Undelivered>> {
        let lines: Vec<u8> =
            records.iter().flat_map(|record| [&record.encode(), &b"\n"[..]].concat()).collect();
        let outcome = self.append(&lines).map_err(|error| format!("cannot append to the file: {error}"));
        records.iter().map(|_| outcome.clone().map_err(Undelivered::retry)).collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(seconds)) = (args.next(), args.next()) else {
        return Err("usage: custom_sink FILE SECONDS URL...".into());
    };
    let file = OpenOptions::new().create(true).append(true).open(file)?;

    // Built from the sink to the source, so that nothing is fired before it has somewhere to go.
    let outbox = Arc::new(MemoryOutbox::new(10_000));
    let publisher = Publisher::start(outbox.clone(), JsonLines(file), Duration::from_secs(2))?;
    let sink = {
        let outbox = Arc::clone(&outbox);
        Arc::new(move |result: CheckResult| outbox.append(result.into()))
    };
    let origin = Origin::new("here", "custom_sink");
    let pool = Arc::new(Pool::start(&Settings::new()?, PoolOptions::new(origin), sink)?);
    let fire = {
        let pool = Arc::clone(&pool);
        move |due| pool.submit_all(due)
    };
    let schedule = Schedule::new("* * * * * *", "UTC")?;
    let mut entries = Vec::new();
    for url in args {
        let mut site = Site::new(&url, url.parse()?, schedule.clone());
        site.timeout = Duration::from_millis(800);
        entries.push(Entry::from(Arc::new(site)));
    }
    let scheduler = Scheduler::start(entries, Timestamp::now(), fire)?;

    thread::sleep(Duration::from_secs(seconds.parse()?));

    // Stopped from the source to the sink: first no more instants, then no more checks, then what waits is written.
    scheduler.stop();
    pool.stop(Duration::from_secs(2));
    publisher.stop()?;
    match outbox.len() {
        0 => Ok(()),
        left => Err(format!("{left} results were not written").into()),
    }
}
