//! The jobs that tell receivers: one kind for each receiver, so that one that is down delays no other.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postgres::Client;

use super::outbox::{Open, Outbox};
use super::receiver::{Limits, Outcome, max_notices, send};
use super::store::{job_kind, waiting, wake};
use crate::config::{Receiver, Route};
use crate::database::DatabaseError;
use crate::jobs::{Job, JobError, Kind};
use crate::text::show_duration;

/// The pause after the first failure. It doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// How long one job goes on sending. What is left is for the next one.
const SHIFT: Duration = Duration::from_secs(60);
/// The time limit of a job. The last message may take as long as a receiver may.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The kinds of jobs that tell `receivers`. `give_up` is how long a message is tried.
pub fn kinds(receivers: &[Receiver], routes: &[Route], limits: &Limits, give_up: Duration) -> Vec<Kind> {
    let kind = |receiver: &Receiver| {
        let teller = Teller {
            receiver: receiver.clone(),
            routes: routes.iter().filter(|route| route.receiver == receiver.name).cloned().collect(),
            limits: limits.clone(),
            give_up,
        };
        let run = move |job: &Job, client: &mut Client| teller.run(job, client);
        Kind::outside(job_kind(&receiver.name), run).timeout(TIMEOUT).priority(1)
    };
    receivers.iter().map(kind).collect()
}

struct Teller {
    receiver: Receiver,
    routes: Vec<Route>,
    limits: Limits,
    give_up: Duration,
}

impl Teller {
    /// Sends what waits, one message after another. A message is stored before it is sent, and stays as it is: if this
    /// process ends in between, the next one sends the same again.
    fn run(&self, job: &Job, client: &mut Client) -> Result<(), JobError> {
        let begun = Instant::now();
        let outbox = Outbox {
            receiver: &self.receiver.name,
            routes: &self.routes,
            max_notices: max_notices(&self.receiver.channel),
        };
        self.drop_if_disabled(client)?;
        while !job.is_interrupted() && begun.elapsed() < SHIFT {
            let Some(open) = outbox.open(client)? else { break };
            if !open.is_due {
                break;
            }
            client
                .execute(
                    "UPDATE webmon.messages SET attempts = attempts + 1 WHERE message_id = $1",
                    &[&open.message_id],
                )
                .map_err(DatabaseError::statement("cannot count a try"))?;
            let outcome = send(&self.receiver, &open.message, &self.limits);
            self.record(client, &open, outcome)?;
        }
        self.come_back(client)
    }

    fn record(&self, client: &mut Client, open: &Open, outcome: Outcome) -> Result<(), DatabaseError> {
        let (receiver, message, notices) =
            (&self.receiver.name, open.message.id.as_str(), open.message.notices.len());
        let attempt = open.attempts + 1;
        match outcome {
            Outcome::Delivered(answer) => {
                log::info!(receiver, message, notices, attempt; "told a receiver");
                finish(client, open.message_id, "delivered", &answer)
            }
            Outcome::Refused(why) => {
                log::error!(receiver, message, notices, attempt, error = why; "a receiver refuses a message: it is lost");
                finish(client, open.message_id, "dead", &why)
            }
            Outcome::Gone(why) => {
                log::error!(receiver, error = why; "a receiver is gone: it is told nothing any more until it is enabled again");
                let sql =
                    "INSERT INTO webmon.receivers (name, reason) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                let failed = DatabaseError::statement("cannot disable a receiver");
                client.execute(sql, &[receiver, &why]).map_err(failed)?;
                self.drop_if_disabled(client)
            }
            Outcome::Retry { why, after } => {
                let age = now(client)?.duration_since(open.message.created_at);
                let give_up = SignedDuration::try_from(self.give_up).unwrap_or(SignedDuration::MAX);
                if age > give_up {
                    log::error!(receiver, message, notices, attempt, error = why; "gave a message up: it is lost");
                    return finish(client, open.message_id, "dead", &why);
                }
                let pause = pause(attempt).max(after.unwrap_or_default());
                log::warn!(
                    receiver, message, notices, attempt, error = why, again = show_duration(pause);
                    "cannot tell a receiver, trying again"
                );
                client
                    .execute(
                        "UPDATE webmon.messages SET answer = $2, \
                             next_try_at = clock_timestamp() + $3::float8 * interval '1 second' \
                         WHERE message_id = $1 AND state = 'pending'",
                        &[&open.message_id, &why, &pause.as_secs_f64()],
                    )
                    .map(drop)
                    .map_err(DatabaseError::statement("cannot record a try"))
            }
        }
    }

    /// What waits for a receiver that is disabled is dead.
    fn drop_if_disabled(&self, client: &mut Client) -> Result<(), DatabaseError> {
        let sql = include_str!("../../sql/queries/alerts/drop_disabled.sql");
        let dead = client
            .execute(sql, &[&self.receiver.name])
            .map_err(DatabaseError::statement("cannot drop what waits for a disabled receiver"))?;
        if dead > 0 {
            log::error!(receiver = self.receiver.name, notifications = dead; "a receiver is disabled: what waited for it is lost");
        }
        Ok(())
    }

    /// Enqueues the job that sends what is left.
    fn come_back(&self, client: &mut Client) -> Result<(), JobError> {
        let failed = DatabaseError::statement("cannot look for what waits");
        let mut transaction = client.transaction().map_err(failed)?;
        let wakes = waiting(&mut transaction, Some(&self.receiver.name)).map_err(failed)?;
        wake(&mut transaction, &wakes)?;
        transaction.commit().map_err(failed)?;
        Ok(())
    }
}

fn finish(client: &mut Client, message_id: i64, state: &str, answer: &str) -> Result<(), DatabaseError> {
    client
        .execute(include_str!("../../sql/queries/alerts/finish_message.sql"), &[&message_id, &state, &answer])
        .map(drop)
        .map_err(DatabaseError::statement("cannot record what became of a message"))
}

fn now(client: &mut Client) -> Result<Timestamp, DatabaseError> {
    let row = client.query_one("SELECT clock_timestamp()", &[]);
    Ok(row.map_err(DatabaseError::statement("cannot read the clock"))?.get(0))
}

/// 5 s, doubled with each try, up to 1 h.
fn pause(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
    (PAUSE_MIN * 2u32.pow(doublings)).min(PAUSE_MAX)
}
