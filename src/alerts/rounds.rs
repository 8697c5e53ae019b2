//! What a watcher looks after now and then: webmon itself, certificates, reminders, and jobs
//! that tell receivers.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use postgres::{Client, Transaction};

use super::own::OwnTroubles;
use super::store::{Wakes, store, waiting, wake};
use super::{certificates, reminders};
use crate::config::{Alerts, Route};
use crate::database::{DatabaseError, Remedy};

/// How often certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(3_600);
/// The advisory lock that keeps two watchers from doing this at once. Any number will do, as long as nobody else uses it.
const LOCK: i64 = 0x77_616c_6572_7473;
/// What is tried for so much longer than a message may be tried has nobody who delivers it.
const ORPHANED: SignedDuration = SignedDuration::from_hours(24);

pub(super) struct Rounds<'a> {
    topic: &'a str,
    alerts: &'a Alerts,
    routes: &'a [Route],
    own: OwnTroubles,
    next_certificates: Instant,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(topic: &'a str, alerts: &'a Alerts, routes: &'a [Route]) -> Rounds<'a> {
        let now = Instant::now();
        Rounds { topic, alerts, routes, own: OwnTroubles::default(), next_certificates: now }
    }

    /// Looks once.
    pub(super) fn run(&mut self, client: &mut Client) -> Result<(), DatabaseError> {
        let now = Instant::now();
        let certificates = now >= self.next_certificates;
        match self.round(client, certificates) {
            Ok(()) if certificates => self.next_certificates = now + CERTIFICATES,
            Ok(()) => {}
            Err(error) if error.remedy() == Remedy::Retry => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn round(&mut self, client: &mut Client, certificates: bool) -> Result<(), DatabaseError> {
        let failed = DatabaseError::statement("cannot look after alerts");
        let mut transaction = client.transaction().map_err(failed)?;
        let Some(wakes) = self.work(&mut transaction, certificates).map_err(failed)? else {
            // Another watcher does it.
            return transaction.rollback().map_err(failed);
        };
        wake(&mut transaction, &wakes)?;
        transaction.commit().map_err(failed)
    }

    fn work(
        &mut self,
        transaction: &mut Transaction<'_>,
        certificates: bool,
    ) -> Result<Option<Wakes>, postgres::Error> {
        transaction
            .batch_execute("SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL jit = off")?;
        let locked: bool = transaction.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK])?.get(0);
        if !locked {
            return Ok(None);
        }
        let now = transaction.query_one("SELECT clock_timestamp()", &[])?.get(0);
        let mut drafts = self.own.look(transaction, self.topic, self.alerts, now)?;
        if certificates {
            drafts.extend(certificates::look(transaction, &self.alerts.certificate, now)?);
        }
        store(transaction, self.routes, drafts, now)?;
        reminders::remind(transaction, self.routes, now)?;
        let give_up = SignedDuration::try_from(self.alerts.give_up).unwrap_or(SignedDuration::MAX);
        let orphaned = now.checked_sub(give_up).and_then(|at| at.checked_sub(ORPHANED)).ok();
        let dead = transaction.execute(include_str!("../../sql/queries/alerts/give_up.sql"), &[&orphaned])?;
        if dead > 0 {
            log::error!(notifications = dead; "gave up notifications that were not delivered in time: does a process know their receivers?");
        }
        // Jobs are there already, unless they were discarded or deleted.
        Ok(Some(waiting(transaction, None)?))
    }
}
