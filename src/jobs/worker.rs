//! The worker: threads that run jobs, and a supervisor that keeps their leases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::enqueue::check_kind;
use super::running::Running;
use super::session::{Failure, Session};
use super::supervisor::Supervisor;
use super::{Kind, QueueError};
use crate::config::{Postgres, show_duration};
use crate::shutdown::Shutdown;
use crate::store::{Connector, Crew, Outage, Remedy, STEADY_PATIENCE, StoreError, process_name};

/// How long interrupted jobs have to end, and their threads to say so, when the worker stops. Then their connections are
/// cut off.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a [`Worker`] goes about it.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Jobs at once, each a thread with a connection of its own; one more connection supervises them. 1 to 64,
    /// default 1.
    pub threads: usize,
    /// How long a job is held unless its lease is renewed, which happens three times meanwhile: how long the job of a
    /// worker that was killed waits to be run again. Too short and a busy database makes workers lose their jobs.
    /// 500 ms to 5 min, default 30 s.
    pub lease: Duration,
    /// How long apart a thread without work looks for some: how late a job begins. 10 ms to 1 min, default 1 s.
    pub poll: Duration,
    /// How long jobs may go on once a stop was asked for. Then they are interrupted, and others begin them anew; where a
    /// job waits for a database that does not answer, its connection is cut off 5 s later. 0 s to 10 min, default 10 s.
    pub grace: Duration,
    /// The machine, for the worker's name; by default the host's.
    pub host: String,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        WorkerOptions {
            threads: 1,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
        }
    }
}

impl WorkerOptions {
    fn validate(&self) -> Result<(), QueueError> {
        if !(1..=64).contains(&self.threads) {
            let problem = format!("worker: threads {} is out of range: expected 1 to 64", self.threads);
            return Err(QueueError::Invalid(problem));
        }
        let (ms, minute) = (Duration::from_millis(1), Duration::from_secs(60));
        in_range("worker: lease", self.lease, ms * 500, minute * 5)?;
        in_range("worker: poll", self.poll, ms * 10, minute)?;
        in_range("worker: grace", self.grace, Duration::ZERO, minute * 10)
    }
}

fn in_range(what: &str, value: Duration, min: Duration, max: Duration) -> Result<(), QueueError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let [value, min, max] = [value, min, max].map(show_duration);
    Err(QueueError::Invalid(format!("{what} {value:?} is out of range: expected {min} to {max}")))
}

/// Runs the jobs of its kinds. Any number of workers share a queue, in any number of processes; kinds that a worker
/// does not know it leaves to others.
///
/// ```no_run
/// use webmon::config::Postgres;
/// use webmon::jobs::{Kind, NewJob, Worker, WorkerOptions, enqueue};
/// use webmon::shutdown::Shutdown;
/// use webmon::store::{self, Connector};
///
/// let postgres = Postgres::new("postgres://webmon@127.0.0.1:5432/webmon");
/// let mut client = Connector::new(&postgres, "my-program")?.connect()?;
/// store::migrate(&mut client)?;
/// enqueue(&mut client, &NewJob::new("greet").args(&"world")?)?;
///
/// let greet = Kind::new("greet", |job, transaction| {
///     transaction.execute("INSERT INTO greetings (name) VALUES ($1)", &[&job.args::<String>()?])?;
///     Ok(())
/// });
/// Worker::new(&postgres, vec![greet], WorkerOptions::default())?.run(&Shutdown::new())?; // blocks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker {
    pub(super) connector: Connector,
    pub(super) kinds: BTreeMap<String, Kind>,
    pub(super) kind_names: Vec<String>,
    pub(super) options: WorkerOptions,
    process: String,
    connections: AtomicU32,
}

impl Worker {
    /// A worker for these kinds, not yet at work.
    ///
    /// # Errors
    /// [`QueueError::Invalid`] for an option or a kind's setting out of its range, no kinds, or two of one name;
    /// [`QueueError::Store`] where `postgres` cannot be used.
    pub fn new(postgres: &Postgres, kinds: Vec<Kind>, options: WorkerOptions) -> Result<Worker, QueueError> {
        options.validate()?;
        let mut by_name = BTreeMap::new();
        for kind in kinds {
            check_kind(&kind.name)?;
            let day = Duration::from_secs(86_400);
            in_range(
                &format!("kind {:?}: timeout", kind.name),
                kind.timeout,
                Duration::from_secs(1),
                day * 7,
            )?;
            kind.due().validate()?;
            if let Some(kind) = by_name.insert(kind.name.clone(), kind) {
                return Err(QueueError::Invalid(format!("kind {:?} is there twice", kind.name)));
            }
        }
        if by_name.is_empty() {
            return Err(QueueError::Invalid("worker: no kinds: expected at least one".to_owned()));
        }
        Ok(Worker {
            connector: Connector::new(postgres, "webmon-jobs")?.patience(STEADY_PATIENCE),
            kind_names: by_name.keys().cloned().collect(),
            kinds: by_name,
            process: process_name(&options.host),
            options,
            connections: AtomicU32::new(0),
        })
    }

    /// Runs jobs until `shutdown` is requested, and those begun to their end. Connections that fail are made again,
    /// without end and ever more slowly. A job's failure is the job's alone.
    ///
    /// # Errors
    /// [`QueueError::Store`] for the first fault that trying again cannot mend: the schema or rights are missing, a thread
    /// panicked, and the like. It requests `shutdown`.
    pub fn run(&self, shutdown: &Shutdown) -> Result<(), QueueError> {
        let running = Running::default();
        // Cut off are the connections of this run alone.
        let connector = self.connector.apart();
        let crew = Crew::new(shutdown);
        std::thread::scope(|scope| {
            for thread in 0..self.options.threads {
                let (guard, running, connector) = (running.thread(), &running, &connector);
                crew.spawn(scope, format!("jobs-{thread}"), move || {
                    let _guard = guard;
                    self.work(connector, running, shutdown)
                });
            }
            let supervisor = Supervisor { worker: self, connector: &connector, running: &running, shutdown };
            crew.spawn(scope, "jobs-supervisor".to_owned(), move || supervisor.run());
            Ok(crew.see_out(&connector, self.options.grace + LAST_WORDS)?)
        })
    }

    /// One thread: session after session.
    fn work(&self, connector: &Connector, running: &Running, shutdown: &Shutdown) -> Result<(), StoreError> {
        let mut outage = Outage::default();
        let mut unrecorded: Option<Failure> = None;
        while !shutdown.is_requested() || unrecorded.is_some() {
            let begun = Instant::now();
            let line = connector.line();
            let outcome = Session::open(self, connector, &line, running)
                .and_then(|mut session| session.run(shutdown, &mut unrecorded));
            let Err(error) = outcome else { continue };
            if error.remedy() == Remedy::Stop {
                return Err(error);
            }
            if shutdown.is_requested() {
                // What was not recorded shows when the lease runs out.
                return Ok(());
            }
            shutdown.wait(outage.note(begun, &error, line.end(), "connecting anew for jobs"));
        }
        Ok(())
    }

    /// A name for a connection, not used before: what is said of an earlier one is never said of this.
    pub(super) fn next_owner(&self) -> String {
        format!("{}:{}", self.process, self.connections.fetch_add(1, Ordering::Relaxed))
    }
}
