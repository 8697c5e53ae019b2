//! `[store]`: the storing side.

use std::time::Duration;

use super::table::Table;
use super::units::{DAY, HOUR, MILLISECOND, MINUTE, SECOND};

/// `[store]`: the storing side.
#[derive(Clone, Debug)]
pub struct Store {
    /// How many writers this process has, each with its own connection. 1 to 64, default 1.
    pub threads: usize,
    /// How long a claim on a partition lasts unless it is renewed. A dead writer's partitions stand still for at most
    /// this time. 500 ms to 5 min, default 10 s.
    pub lease: Duration,
    /// The most records of one transaction. 1 to 100,000, default 5,000.
    pub batch_records: usize,
    /// The most bytes of one transaction's records. 64 KiB to 256 MiB, default 8 MiB.
    pub batch_bytes: usize,
    /// How long a writer waits for more records once it has one, so that a transaction holds more than one at low rates.
    /// 0 s to 5 s, default 50 ms.
    pub linger: Duration,
    /// How far `scheduled_at` may be ahead of the later of the database's clock and the writer's own. 1 min to 30 days,
    /// default 1 h.
    pub max_ahead: Duration,
    /// How many dead letters one partition may have. With that many it pauses. 1 to 1,000,000,000, default 100,000.
    pub max_dead_letters: i64,
    /// How long what is stored is kept.
    pub retention: Retention,
    /// A site is retired at a location if no result came from there for this long after one was due. Its outage there
    /// ends. 1 h to 3,660 days, default 7 days.
    pub retire_after: Duration,
}

/// `store.retention`: how long results, hours and days are kept. None keeps them forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long results are kept. A result that is older when it arrives is not stored. 1 to 3,660 days, default 90.
    pub results: Duration,
    /// How long hours are kept: at least as long as results. Default 2 years.
    pub hours: Option<Duration>,
    /// How long days are kept: at least as long as hours. Default forever.
    pub days: Option<Duration>,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            threads: 1,
            lease: SECOND * 10,
            batch_records: 5_000,
            batch_bytes: 8 << 20,
            linger: MILLISECOND * 50,
            max_ahead: HOUR,
            max_dead_letters: 100_000,
            retention: Retention::default(),
            retire_after: DAY * 7,
        }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { results: DAY * 90, hours: Some(DAY * 730), days: None }
    }
}

pub(super) fn store(table: &Table) -> Store {
    let default = Store::default();
    let store = Store {
        threads: table.integer("threads", 1, 64u32).map_or(default.threads, |n| n as usize),
        lease: table.duration("lease", MILLISECOND * 500, MINUTE * 5).unwrap_or(default.lease),
        batch_records: table
            .integer("batch_records", 1, 100_000u32)
            .map_or(default.batch_records, |n| n as usize),
        batch_bytes: table
            .size("batch_bytes", 64 << 10, 256 << 20)
            .map_or(default.batch_bytes, |n| n as usize),
        linger: table.duration("linger", Duration::ZERO, SECOND * 5).unwrap_or(default.linger),
        max_ahead: table.duration("max_ahead", MINUTE, DAY * 30).unwrap_or(default.max_ahead),
        max_dead_letters: table
            .integer("max_dead_letters", 1, 1_000_000_000u32)
            .map_or(default.max_dead_letters, i64::from),
        retention: table.table("retention").map_or(default.retention, |table| retention(&table)),
        retire_after: table.duration("retire_after", HOUR, DAY * 3_660).unwrap_or(default.retire_after),
    };
    table.refuse_unknown();
    store
}

fn retention(table: &Table) -> Retention {
    let default = Retention::default();
    let age = |key: &'static str, default: Option<Duration>| {
        table.get(key).map_or(Some(default), |entry| entry.age(DAY, DAY * 36_500))
    };
    let results = table.duration("results", DAY, DAY * 3_660);
    let hours = age("hours", default.hours.max(results));
    let days = age("days", default.days);
    // Derived rows must outlive the rows that they are derived from.
    let forever = |age: Option<Duration>| age.unwrap_or(Duration::MAX);
    let kept = [
        ("results", Some(results.unwrap_or(default.results))),
        ("hours", hours.map(forever)),
        ("days", days.map(forever)),
    ];
    for [(shorter, short), (longer, long)] in [[kept[0], kept[1]], [kept[1], kept[2]]] {
        if let (Some(short), Some(long)) = (short, long)
            && short > long
        {
            table.fault(format!(
                "{longer} are kept for less time than {shorter}, which they are derived from"
            ));
        }
    }
    table.refuse_unknown();
    Retention {
        results: results.unwrap_or(default.results),
        hours: hours.unwrap_or(default.hours),
        days: days.unwrap_or(default.days),
    }
}
