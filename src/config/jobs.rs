//! `[jobs]`: the job queue, which the storing side works on.

use std::time::Duration;

use super::table::Table;
use super::units::{DAY, MILLISECOND, MINUTE, SECOND};

/// `[jobs]`: the job queue, which the storing side works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// How many jobs run at once in this process, each with its own connection, and one more connection for all. With
    /// 0, jobs are left to other processes. 0 to 64, default 1.
    pub threads: usize,
    /// How long a job is held unless its lease is renewed. The job of a worker that was killed runs again after this
    /// time. 500 ms to 5 min, default 30 s.
    pub lease: Duration,
    /// How often a thread without work looks for a job. 10 ms to 1 min, default 1 s.
    pub poll: Duration,
    /// How long completed and cancelled jobs are kept. 1 min to 3,660 days, default 1 day.
    pub keep: Duration,
    /// How long discarded jobs are kept, with their error. 1 min to 3,660 days, default 30 days.
    pub keep_discarded: Duration,
    /// After how long the rows of the ledger, one per minute and partition, are merged into one per day. 1 day to 3,660
    /// days, default 30 days.
    pub compact_ledger: Duration,
    /// How many days ahead the partitions of the results are created. 1 to 60, default 7.
    pub partitions_ahead: u32,
}

impl Default for Jobs {
    fn default() -> Jobs {
        Jobs {
            threads: 1,
            lease: SECOND * 30,
            poll: SECOND,
            keep: DAY,
            keep_discarded: DAY * 30,
            compact_ledger: DAY * 30,
            partitions_ahead: 7,
        }
    }
}

pub(super) fn jobs(table: &Table) -> Jobs {
    let default = Jobs::default();
    let jobs = Jobs {
        threads: table.integer("threads", 0, 64u32).map_or(default.threads, |n| n as usize),
        lease: table.duration("lease", MILLISECOND * 500, MINUTE * 5).unwrap_or(default.lease),
        poll: table.duration("poll", MILLISECOND * 10, MINUTE).unwrap_or(default.poll),
        keep: table.duration("keep", MINUTE, DAY * 3_660).unwrap_or(default.keep),
        keep_discarded: table
            .duration("keep_discarded", MINUTE, DAY * 3_660)
            .unwrap_or(default.keep_discarded),
        compact_ledger: table.duration("compact_ledger", DAY, DAY * 3_660).unwrap_or(default.compact_ledger),
        partitions_ahead: table.integer("partitions_ahead", 1, 60u32).unwrap_or(default.partitions_ahead),
    };
    table.refuse_unknown();
    jobs
}
