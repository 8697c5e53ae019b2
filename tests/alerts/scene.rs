//! A database, a topic in memory and a watcher.

use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postgres::Client;
use webmon::alerts::{self, Limits, NewSilence, Watcher};
use webmon::config::{Config, Selection};
use webmon::jobs::{Worker, WorkerOptions};
use webmon::record::{CheckResult, Outcome};
use webmon::shutdown::Shutdown;
use webmon::store::{self, RollUpLimits};

use crate::support::log::Log;
use crate::support::{Database, config, database, result, value};

/// Seconds between two instants.
pub const APART: i64 = 60;

pub struct Scene {
    pub database: Database,
    pub log: Log,
    pub config: Config,
    pub client: Client,
    watcher: Watcher,
}

impl Scene {
    /// None if there is no PostgreSQL.
    pub fn new(more: &str) -> Option<Scene> {
        let database = database()?;
        let config = config("127.0.0.1:1", "log", &database.url, more);
        let watcher =
            Watcher::new(&config.postgres, &config.kafka.topic, &config.alerts, &config.routes).unwrap();
        let client = database.client();
        Some(Scene { database, log: Log::new(1), config, client, watcher })
    }

    pub fn append(&self, result: CheckResult) {
        self.log.append(0, value(result));
    }

    pub fn store(&self) {
        self.log.store(&self.config).unwrap();
        self.caught_up();
    }

    /// What a writer that goes on says every two seconds.
    pub fn caught_up(&self) {
        let sql = "UPDATE webmon.partition_offsets SET caught_up_at = clock_timestamp()";
        self.database.client().execute(sql, &[]).unwrap();
    }

    pub fn judge(&mut self) -> usize {
        self.watcher.judge_all(&mut self.client).unwrap()
    }

    /// Stores one result and judges.
    pub fn sees(&mut self, result: CheckResult) {
        self.append(result);
        self.store();
        self.judge();
    }

    /// Every transition, in order: kind, action and subject.
    pub fn transitions(&mut self) -> Vec<String> {
        let sql = "SELECT kind || ' ' || action || ' ' || subject FROM webmon.alert_transitions ORDER BY transition_id";
        self.client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    pub fn text(&mut self, sql: &str) -> Option<String> {
        self.client.query_opt(sql, &[]).unwrap().and_then(|row| row.get(0))
    }
}

/// The instant `number`, counted back from the minute in which the tests began: 0 is the newest, -1 the one before.
pub fn at(number: i64) -> Timestamp {
    static MINUTE: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second().div_euclid(APART) * APART);
    Timestamp::from_second(*MINUTE + number * APART).unwrap()
}

/// A result of an instant, with the next one a minute later.
pub fn seen(site: &str, location: &str, at: Timestamp, outcome: Outcome) -> CheckResult {
    let mut seen = result(site, 0, outcome);
    seen.location = location.to_owned();
    seen.scheduled_at = at;
    seen.next_at = Some(at + SignedDuration::from_secs(APART));
    seen.started_at = seen.started_at.map(|_| at + SignedDuration::from_millis(2));
    // So long that nothing is overdue in a test that does not ask for it.
    seen.time_budget_ms = Some(3_600_000);
    seen
}

/// Those who tell the receivers, in a thread.
pub struct Teller {
    shutdown: Shutdown,
    thread: JoinHandle<()>,
}

impl Teller {
    pub fn stop(self) {
        self.shutdown.request();
        self.thread.join().unwrap();
    }
}

impl Scene {
    pub fn teller(&self) -> Teller {
        let (config, shutdown) = (&self.config, Shutdown::new());
        let limits = Limits::of(&config.check);
        let kinds = alerts::kinds(&config.receivers, &config.routes, &limits, config.alerts.give_up);
        let poll = Duration::from_millis(10);
        let options = WorkerOptions { threads: config.receivers.len(), poll, ..WorkerOptions::default() };
        let worker = Worker::new(&config.postgres, kinds, options).unwrap();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || worker.run(&stop).unwrap());
        Teller { shutdown, thread }
    }

    /// Whatever waits for its time waits no longer.
    pub fn hurry(&mut self) {
        self.client
            .batch_execute(
                "UPDATE webmon.messages SET next_try_at = clock_timestamp() WHERE state = 'pending';
                 UPDATE webmon.notifications SET not_before = clock_timestamp() WHERE state = 'pending';
                 UPDATE webmon.jobs SET scheduled_at = clock_timestamp() WHERE state IN ('available', 'retryable')",
            )
            .unwrap();
        self.judge();
    }

    /// Silences a site for an hour.
    pub fn silence(&mut self, site: &str) -> i64 {
        let of = Selection { sites: [site.to_owned()].into(), ..Selection::default() };
        let new = NewSilence {
            of,
            kinds: Default::default(),
            from_at: None,
            until_at: Timestamp::now() + SignedDuration::from_hours(1),
            created_by: "a test".to_owned(),
            reason: "it is a test".to_owned(),
        };
        alerts::add_silence(&mut self.client, &new).unwrap()
    }
}

/// Derives the hours, as the job does every ten seconds.
pub fn roll_up(scene: &mut Scene) {
    let limits = RollUpLimits { pause: Duration::ZERO, ..RollUpLimits::default() };
    store::roll_up(&mut scene.client, &limits).unwrap();
}

impl Scene {
    /// Judges every site that is known, as if its time had come.
    pub fn look_again(&mut self) {
        self.client.execute("UPDATE webmon.alert_places SET look_at = clock_timestamp()", &[]).unwrap();
        self.judge();
    }
}
