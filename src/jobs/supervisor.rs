//! The supervisor of a process's jobs, on a connection of its own. It renews leases, interrupts jobs that are cancelled
//! or out of time, takes in the jobs of workers that are gone, and enqueues periodic kinds.

use std::time::{Duration, Instant};

use postgres::{Client, Statement};

use super::failure::Failure;
use super::periodic::Periodic;
use super::running::{Reason, Running, RunningJob};
use super::setup::Setup;
use crate::database::{Connector, DatabaseError, Line, Outage, Remedy, check_schema};
use crate::shutdown::Shutdown;

/// The longest time between two rounds of the supervisor.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Supervisor<'a> {
    pub setup: &'a Setup,
    pub connector: &'a Connector,
    pub running: &'a Running,
    pub shutdown: &'a Shutdown,
}

impl Supervisor<'_> {
    /// Watches until a stop is requested and no thread is left.
    pub(super) fn run(&self) -> Result<(), DatabaseError> {
        let mut outage = Outage::default();
        while !self.is_over() {
            let begun = Instant::now();
            let line = self.connector.line();
            let Err(error) = self.session(&line) else { continue };
            if error.remedy() == Remedy::Stop {
                return Err(error);
            }
            self.wait(outage.note(begun, &error, line.end(), "connecting again to supervise jobs"));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.shutdown.is_requested() && !self.running.has_threads()
    }

    fn wait(&self, timeout: Duration) {
        if self.shutdown.is_requested() {
            self.running.wait_until_idle(timeout);
        } else {
            self.shutdown.wait(timeout);
        }
    }

    fn session(&self, line: &Line) -> Result<(), DatabaseError> {
        let owner = self.setup.next_owner();
        let mut client = self.connector.named(&format!("webmon-jobs:{owner}")).connect_on(line)?;
        check_schema(&mut client)?;
        let mut prepare =
            |sql| client.prepare(sql).map_err(DatabaseError::statement("cannot prepare a statement"));
        let renew = prepare(include_str!("../../sql/queries/jobs/renew_jobs.sql"))?;
        let expired = prepare(include_str!("../../sql/queries/jobs/expired_jobs.sql"))?;
        let periodic = Periodic::register(&mut client, self.setup.kinds.values())?;
        let mut stop_at = None;
        while !self.is_over() {
            self.renew(&mut client, &renew)?;
            for entry in self.running.entries().iter().filter(|entry| entry.is_overdue()) {
                entry.interrupt(Reason::TimedOut, self.connector);
            }
            self.take_in(&mut client, &expired)?;
            if self.shutdown.is_requested() {
                let stop_at = *stop_at.get_or_insert_with(|| Instant::now() + self.setup.options.grace);
                if stop_at <= Instant::now() {
                    self.interrupt_all();
                }
            } else {
                periodic.enqueue_due(&mut client)?;
            }
            self.wait(TICK.min(self.setup.options.lease / 3));
        }
        Ok(())
    }

    fn renew(&self, client: &mut Client, renew: &Statement) -> Result<(), DatabaseError> {
        let entries = self.running.entries();
        let kept: Vec<&RunningJob> =
            entries.iter().map(|entry| &**entry).filter(|entry| entry.is_kept()).collect();
        if kept.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = kept.iter().map(|entry| entry.id).collect();
        let epochs: Vec<i64> = kept.iter().map(|entry| entry.epoch).collect();
        let lease_ms = self.setup.options.lease.as_secs_f64() * 1_000.0;
        let rows = client
            .query(renew, &[&ids, &epochs, &lease_ms])
            .map_err(DatabaseError::statement("cannot renew the leases of jobs"))?;
        for row in rows {
            let (id, is_held, is_cancelled): (i64, bool, bool) = (row.get(0), row.get(1), row.get(2));
            let reason = if !is_held {
                Reason::Lost
            } else if is_cancelled {
                Reason::Cancelled
            } else {
                continue;
            };
            // A job that has ended meanwhile is not held either. Then this does nothing.
            for entry in kept.iter().filter(|entry| entry.id == id) {
                entry.interrupt(reason, self.connector);
            }
        }
        Ok(())
    }

    /// Fails the jobs of workers that let their leases run out, so that they are tried again.
    fn take_in(&self, client: &mut Client, expired: &Statement) -> Result<(), DatabaseError> {
        let rows = client
            .query(expired, &[&self.setup.kind_names])
            .map_err(DatabaseError::statement("cannot look for expired leases"))?;
        for row in rows {
            let (id, epoch, attempt): (i64, i64, i16) = (row.get(0), row.get(1), row.get(3));
            let (worker, ended): (&str, i64) = (row.get(2), row.get(4));
            let failure = Failure::vanished(id, epoch, worker, attempt);
            match failure.record(client) {
                Ok(Some(recorded)) => {
                    log::warn!(job = id, worker, connections_ended = ended, state = recorded.state.as_str(), heir = recorded.heir; "took in the job of a worker that is gone");
                }
                // Another supervisor was faster.
                Ok(None) => {}
                // The worker's connection still holds the lock. It will be gone the next time.
                Err(error) if error.remedy() == Remedy::Retry => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn interrupt_all(&self) {
        for entry in self.running.entries() {
            entry.interrupt(Reason::Stopped, self.connector);
        }
    }
}
