//! The heartbeat of the storing side: a URL is asked as long as results are being stored.

use postgres::Client;

use super::receiver::{Limits, Outcome, beat};
use crate::config::{Heartbeat, Postgres};
use crate::database::{Connector, Crew, DatabaseError, STEADY_PATIENCE, keep_connected};
use crate::shutdown::Shutdown;

/// Asks the URL of `[heartbeat]` again and again, as long as offsets of the topic move. So whoever waits for it notices
/// when webmon-store stands still, and not only when it has ended.
pub struct Pulse {
    connector: Connector,
    topic: String,
    heartbeat: Heartbeat,
    limits: Limits,
}

impl Pulse {
    /// Prepares a pulse for the results of `topic`. It does nothing before [`run`](Pulse::run).
    ///
    /// # Errors
    /// [`DatabaseError`] if `postgres` cannot be used.
    pub fn new(
        postgres: &Postgres,
        topic: &str,
        heartbeat: &Heartbeat,
        limits: &Limits,
    ) -> Result<Pulse, DatabaseError> {
        let connector = Connector::new(postgres, "webmon-heartbeat")?.patience(STEADY_PATIENCE);
        let (topic, heartbeat, limits) = (topic.to_owned(), heartbeat.clone(), limits.clone());
        Ok(Pulse { connector, topic, heartbeat, limits })
    }

    /// Beats until `shutdown` is requested. After a connection fails it connects again.
    ///
    /// # Errors
    /// As [`Watcher::run`](super::Watcher::run).
    pub fn run(&self, shutdown: &Shutdown) -> Result<(), DatabaseError> {
        let connector = self.connector.apart();
        let crew = Crew::new(shutdown);
        std::thread::scope(|scope| {
            crew.spawn(scope, "heartbeat".to_owned(), || {
                let mut stored = None;
                keep_connected(&connector, shutdown, "connecting again for the heartbeat", |client| {
                    self.beat(client, &mut stored, shutdown)
                })
            });
            crew.see_out(&connector, self.heartbeat.timeout)
        })
    }

    /// `stored` is how far the topic was stored at the last beat.
    fn beat(
        &self,
        client: &mut Client,
        stored: &mut Option<i64>,
        shutdown: &Shutdown,
    ) -> Result<(), DatabaseError> {
        while !shutdown.is_requested() {
            let now: i64 = client
                .query_one(
                    "SELECT coalesce(sum(next_offset), 0)::bigint FROM webmon.partition_offsets WHERE topic = $1",
                    &[&self.topic],
                )
                .map_err(DatabaseError::statement("cannot look whether results are stored"))?
                .get(0);
            if stored.is_some_and(|before| before != now) {
                match beat(&self.heartbeat, &self.limits) {
                    Outcome::Delivered(_) => log::debug!("the heartbeat was heard"),
                    Outcome::Retry { why, .. } | Outcome::Refused(why) | Outcome::Gone(why) => {
                        log::warn!(error = why; "the heartbeat was not heard");
                    }
                }
            } else if stored.is_some() {
                log::warn!("nothing was stored since the last heartbeat, so there is none");
            }
            *stored = Some(now);
            shutdown.wait(self.heartbeat.every);
        }
        Ok(())
    }
}
