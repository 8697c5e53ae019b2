//! The worker: threads that run jobs, and a supervisor that keeps their leases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::enqueue::check_kind;
use super::error::QueueError;
use super::failure::Failure;
use super::kind::Kind;
use super::options::{WorkerOptions, in_range};
use super::runner::Runner;
use super::running::Running;
use super::setup::Setup;
use super::supervisor::Supervisor;
use crate::config::Postgres;
use crate::database::{Connector, Crew, DatabaseError, Outage, Remedy, STEADY_PATIENCE};
use crate::shutdown::Shutdown;

/// How long interrupted jobs have to end, and their threads to record it, when the worker stops. Then their connections
/// are cut off.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the jobs of its kinds. Any number of workers, in any number of processes, share a queue. A worker leaves kinds
/// that it does not know to others.
///
/// ```no_run
/// use webmon::config::Postgres;
/// use webmon::database::{self, Connector};
/// use webmon::jobs::{Kind, NewJob, Worker, WorkerOptions, enqueue};
/// use webmon::shutdown::Shutdown;
///
/// let postgres = Postgres::new("postgres://webmon@127.0.0.1:5432/webmon");
/// let mut client = Connector::new(&postgres, "my-program")?.connect()?;
/// database::migrate(&mut client)?;
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
    connector: Connector,
    setup: Setup,
}

impl Worker {
    /// Prepares a worker for these kinds. It does nothing before [`run`](Worker::run).
    ///
    /// # Errors
    /// [`QueueError::Invalid`] for an option or a kind's setting out of its range, for no kinds, or for two kinds of
    /// one name; [`QueueError::Database`] if `postgres` cannot be used.
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
                return Err(QueueError::Invalid(format!("kind {:?} is given twice", kind.name)));
            }
        }
        if by_name.is_empty() {
            return Err(QueueError::Invalid("worker: there are no kinds: expected at least one".to_owned()));
        }
        let connector = Connector::new(postgres, "webmon-jobs")?.patience(STEADY_PATIENCE);
        Ok(Worker { connector, setup: Setup::new(by_name, options) })
    }

    /// Runs jobs until `shutdown` is requested, and then those that have started to their end. After a connection fails
    /// it connects again, without end and ever more slowly. The failure of a job affects no other job.
    ///
    /// # Errors
    /// [`QueueError::Database`] for the first fault that trying again cannot mend: the schema or rights are missing, a
    /// thread panicked, and the like. Such a fault requests `shutdown`.
    pub fn run(&self, shutdown: &Shutdown) -> Result<(), QueueError> {
        let running = Running::default();
        // Only the connections of this run are cut off.
        let connector = self.connector.apart();
        let crew = Crew::new(shutdown);
        std::thread::scope(|scope| {
            for thread in 0..self.setup.options.threads {
                let (guard, running, connector) = (running.thread(), &running, &connector);
                crew.spawn(scope, format!("jobs-{thread}"), move || {
                    let _guard = guard;
                    self.work(connector, running, shutdown)
                });
            }
            let supervisor =
                Supervisor { setup: &self.setup, connector: &connector, running: &running, shutdown };
            crew.spawn(scope, "jobs-supervisor".to_owned(), move || supervisor.run());
            Ok(crew.see_out(&connector, self.setup.options.grace + LAST_WORDS)?)
        })
    }

    /// One thread: session after session.
    fn work(
        &self,
        connector: &Connector,
        running: &Running,
        shutdown: &Shutdown,
    ) -> Result<(), DatabaseError> {
        let mut outage = Outage::default();
        let mut unrecorded: Option<Failure> = None;
        while !shutdown.is_requested() || unrecorded.is_some() {
            let begun = Instant::now();
            let line = connector.line();
            let outcome = Runner::open(&self.setup, connector, &line, running)
                .and_then(|mut runner| runner.run(shutdown, &mut unrecorded));
            let Err(error) = outcome else { continue };
            if error.remedy() == Remedy::Stop {
                return Err(error);
            }
            if shutdown.is_requested() {
                // If the failure was not recorded, another worker notices it when the lease runs out.
                return Ok(());
            }
            shutdown.wait(outage.note(begun, &error, line.end(), "connecting again for jobs"));
        }
        Ok(())
    }
}
