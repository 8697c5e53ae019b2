//! Periodic kinds: one job at each instant of a schedule, whichever of many workers enqueues it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;

use super::enqueue::{NewJob, enqueue};
use super::error::QueueError;
use super::kind::Kind;
use crate::database::{AnyTime, DatabaseError};
use crate::schedule::Schedule;

/// By how much a clock may be set back without an instant coming twice. If it is set back further, schedules start
/// over: otherwise they would rest for as long as the clock was ahead.
const STEADY: SignedDuration = SignedDuration::from_mins(1);

/// The kinds of a worker that have a schedule.
pub(super) struct Periodic<'a>(BTreeMap<&'a str, (&'a Schedule, NewJob)>);

impl<'a> Periodic<'a> {
    /// Writes the schedules into the database. A new or changed schedule begins at its next instant.
    pub(super) fn register(
        client: &mut Client,
        kinds: impl Iterator<Item = &'a Kind>,
    ) -> Result<Periodic<'a>, DatabaseError> {
        let mut periodic = BTreeMap::new();
        for kind in kinds {
            let Some(schedule) = &kind.schedule else { continue };
            let mut job = kind.due();
            job.schedule = Some(schedule.expression().to_owned());
            let next_at = schedule.next_after(server_time(client)?);
            client
                .execute(
                    include_str!("../../sql/queries/jobs/register_schedule.sql"),
                    &[&kind.name, &schedule.expression(), &schedule.timezone(), &next_at],
                )
                .map_err(DatabaseError::statement("cannot register a schedule"))?;
            periodic.insert(kind.name(), (schedule, job));
        }
        Ok(Periodic(periodic))
    }

    /// Enqueues the jobs that are due, and moves each schedule on.
    pub(super) fn enqueue_due(&self, client: &mut Client) -> Result<(), DatabaseError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.0.keys().copied().collect();
        let sql = "SELECT kind, next_at, clock_timestamp() FROM webmon.job_schedules WHERE kind = ANY ($1)";
        let rows =
            client.query(sql, &[&names]).map_err(DatabaseError::statement("cannot read the schedules"))?;
        for row in rows {
            let (kind, next_at, now): (&str, Option<AnyTime>, Timestamp) =
                (row.get(0), row.get(1), row.get(2));
            if let (Some((schedule, job)), Some(AnyTime(next_at))) = (self.0.get(kind), next_at)
                && step(schedule, next_at, now) != Step::Wait
            {
                advance(client, schedule, job)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    /// It is due. Instants that were missed meanwhile make one job together.
    Enqueue,
    /// The clock was set back.
    BeginAnew,
}

fn step(schedule: &Schedule, next_at: Timestamp, now: Timestamp) -> Step {
    if next_at <= now {
        return Step::Enqueue;
    }
    let latest = schedule.next_after(now.saturating_add(STEADY).unwrap_or(now));
    if latest.is_some_and(|latest| next_at > latest) { Step::BeginAnew } else { Step::Wait }
}

/// Moves a schedule on, with its row locked, so that each instant is enqueued by one worker.
fn advance(client: &mut Client, schedule: &Schedule, job: &NewJob) -> Result<(), DatabaseError> {
    let failed = DatabaseError::statement;
    let mut transaction = client.transaction().map_err(failed("cannot begin a transaction"))?;
    let sql = "SELECT next_at, clock_timestamp() FROM webmon.job_schedules \
               WHERE kind = $1 AND schedule = $2 AND timezone = $3 AND next_at IS NOT NULL FOR UPDATE SKIP LOCKED";
    let row = transaction
        .query_opt(sql, &[&job.kind, &schedule.expression(), &schedule.timezone()])
        .map_err(failed("cannot lock a schedule"))?;
    // Another worker has locked it, or has registered another schedule.
    let Some(row) = row else { return Ok(()) };
    let (AnyTime(next_at), now): (AnyTime, Timestamp) = (row.get(0), row.get(1));
    // Somebody set it to -infinity, to run the job at once.
    let next_at = next_at.max(Timestamp::UNIX_EPOCH);
    match step(schedule, next_at, now) {
        // Another worker was faster.
        Step::Wait => return Ok(()),
        Step::Enqueue => {
            let enqueued = match enqueue(&mut transaction, &job.clone().scheduled_at(next_at)) {
                Ok(enqueued) => enqueued,
                Err(QueueError::Database(error)) => return Err(error),
                // Kinds were validated with the worker.
                Err(error) => {
                    log::error!(kind = job.kind, error = error.to_string(); "cannot enqueue a periodic job");
                    return Ok(());
                }
            };
            log::debug!(kind = job.kind, job = enqueued.id, is_new = enqueued.is_new; "a periodic job is due");
        }
        Step::BeginAnew => {
            log::warn!(kind = job.kind; "the database's clock was set back: a schedule starts over");
        }
    }
    transaction
        .execute(
            "UPDATE webmon.job_schedules SET next_at = $2 WHERE kind = $1",
            &[&job.kind, &schedule.next_after(now)],
        )
        .map_err(failed("cannot move a schedule on"))?;
    transaction.commit().map_err(failed("cannot move a schedule on"))
}

fn server_time(client: &mut Client) -> Result<Timestamp, DatabaseError> {
    let row = client
        .query_one("SELECT clock_timestamp()", &[])
        .map_err(DatabaseError::statement("cannot read the database's clock"))?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_due_from_its_time_on_and_a_clock_set_back_begins_anew() {
        let schedule = Schedule::new("@every 10m", "UTC").unwrap();
        let at = |text: &str| -> Timestamp { format!("2026-11-22T{text}Z").parse().unwrap() };
        for (next_at, now, expected) in [
            ("12:10:00", "12:09:59.999", Step::Wait),
            ("12:10:00", "12:10:00", Step::Enqueue),
            ("12:10:00", "23:00:00", Step::Enqueue),
            // The instant of 12:10 has been; the clock went back a little before it, and a lot.
            ("12:20:00", "12:09:59.9", Step::Wait),
            ("12:20:00", "12:09:01", Step::Wait),
            ("12:20:00", "12:08:00", Step::BeginAnew),
            ("12:20:00", "03:00:00", Step::BeginAnew),
        ] {
            assert_eq!(step(&schedule, at(next_at), at(now)), expected, "{next_at} at {now}");
        }
    }
}
