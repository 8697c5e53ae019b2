//! The watcher: a thread that judges the sites with news, and now and then looks after everything else.

use std::time::Duration;

use postgres::Client;

use super::decide::{decide, newest};
use super::draft::Draft;
use super::fresh::Fresh;
use super::known::{Known, Place};
use super::read::{Stored, read};
use super::rounds::Rounds;
use super::store::{store, wake};
use super::summary::summary;
use crate::config::{Alerts, Postgres, Route};
use crate::database::{
    Connector, Crew, DatabaseError, Remedy, STEADY_PATIENCE, check_schema, keep_connected,
};
use crate::shutdown::Shutdown;

/// How often a watcher looks for news when it has none.
const POLL: Duration = Duration::from_millis(100);
/// How often a watcher looks after everything else.
const ROUND: Duration = Duration::from_secs(10);
/// Sites of one transaction, at most twice as many.
const SITES: i64 = 500;
/// How long the thread has to end before its connection is cut off.
const GRACE: Duration = Duration::from_secs(5);

/// Judges sites, and stores what changed and whom to tell. Any number of watchers, in any number of processes, share the
/// work: each takes the sites that no other one has locked.
pub struct Watcher {
    connector: Connector,
    topic: String,
    alerts: Alerts,
    routes: Vec<Route>,
}

impl Watcher {
    /// Prepares a watcher of the results of `topic`. It does nothing before [`run`](Watcher::run).
    ///
    /// # Errors
    /// [`DatabaseError`] if `postgres` cannot be used.
    pub fn new(
        postgres: &Postgres,
        topic: &str,
        alerts: &Alerts,
        routes: &[Route],
    ) -> Result<Watcher, DatabaseError> {
        let connector = Connector::new(postgres, "webmon-alerts")?.patience(STEADY_PATIENCE);
        Ok(Watcher { connector, topic: topic.to_owned(), alerts: alerts.clone(), routes: routes.to_vec() })
    }

    /// Works until `shutdown` is requested. After a connection fails it connects again, without end and ever more
    /// slowly.
    ///
    /// # Errors
    /// The first fault that trying again cannot mend: the schema or rights are missing, the thread panicked, and the
    /// like. Such a fault requests `shutdown`.
    pub fn run(&self, shutdown: &Shutdown) -> Result<(), DatabaseError> {
        let connector = self.connector.apart();
        let crew = Crew::new(shutdown);
        std::thread::scope(|scope| {
            let connector = &connector;
            let judge = move |client: &mut Client| self.watch(client, shutdown);
            let rounds = move |client: &mut Client| self.look_around(client, shutdown);
            crew.spawn(scope, "alerts".to_owned(), move || Watcher::work(connector, shutdown, judge));
            crew.spawn(scope, "alerts-rounds".to_owned(), move || Watcher::work(connector, shutdown, rounds));
            crew.see_out(connector, GRACE)
        })
    }

    /// Judges once what there is news of, until there is none, and looks after the rest. For those who want no thread.
    /// Returns how many sites were judged.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn judge_all(&self, client: &mut Client) -> Result<usize, DatabaseError> {
        Rounds::new(&self.topic, &self.alerts, &self.routes).run(client)?;
        let mut sites = 0;
        loop {
            match self.judge_some(client)? {
                0 => return Ok(sites),
                judged => sites += judged,
            }
        }
    }

    /// One thread: connection after connection.
    fn work(
        connector: &Connector,
        shutdown: &Shutdown,
        act: impl Fn(&mut Client) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        keep_connected(connector, shutdown, "connecting again for alerts", |client| {
            check_schema(client)?;
            act(client)
        })
    }

    fn watch(&self, client: &mut Client, shutdown: &Shutdown) -> Result<(), DatabaseError> {
        while !shutdown.is_requested() {
            match self.judge_some(client) {
                Ok(judged) if judged < SITES as usize => drop(shutdown.wait(POLL)),
                Ok(_) => {}
                // Another process was in the way.
                Err(error) if error.remedy() == Remedy::Retry => drop(shutdown.wait(POLL)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn look_around(&self, client: &mut Client, shutdown: &Shutdown) -> Result<(), DatabaseError> {
        let mut rounds = Rounds::new(&self.topic, &self.alerts, &self.routes);
        while !shutdown.is_requested() {
            rounds.run(client)?;
            shutdown.wait(ROUND);
        }
        Ok(())
    }

    /// Judges some of the sites with news. Returns how many.
    fn judge_some(&self, client: &mut Client) -> Result<usize, DatabaseError> {
        let failed = DatabaseError::statement("cannot judge sites");
        let anything: bool = client
            .query_one(
                "SELECT EXISTS (SELECT FROM webmon.alert_notes) \
                     OR EXISTS (SELECT FROM webmon.alert_places WHERE look_at <= clock_timestamp())",
                &[],
            )
            .map_err(failed)?
            .get(0);
        if !anything {
            return Ok(0);
        }
        let mut transaction = client.transaction().map_err(failed)?;
        let mut lock = || {
            // A watcher that stops between two statements must not hold its locks for ever.
            transaction.batch_execute(
                "SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL jit = off",
            )?;
            transaction.execute(include_str!("../../sql/queries/alerts/add_sites.sql"), &[&(4 * SITES)])?;
            let rows =
                transaction.query(include_str!("../../sql/queries/alerts/lock_sites.sql"), &[&SITES])?;
            let sites: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            transaction.execute(include_str!("../../sql/queries/alerts/take_notes.sql"), &[&sites])?;
            let stored = Stored::read(&mut transaction, &self.topic)?;
            let known = read(&mut transaction, &sites, stored.now)?;
            Ok::<_, postgres::Error>((sites, stored, known))
        };
        let (sites, stored, mut known) = lock().map_err(failed)?;
        let mut places = Places::default();
        let mut settled = (Vec::new(), Vec::new());
        let (mut drafts, mut fresh) = (Vec::new(), Fresh::default());
        for site in &mut known {
            let before: Vec<_> = site.places.iter().map(|place| place.voice.down_since).collect();
            let decision = decide(site, &stored, self.alerts.max_lag);
            places.push(site);
            settled.0.push(site.site_id);
            settled.1.push(decision.settled);
            let moved = site.places.iter().map(|place| place.voice.down_since).ne(before);
            if moved || !decision.changes.is_empty() || site.unlisted().next().is_some() {
                fresh.push(site);
            }
            drafts.extend(
                decision
                    .changes
                    .iter()
                    .filter_map(|change| Draft::new(site, change, &summary(site, change), stored.now)),
            );
        }
        let save = || {
            places.save(&mut transaction)?;
            transaction.execute(
                "UPDATE webmon.alert_sites a SET settled = new.settled \
                 FROM unnest($1::integer[], $2::boolean[]) AS new (site_id, settled) \
                 WHERE a.site_id = new.site_id AND a.settled <> new.settled",
                &[&settled.0, &settled.1],
            )?;
            store(&mut transaction, &self.routes, drafts, stored.now)
        };
        let wakes = save().map_err(failed)?;
        wake(&mut transaction, &wakes)?;
        transaction.commit().map_err(failed)?;
        fresh.write(client)?;
        Ok(sites.len())
    }
}

/// The columns of what locations came to.
#[derive(Default)]
struct Places {
    sites: Vec<i32>,
    locations: Vec<i32>,
    newest: Vec<Option<jiff::Timestamp>>,
    look_at: Vec<Option<jiff::Timestamp>>,
    down_since: Vec<Option<jiff::Timestamp>>,
    slow_since: Vec<Option<jiff::Timestamp>>,
}

impl Places {
    fn push(&mut self, site: &Known) {
        for place in &site.places {
            let Place { voice, look_at, .. } = place;
            self.sites.push(site.site_id);
            self.locations.push(voice.location_id);
            self.newest.push(newest(place));
            self.look_at.push(*look_at);
            self.down_since.push(voice.down_since);
            self.slow_since.push(voice.slow_since);
        }
    }

    fn save(&self, transaction: &mut postgres::Transaction<'_>) -> Result<(), postgres::Error> {
        let sql = include_str!("../../sql/queries/alerts/save_places.sql");
        transaction.execute(
            sql,
            &[&self.sites, &self.locations, &self.newest, &self.look_at, &self.down_since, &self.slow_since],
        )?;
        Ok(())
    }
}
