//! The job queue on a real PostgreSQL. What a job does is a row in `effects`, so that twice or not at all shows.

#![cfg(feature = "store")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postgres::{Client, Transaction};
use serde_json::json;
use support::{Database, wait_until};
use webmon::config::Postgres;
use webmon::jobs::{
    self, Job, JobError, JobInfo, Kind, MAX_ARGS, MAX_BATCH, MAX_ERROR, NewJob, QueueError, State, Worker,
    WorkerOptions, enqueue, enqueue_all,
};
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;

/// For what a test that goes wrong would wait for in vain.
const PATIENCE: Duration = Duration::from_secs(90);

fn database() -> Option<Database> {
    let database = support::database()?;
    database
        .client()
        .batch_execute("CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, job bigint, what text)")
        .unwrap();
    Some(database)
}

/// Leaves a row.
fn effect(job: &Job, transaction: &mut Transaction<'_>) -> Result<(), JobError> {
    let what = job.args.as_str().unwrap_or(&job.kind);
    transaction.execute("INSERT INTO effects (job, what) VALUES ($1, $2)", &[&job.id, &what])?;
    Ok(())
}

fn quick() -> WorkerOptions {
    WorkerOptions {
        lease: Duration::from_millis(500),
        poll: Duration::from_millis(10),
        ..WorkerOptions::default()
    }
}

fn worker(database: &Database, kinds: Vec<Kind>, options: WorkerOptions) -> Worker {
    Worker::new(&Postgres::new(&database.url), kinds, options).unwrap()
}

/// Lets workers run while `meanwhile` does, and stops them after it, also when it panics.
fn with_workers<T>(workers: &[Worker], meanwhile: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a Shutdown);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.request();
        }
    }
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter()
            .map(|worker| {
                let shutdown = shutdown.clone();
                scope.spawn(move || worker.run(&shutdown))
            })
            .collect();
        let outcome = {
            let _stop = Stop(&shutdown);
            meanwhile()
        };
        for worker in running {
            worker.join().unwrap().unwrap();
        }
        outcome
    })
}

fn job(client: &mut Client, id: i64) -> JobInfo {
    jobs::get(client, id).unwrap().unwrap()
}

fn wait_for(client: &mut Client, id: i64, state: State) -> JobInfo {
    wait_until(&format!("job {id} is {state}"), || job(client, id).state == state);
    job(client, id)
}

fn new(client: &mut Client, kind: &str) -> i64 {
    enqueue(client, &NewJob::new(kind)).unwrap().id
}

fn effects(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM effects")
}

/// What waits is due at once.
fn hurry(client: &mut Client) {
    client
        .batch_execute("UPDATE webmon.jobs SET scheduled_at = clock_timestamp() WHERE state = 'retryable'")
        .unwrap();
}

// ---- Claims: once, in order.

#[test]
fn two_workers_never_run_the_same_job() {
    const WORKERS: usize = 4;
    const JOBS: usize = 300;
    let Some(database) = database() else { return };
    let mut client = database.client();
    let jobs: Vec<NewJob> = (0..JOBS).map(|_| NewJob::new("work")).collect();
    assert_eq!(enqueue_all(&mut client, &jobs).unwrap(), JOBS);
    // All of them have claimed their first job before any goes on to its second.
    let barrier = Arc::new(Barrier::new(WORKERS));
    let workers: Vec<Worker> = (0..WORKERS)
        .map(|_| {
            let (barrier, first) = (Arc::clone(&barrier), AtomicUsize::new(0));
            let kind = Kind::new("work", move |job, transaction| {
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    barrier.wait();
                }
                effect(job, transaction)
            });
            // No lease is over meanwhile, however busy the machine: whoever finds one over ends its owner's connection,
            // and the owner comes back under another name. Renewed often all the same: of a job that has just been
            // completed none says that it was lost.
            worker(&database, vec![kind], WorkerOptions { lease: Duration::from_secs(300), ..quick() })
        })
        .collect();
    with_workers(&workers, || {
        let sql = "SELECT count(*) FROM webmon.jobs WHERE state = 'completed'";
        wait_until("all are completed", || database.number(sql) == JOBS as i64);
    });
    assert_eq!(effects(&database), JOBS as i64);
    assert_eq!(database.number("SELECT count(DISTINCT job) FROM effects"), JOBS as i64);
    assert_eq!(database.number("SELECT max(attempt)::bigint FROM webmon.jobs"), 1);
    assert_eq!(database.number("SELECT count(DISTINCT attempted_by) FROM webmon.jobs"), WORKERS as i64);
}

#[test]
fn jobs_run_by_priority_then_by_time_and_none_before_its_time() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let ago = |seconds: i64| Timestamp::now() - SignedDuration::from_secs(seconds);
    for (what, priority, at) in [
        ("third", 2, ago(10)),
        ("sixth", 4, ago(99)),
        ("second", 1, ago(5)),
        ("fourth", 2, ago(9)),
        ("not yet", 1, ago(-3_600)),
        ("first", 1, ago(7)),
        ("fifth", 3, ago(2)),
    ] {
        let new = NewJob::new("work").args(&what).unwrap().priority(priority).scheduled_at(at);
        enqueue(&mut client, &new).unwrap();
    }
    with_workers(&[worker(&database, vec![Kind::new("work", effect)], quick())], || {
        wait_until("six have run", || effects(&database) == 6);
    });
    let order = database.json("SELECT what FROM effects ORDER BY n");
    let expected = ["first", "second", "third", "fourth", "fifth", "sixth"].map(|what| json!({"what": what}));
    assert_eq!(order, expected);
    assert_eq!(jobs::list(&mut client, Some(State::Available), None, 10).unwrap().len(), 1);
}

#[test]
fn a_kind_that_a_worker_does_not_know_is_left_to_others() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let unknown = enqueue(&mut client, &NewJob::new("unknown").priority(1)).unwrap().id;
    let known = new(&mut client, "work");
    with_workers(&[worker(&database, vec![Kind::new("work", effect)], quick())], || {
        wait_for(&mut client, known, State::Completed);
    });
    assert_eq!(job(&mut client, unknown).state, State::Available);
}

// ---- Effects: once, whatever happens to the worker.

#[test]
fn a_job_and_its_completion_are_there_together_or_not_at_all() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    // The commit itself fails, after everything else went well.
    client
        .batch_execute(
            "CREATE TABLE parents (id int PRIMARY KEY);
             CREATE TABLE children (parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
    let kind = Kind::new("work", |job, transaction| {
        transaction.execute("INSERT INTO children VALUES (1)", &[])?;
        effect(job, transaction)
    });
    let id = new(&mut client, "work");
    with_workers(&[worker(&database, vec![kind], quick())], || {
        let failed = wait_for(&mut client, id, State::Retryable);
        assert!(failed.last_error.unwrap().contains("violates foreign key constraint"));
        assert_eq!(effects(&database), 0);
        client.batch_execute("INSERT INTO parents VALUES (1)").unwrap();
        hurry(&mut client);
        wait_for(&mut client, id, State::Completed);
    });
    assert_eq!(effects(&database), 1);
}

#[test]
fn a_worker_whose_job_another_one_has_cannot_complete_it() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let kind = Kind::new("work", move |job, transaction| {
        effect(job, transaction)?;
        begun.send(())?;
        gate.lock().unwrap().recv_timeout(PATIENCE)?;
        Ok(())
    });
    let id = new(&mut client, "work");
    // With so long a lease the supervisor looks away: only the fence is between the job and its completion.
    let options = WorkerOptions { lease: Duration::from_secs(300), ..quick() };
    with_workers(&[worker(&database, vec![kind], options)], || {
        has_begun.recv_timeout(PATIENCE).unwrap();
        let sql = "UPDATE webmon.jobs SET epoch = epoch + 1, attempted_by = 'another'";
        assert_eq!(client.execute(sql, &[]).unwrap(), 1);
        go_on.send(()).unwrap();
    });
    assert_eq!(effects(&database), 0);
    let held = job(&mut client, id);
    assert_eq!(
        (held.state, held.attempted_by.as_deref(), held.attempt),
        (State::Running, Some("another"), 1)
    );
}

#[test]
fn jobs_take_effect_once_though_connections_are_cut_again_and_again() {
    const JOBS: i64 = 60;
    let Some(database) = database() else { return };
    let mut client = database.client();
    for _ in 0..JOBS {
        new(&mut client, "work");
    }
    let url = database.url.clone();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let kind = Kind::new("work", move |job, transaction| {
        effect(job, transaction)?;
        // Now and then every connection of the workers is cut, also this one, before its commit.
        if count.fetch_add(1, Ordering::Relaxed) % 10 == 3 {
            let mut client = Client::connect(&url, postgres::NoTls)?;
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE application_name LIKE 'webmon-jobs:%' AND datname = current_database()";
            assert!(client.query(sql, &[])?.len() >= 2);
        }
        Ok(())
    });
    with_workers(&[worker(&database, vec![kind], WorkerOptions { threads: 2, ..quick() })], || {
        wait_until("all are completed", || {
            hurry(&mut client);
            database.number("SELECT count(*) FROM webmon.jobs WHERE state = 'completed'") == JOBS
        });
    });
    assert_eq!(database.number("SELECT count(DISTINCT job) FROM effects"), JOBS);
    assert_eq!(effects(&database), JOBS);
    assert!(runs.load(Ordering::Relaxed) > JOBS as usize, "no job was begun twice: the test is blind");
}

#[test]
fn a_lease_from_before_the_clock_was_set_back_is_over() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let id = new(&mut client, "work");
    client
        .batch_execute(
            "UPDATE webmon.jobs SET state = 'running', attempt = 1, epoch = 1, attempted_at = now(), attempted_by = 'gone',
             leased_at = now() + interval '1 hour', lease_until = now() + interval '1 hour 30 seconds'",
        )
        .unwrap();
    with_workers(&[worker(&database, vec![Kind::new("work", effect)], quick())], || {
        wait_until("it was taken in", || job(&mut client, id).state != State::Running);
        let error = job(&mut client, id).last_error.unwrap();
        assert!(error.starts_with("worker gone let the lease run out"), "{error}");
        hurry(&mut client);
        wait_for(&mut client, id, State::Completed);
    });
    assert_eq!(effects(&database), 1);
}

#[test]
fn a_job_that_runs_for_many_leases_is_left_to_its_worker() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let kind = Kind::new("work", move |job, transaction| {
        gate.lock().unwrap().recv_timeout(PATIENCE)?;
        effect(job, transaction)
    });
    let id = new(&mut client, "work");
    let workers = [worker(&database, vec![kind], WorkerOptions { threads: 2, ..quick() })];
    with_workers(&workers, || {
        let sql = "SELECT count(*) FROM webmon.jobs
                   WHERE lease_until > attempted_at + interval '2 seconds' AND lease_until > clock_timestamp()";
        wait_until("the lease was renewed again and again", || database.number(sql) == 1);
        go_on.send(()).unwrap();
        assert_eq!(wait_for(&mut client, id, State::Completed).attempt, 1);
    });
    assert_eq!(effects(&database), 1);
}

#[test]
fn a_job_outside_a_transaction_may_do_what_cannot_be_in_one() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let tidy = Kind::outside("tidy", |_, client| {
        client.batch_execute("VACUUM effects")?;
        client.batch_execute("SET search_path = nowhere")?;
        Ok(())
    });
    let workers = [worker(&database, vec![tidy, Kind::new("work", effect)], quick())];
    with_workers(&workers, || {
        let id = new(&mut client, "tidy");
        wait_for(&mut client, id, State::Completed);
        // What it left behind on its connection touches nobody.
        let id = new(&mut client, "work");
        wait_for(&mut client, id, State::Completed);
    });
    assert_eq!(effects(&database), 1);
}

// ---- Keys.

#[test]
fn of_jobs_with_one_key_one_waits_however_many_enqueue_it() {
    const THREADS: usize = 8;
    let Some(database) = database() else { return };
    for round in 0..20 {
        let barrier = Barrier::new(THREADS);
        let enqueued: Vec<jobs::Enqueued> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (database, barrier) = (&database, &barrier);
                    scope.spawn(move || {
                        let mut client = database.client();
                        let job =
                            NewJob::new("work").key(format!("key-{round}")).priority(1 + thread as i16 % 4);
                        barrier.wait();
                        enqueue(&mut client, &job).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(enqueued.iter().filter(|enqueued| enqueued.is_new).count(), 1, "{enqueued:?}");
        assert_eq!(enqueued.iter().map(|enqueued| enqueued.id).collect::<BTreeSet<_>>().len(), 1);
    }
    assert_eq!(database.number("SELECT count(*) FROM webmon.jobs"), 20);
    assert_eq!(database.number("SELECT max(priority)::bigint FROM webmon.jobs"), 1, "the most urgent wins");
}

#[test]
fn what_is_enqueued_while_its_like_runs_is_not_lost_and_waits_for_its_end() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let (gate, at_once) = (Mutex::new(gate), AtomicUsize::new(0));
    let kind = Kind::new("work", move |job, transaction| {
        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "two of one key run at once");
        begun.send(job.id)?;
        gate.lock().unwrap().recv_timeout(PATIENCE)?;
        at_once.fetch_sub(1, Ordering::SeqCst);
        effect(job, transaction)
    });
    let keyed = NewJob::new("work").key("k");
    let options = WorkerOptions { threads: 3, ..quick() };
    let workers = [worker(&database, vec![kind, Kind::new("other", effect)], options)];
    with_workers(&workers, || {
        let first = enqueue(&mut client, &keyed).unwrap();
        assert_eq!(has_begun.recv_timeout(PATIENCE).unwrap(), first.id);
        let second = enqueue(&mut client, &keyed).unwrap();
        let third = enqueue(&mut client, &keyed).unwrap();
        assert!(second.is_new && !third.is_new && second.id == third.id);
        // A job enqueued after it has run, so it has been passed over.
        let other = new(&mut client, "other");
        wait_for(&mut client, other, State::Completed);
        assert_eq!(job(&mut client, second.id).state, State::Available);
        go_on.send(()).unwrap();
        assert_eq!(has_begun.recv_timeout(PATIENCE).unwrap(), second.id);
        assert_eq!(job(&mut client, first.id).state, State::Completed);
        go_on.send(()).unwrap();
        wait_for(&mut client, second.id, State::Completed);
    });
    assert_eq!(effects(&database), 3);
}

#[test]
fn a_job_sees_what_was_written_by_whoever_enqueued_it_though_it_waited_already() {
    let Some(database) = database() else { return };
    let (mut client, mut other) = (database.client(), database.client());
    client.batch_execute("CREATE TABLE marks (mark int)").unwrap();
    let count = Kind::new("count", |job, transaction| {
        let marks: i64 = transaction.query_one("SELECT count(*) FROM marks", &[])?.get(0);
        transaction
            .execute("INSERT INTO effects (job, what) VALUES ($1, $2)", &[&job.id, &marks.to_string()])?;
        Ok(())
    });
    let keyed = NewJob::new("count").key("");
    let waiting = enqueue(&mut client, &keyed).unwrap();
    let mut transaction = other.transaction().unwrap();
    transaction.execute("INSERT INTO marks VALUES (1)", &[]).unwrap();
    assert_eq!(enqueue(&mut transaction, &keyed).unwrap().id, waiting.id);
    let last = enqueue(&mut client, &NewJob::new("work").priority(4)).unwrap().id;
    with_workers(&[worker(&database, vec![count, Kind::new("work", effect)], quick())], || {
        // The last in order has run: the first was passed over, as its other enqueuer has not committed.
        wait_for(&mut client, last, State::Completed);
        assert_eq!(job(&mut client, waiting.id).state, State::Available);
        transaction.commit().unwrap();
        wait_for(&mut client, waiting.id, State::Completed);
    });
    assert_eq!(database.json("SELECT what FROM effects WHERE what <> 'work'"), [json!({"what": "1"})]);
}

#[test]
fn a_job_enqueued_in_a_transaction_that_rolls_back_never_was() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let mut transaction = client.transaction().unwrap();
    enqueue(&mut transaction, &NewJob::new("work")).unwrap();
    transaction.rollback().unwrap();
    assert!(jobs::list(&mut client, None, None, 10).unwrap().is_empty());
}

#[test]
fn a_batch_folds_its_own_likes_and_is_all_or_nothing() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let keyed = |key: &str, priority| NewJob::new("work").key(key).priority(priority);
    let batch = [keyed("a", 3), keyed("b", 2), keyed("a", 1), NewJob::new("work"), NewJob::new("work")];
    assert_eq!(enqueue_all(&mut client, &batch).unwrap(), 4);
    assert_eq!(enqueue_all(&mut client, &batch).unwrap(), 2);
    assert_eq!(database.number("SELECT priority::bigint FROM webmon.jobs WHERE key = 'a'"), 1);
    let refused = enqueue_all(&mut client, &[NewJob::new("work"), NewJob::new("work").priority(5)]);
    assert_eq!(refused.unwrap_err().to_string(), "job \"work\": priority 5 is out of range: expected 1 to 4");
    assert_eq!(database.number("SELECT count(*) FROM webmon.jobs"), 6);
    assert_eq!(enqueue_all(&mut client, &[]).unwrap(), 0);
}

#[test]
fn every_bound_of_a_job_holds_at_its_edge() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let text = |length: usize| "x".repeat(length);
    let args = |length: usize| NewJob::new("work").args(&text(length)).unwrap();
    for (good, bad) in [
        (NewJob::new(text(100)), NewJob::new(text(101))),
        (NewJob::new("ä"), NewJob::new("")),
        (NewJob::new("work").key(text(200)), NewJob::new("work").key(text(201))),
        (NewJob::new("work").key(""), NewJob::new("work").key("\0")),
        (args(MAX_ARGS - 2), args(MAX_ARGS - 1)),
        (NewJob::new("work").priority(4), NewJob::new("work").priority(0)),
        (NewJob::new("work").max_attempts(i16::MAX), NewJob::new("work").max_attempts(0)),
    ] {
        enqueue(&mut client, &good).unwrap();
        assert!(matches!(enqueue(&mut client, &bad), Err(QueueError::Invalid(_))));
    }
    let many = vec![NewJob::new("work"); MAX_BATCH + 1];
    assert!(enqueue_all(&mut client, &many).is_err());
    assert_eq!(enqueue_all(&mut client, &many[1..]).unwrap(), MAX_BATCH);
}

// ---- Failures.

#[test]
fn a_job_that_fails_is_tried_again_after_a_pause_and_discarded_in_the_end_with_its_error() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = Kind::new("work", |job, transaction| {
        effect(job, transaction)?;
        Err(JobError::new(format!("no luck at attempt {}\0{}", job.attempt, "x".repeat(MAX_ERROR))))
    });
    let id = enqueue(&mut client, &NewJob::new("work").max_attempts(3)).unwrap().id;
    with_workers(&[worker(&database, vec![kind], quick())], || {
        for attempt in 1..=2 {
            wait_until("it failed once more", || {
                let job = job(&mut client, id);
                (job.attempt, job.state) == (attempt, State::Retryable)
            });
            let job = job(&mut client, id);
            let pause = job.scheduled_at.duration_since(job.attempted_at.unwrap()).as_secs_f64();
            let whole = f64::from(1 << (attempt - 1));
            assert!(whole / 2.0 <= pause && pause < whole + 5.0, "{pause} s after attempt {attempt}");
            hurry(&mut client);
        }
        let discarded = wait_for(&mut client, id, State::Discarded);
        assert_eq!(discarded.attempt, 3);
        let error = discarded.last_error.unwrap();
        assert!(error.starts_with("no luck at attempt 3\u{fffd}xxx") && error.len() <= MAX_ERROR);
    });
    assert_eq!(effects(&database), 0);
}

#[test]
fn an_error_that_trying_again_cannot_mend_discards_at_once() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = Kind::new("work", |_, _| Err(JobError::discard("of no use")));
    let id = new(&mut client, "work");
    let job = with_workers(&[worker(&database, vec![kind], quick())], || {
        wait_for(&mut client, id, State::Discarded)
    });
    assert_eq!((job.attempt, job.last_error.as_deref()), (1, Some("of no use")));
}

#[test]
fn a_panic_is_the_failure_of_its_job_alone() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = Kind::new("work", |job, transaction| {
        effect(job, transaction)?;
        assert!(job.args.is_object(), "args are {}", job.args);
        Ok(())
    });
    let bad = enqueue(&mut client, &NewJob::new("work").args(&"bad").unwrap().max_attempts(1)).unwrap().id;
    let good = new(&mut client, "work");
    with_workers(&[worker(&database, vec![kind], quick())], || {
        let job = wait_for(&mut client, bad, State::Discarded);
        assert_eq!(job.last_error.as_deref(), Some("it panicked: args are \"bad\""));
        wait_for(&mut client, good, State::Completed);
    });
    assert_eq!(effects(&database), 1);
}

/// A kind whose first job enqueues its like and fails.
fn overtaken(database: &Database, keyed: &NewJob, error: fn() -> JobError) -> Kind {
    let (url, keyed) = (database.url.clone(), keyed.clone());
    Kind::new("work", move |job, transaction| {
        if job.id == 1 {
            enqueue(&mut Client::connect(&url, postgres::NoTls)?, &keyed)?;
            return Err(error());
        }
        effect(job, transaction)
    })
}

#[test]
fn a_job_that_fails_hands_attempts_error_and_pause_to_its_like_that_waits() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let keyed = NewJob::new("work").key("k").max_attempts(9);
    let first = enqueue(&mut client, &keyed.clone().priority(1)).unwrap().id;
    assert_eq!(first, 1);
    client.batch_execute("UPDATE webmon.jobs SET attempt = 7").unwrap();
    let kind = overtaken(&database, &keyed.priority(3), || JobError::new("too early"));
    with_workers(&[worker(&database, vec![kind], quick())], || {
        let failed = wait_for(&mut client, first, State::Cancelled);
        assert_eq!((failed.last_error.as_deref(), failed.attempt), (Some("too early"), 8));
        // After 8 failures the pause is a minute at least.
        let heir = job(&mut client, 2);
        assert_eq!((heir.state, heir.attempt, heir.priority), (State::Retryable, 8, 1));
        assert_eq!(heir.last_error.as_deref(), Some("too early"));
        assert_eq!((heir.attempted_at, heir.attempted_by), (failed.attempted_at, failed.attempted_by));
        assert!(
            heir.scheduled_at > failed.finalized_at.unwrap() + SignedDuration::from_secs(60),
            "{:?}",
            heir.scheduled_at
        );
        assert!(matches!(jobs::retry(&mut client, first), Err(QueueError::KeyWaits { id: 1 })));
        hurry(&mut client);
        assert_eq!(wait_for(&mut client, 2, State::Completed).attempt, 9);
    });
    assert_eq!(effects(&database), 1);
}

#[test]
fn a_job_out_of_attempts_is_discarded_though_its_like_waits_and_that_one_begins_anew() {
    let errors: [(fn() -> JobError, i16); 2] =
        [(|| JobError::new("the last straw"), 1), (|| JobError::discard("the last straw"), 9)];
    for (error, attempts) in errors {
        let Some(database) = database() else { return };
        let mut client = database.client();
        let keyed = NewJob::new("work").key("k");
        enqueue(&mut client, &keyed.clone().max_attempts(attempts)).unwrap();
        let kind = overtaken(&database, &keyed, error);
        with_workers(&[worker(&database, vec![kind], quick())], || {
            wait_for(&mut client, 1, State::Discarded);
            wait_for(&mut client, 2, State::Completed);
        });
        let failed = job(&mut client, 1);
        assert_eq!((failed.state, failed.last_error.as_deref()), (State::Discarded, Some("the last straw")));
        let next = job(&mut client, 2);
        assert_eq!((next.attempt, next.last_error), (1, None), "it has nothing to do with it");
    }
}

#[test]
fn a_job_may_have_any_time_that_the_database_has() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (now, never) = (new(&mut client, "work"), new(&mut client, "work"));
    for (id, at) in [(now, "-infinity"), (never, "infinity")] {
        let sql = format!("UPDATE webmon.jobs SET scheduled_at = '{at}' WHERE id = {id}");
        client.batch_execute(&sql).unwrap();
    }
    let beat = Kind::new("beat", effect).schedule(Schedule::new("@yearly", "UTC").unwrap());
    with_workers(&[worker(&database, vec![Kind::new("work", effect), beat], quick())], || {
        wait_for(&mut client, now, State::Completed);
        let sql = "UPDATE webmon.job_schedules SET next_at = '-infinity'";
        wait_until("the schedule is there", || client.execute(sql, &[]).unwrap() == 1);
        wait_until("it has run at once", || effects(&database) == 2);
    });
    assert_eq!(job(&mut client, never).scheduled_at, Timestamp::MAX);
}

#[test]
fn a_job_runs_no_longer_than_it_may() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let second = Duration::from_secs(1);
    let asleep = Kind::new("asleep", |job, transaction| {
        effect(job, transaction)?;
        transaction.execute("SELECT pg_sleep(300)", &[])?;
        Ok(())
    });
    // Not in the database, but it looks.
    let busy = Kind::outside("busy", |job, _| {
        wait_until("it was interrupted", || job.is_interrupted());
        Err(JobError::new("interrupted"))
    });
    let ids: Vec<i64> = ["asleep", "busy"].iter().map(|kind| new(&mut client, kind)).collect();
    let workers = [worker(&database, vec![asleep.timeout(second), busy.timeout(second)], quick())];
    with_workers(&workers, || {
        for id in ids {
            let job = wait_for(&mut client, id, State::Retryable);
            let error = job.last_error.unwrap();
            // PostgreSQL's own limit is the same, and may be first.
            assert!(
                error == "it ran longer than 1s" || error.contains("statement timeout"),
                "{}: {error}",
                job.kind
            );
        }
    });
    assert_eq!(effects(&database), 0);
}

#[test]
fn a_job_that_does_not_end_in_time_is_let_go_and_cannot_complete() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let kind = Kind::new("work", move |job, transaction| {
        effect(job, transaction)?;
        if job.attempt == 1 {
            // It neither asks the database nor looks.
            gate.lock().unwrap().recv_timeout(PATIENCE)?;
        }
        Ok(())
    });
    let options = WorkerOptions { threads: 2, ..quick() };
    let workers = [worker(&database, vec![kind.timeout(Duration::from_secs(1))], options)];
    let id = new(&mut client, "work");
    with_workers(&workers, || {
        wait_for(&mut client, id, State::Retryable);
        hurry(&mut client);
        let job = wait_for(&mut client, id, State::Completed);
        assert_eq!(job.attempt, 2);
        go_on.send(()).unwrap();
    });
    assert_eq!(effects(&database), 1);
    assert_eq!(job(&mut client, id).state, State::Completed);
}

// ---- Cancelling, retrying, stopping.

#[test]
fn a_job_that_waits_is_cancelled_at_once_and_can_be_retried() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let id = new(&mut client, "work");
    assert_eq!(jobs::cancel(&mut client, id).unwrap(), Some(State::Cancelled));
    assert_eq!(jobs::cancel(&mut client, id).unwrap(), None);
    assert_eq!(jobs::cancel(&mut client, 99).unwrap(), None);
    let other = new(&mut client, "work");
    with_workers(&[worker(&database, vec![Kind::new("work", effect)], quick())], || {
        wait_for(&mut client, other, State::Completed);
        assert_eq!(job(&mut client, id).state, State::Cancelled);
        assert!(jobs::retry(&mut client, id).unwrap());
        wait_for(&mut client, id, State::Completed);
    });
    assert!(!jobs::retry(&mut client, 99).unwrap());
    assert_eq!(effects(&database), 2);
}

#[test]
fn a_job_that_runs_is_cancelled_and_undone() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = Kind::new("work", |job, transaction| {
        effect(job, transaction)?;
        transaction.execute("SELECT pg_sleep(300)", &[])?;
        Ok(())
    });
    let id = new(&mut client, "work");
    with_workers(&[worker(&database, vec![kind], quick())], || {
        wait_for(&mut client, id, State::Running);
        assert_eq!(jobs::cancel(&mut client, id).unwrap(), Some(State::Running));
        assert!(!jobs::retry(&mut client, id).unwrap());
        let job = wait_for(&mut client, id, State::Cancelled);
        assert!(job.cancel_requested_at.is_some());
    });
    assert_eq!(effects(&database), 0);
}

#[test]
fn a_job_cancelled_at_its_last_moment_is_not_completed() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let url = database.url.clone();
    let kind = Kind::new("work", move |job, transaction| {
        effect(job, transaction)?;
        // The supervisor has not seen it yet, and the job is done.
        jobs::cancel(&mut Client::connect(&url, postgres::NoTls)?, job.id)?;
        Ok(())
    });
    let id = new(&mut client, "work");
    let options = WorkerOptions { lease: Duration::from_secs(300), ..quick() };
    with_workers(&[worker(&database, vec![kind], options)], || wait_for(&mut client, id, State::Cancelled));
    assert_eq!(effects(&database), 0);
}

#[test]
fn a_worker_that_stops_gives_back_what_it_cannot_finish() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = Kind::new("work", |job, transaction| {
        effect(job, transaction)?;
        transaction.execute("SELECT pg_sleep(300)", &[])?;
        Ok(())
    });
    let id = enqueue(&mut client, &NewJob::new("work").max_attempts(1)).unwrap().id;
    // However busy the machine, no lease is over meanwhile.
    let lease = Duration::from_secs(300);
    let options = WorkerOptions { grace: Duration::ZERO, lease, ..quick() };
    with_workers(&[worker(&database, vec![kind], options)], || wait_for(&mut client, id, State::Running));
    let given_back = job(&mut client, id);
    assert_eq!((given_back.state, given_back.attempt), (State::Retryable, 0));
    assert_eq!(given_back.last_error.as_deref(), Some("its worker was stopped"));
    with_workers(&[worker(&database, vec![Kind::new("work", effect)], quick())], || {
        wait_for(&mut client, id, State::Completed)
    });
    assert_eq!(effects(&database), 1);
}

#[test]
fn a_worker_that_stops_finishes_what_it_can() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let kind = Kind::new("work", move |job, transaction| {
        begun.send(())?;
        gate.lock().unwrap().recv_timeout(PATIENCE)?;
        effect(job, transaction)
    });
    let ids = [new(&mut client, "work"), new(&mut client, "work")];
    // However busy the machine, no lease is over meanwhile.
    let lease = Duration::from_secs(300);
    let options = WorkerOptions { grace: Duration::from_secs(60), lease, ..quick() };
    let worker = worker(&database, vec![kind], options);
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&shutdown));
        has_begun.recv_timeout(PATIENCE).unwrap();
        shutdown.request();
        go_on.send(()).unwrap();
        running.join().unwrap().unwrap();
    });
    let states = ids.map(|id| job(&mut client, id).state);
    assert_eq!(states, [State::Completed, State::Available], "no other one is begun");
}

// ---- Periodic kinds.

#[test]
fn a_periodic_kind_runs_once_an_instant_whichever_of_many_workers_enqueues_it() {
    let Some(database) = database() else { return };
    let workers: Vec<Worker> = (0..4)
        .map(|_| {
            let kind = Kind::new("beat", effect).schedule(Schedule::new("@every 1s", "UTC").unwrap());
            worker(&database, vec![kind], quick())
        })
        .collect();
    with_workers(&workers, || wait_until("four instants have run", || effects(&database) >= 4));
    let rows = database.json(
        "SELECT count(*) AS all, count(DISTINCT scheduled_at) AS instants,
                bool_and(scheduled_at = date_trunc('second', scheduled_at) AND schedule = '@every 1s') AS whole,
                count(*) FILTER (WHERE state = 'completed') AS completed, (SELECT count(*) FROM effects) AS effects
         FROM webmon.jobs",
    );
    let row = &rows[0];
    assert_eq!(row["all"], row["instants"], "an instant was enqueued twice: {row}");
    assert_eq!(row["completed"], row["effects"], "{row}");
    assert_eq!(row["whole"], true, "{row}");
}

#[test]
fn instants_that_were_missed_come_to_one_job() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    let kind = || Kind::new("beat", effect).schedule(Schedule::new("@every 1h", "UTC").unwrap());
    // It is registered, and then nobody is there for a day.
    with_workers(&[worker(&database, vec![kind()], quick())], || {
        let sql = "SELECT count(*) FROM webmon.job_schedules WHERE next_at > now()";
        wait_until("the schedule is there", || database.number(sql) == 1);
    });
    client.batch_execute("UPDATE webmon.job_schedules SET next_at = next_at - interval '1 day'").unwrap();
    let workers: Vec<Worker> = (0..4).map(|_| worker(&database, vec![kind()], quick())).collect();
    with_workers(&workers, || {
        wait_until("it has run", || effects(&database) == 1);
        wait_until("the schedule has moved on", || {
            database.number("SELECT count(*) FROM webmon.job_schedules WHERE next_at > now()") == 1
        });
    });
    assert_eq!(database.number("SELECT count(*) FROM webmon.jobs"), 1);
}

#[test]
fn a_changed_schedule_takes_the_place_of_the_old_one() {
    let Some(database) = database() else { return };
    let kind = |expression| Kind::new("beat", effect).schedule(Schedule::new(expression, "UTC").unwrap());
    for (expression, soon) in [("@yearly", 0), ("@every 2s", 1), ("@every 2s", 1)] {
        with_workers(&[worker(&database, vec![kind(expression)], quick())], || {
            wait_until("the schedule is there", || {
                let sql = format!(
                    "SELECT count(*) FROM webmon.job_schedules
                     WHERE schedule = '{expression}' AND (next_at < now() + interval '3 seconds') = ({soon} = 1)"
                );
                database.number(&sql) == 1
            });
        });
    }
}

// ---- What is kept, and what cannot be.

#[test]
fn pruning_forgets_what_ended_long_ago_and_nothing_else() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    client
        .batch_execute(
            "INSERT INTO webmon.jobs (kind, args, priority, max_attempts, state, scheduled_at, attempt, attempted_at,
                                      attempted_by, last_error, finalized_at)
             SELECT format('%s %s', s, d), '{}', 1, 1, s, now() - d * interval '1 day', 1, now() - d * interval '1 day',
                    'somebody', 'error', CASE WHEN s <> 'retryable' THEN now() - d * interval '1 day' END
             FROM unnest(ARRAY['completed', 'cancelled', 'discarded', 'retryable']) AS s,
                  unnest(ARRAY[0, 2, 9, 99]) AS d",
        )
        .unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(jobs::prune(&mut client, day, day * 10, 2).unwrap(), 2, "no more than it may");
    assert_eq!(jobs::prune(&mut client, day, day * 10, 100).unwrap(), 5);
    assert_eq!(jobs::prune(&mut client, day, day * 10, 100).unwrap(), 0);
    let left: BTreeSet<String> =
        jobs::list(&mut client, None, None, 100).unwrap().into_iter().map(|job| job.kind).collect();
    let expected = [
        "completed 0",
        "cancelled 0",
        "discarded 0",
        "discarded 2",
        "discarded 9",
        "retryable 0",
        "retryable 2",
        "retryable 9",
        "retryable 99",
    ];
    assert_eq!(left, expected.map(str::to_owned).into());
}

#[test]
fn the_database_refuses_a_job_in_a_state_that_cannot_be() {
    let Some(database) = database() else { return };
    let mut client = database.client();
    new(&mut client, "work");
    let lease = "leased_at = now(), lease_until = now()";
    let begun = "attempted_at = now(), attempted_by = 'x'";
    for (change, constraint) in [
        (format!("state = 'scheduled', {begun}"), "jobs_state_check"),
        (format!("state = 'running', {begun}"), "jobs_lease_check"),
        (format!("state = 'running', {lease}"), "jobs_attempted_check"),
        (lease.to_owned(), "jobs_lease_check"),
        (format!("state = 'completed', {begun}"), "jobs_finalized_check"),
        ("state = 'completed', finalized_at = now()".to_owned(), "jobs_attempted_check"),
        ("finalized_at = now()".to_owned(), "jobs_finalized_check"),
        (format!("state = 'retryable', {begun}"), "jobs_error_check"),
        (format!("state = 'discarded', finalized_at = now(), {begun}"), "jobs_error_check"),
        ("cancel_requested_at = now()".to_owned(), "jobs_cancel_check"),
        ("attempt = max_attempts + 1".to_owned(), "jobs_attempt_check"),
        ("priority = 5".to_owned(), "jobs_priority_check"),
    ] {
        let error = client.batch_execute(&format!("UPDATE webmon.jobs SET {change}")).expect_err(&change);
        let refused_by = error.as_db_error().and_then(|error| error.constraint()).map(str::to_owned);
        assert_eq!(refused_by.as_deref(), Some(constraint), "{change}");
    }
}

#[test]
fn a_worker_that_cannot_be_is_refused_with_what_is_wrong() {
    let make = |kinds: Vec<Kind>, options| {
        let refused = Worker::new(&Postgres::new("postgres://webmon@127.0.0.1:1/webmon"), kinds, options);
        refused.map(drop).unwrap_err().to_string()
    };
    let kind = || Kind::new("work", effect);
    let default = WorkerOptions::default;
    for (kinds, options, message) in [
        (vec![], default(), "worker: there are no kinds: expected at least one"),
        (vec![kind(), kind()], default(), "kind \"work\" is given twice"),
        (
            vec![Kind::new("", effect)],
            default(),
            "\"\" is not a job's kind: expected 1 to 100 characters, none NUL",
        ),
        (
            vec![kind().timeout(Duration::ZERO)],
            default(),
            "kind \"work\": timeout \"0s\" is out of range: expected 1s to 7d",
        ),
        (vec![kind().priority(9)], default(), "job \"work\": priority 9 is out of range: expected 1 to 4"),
        (
            vec![kind()],
            WorkerOptions { threads: 0, ..default() },
            "worker: threads 0 is out of range: expected 1 to 64",
        ),
        (
            vec![kind()],
            WorkerOptions { lease: Duration::from_millis(499), ..default() },
            "worker: lease \"499ms\" is out of range: expected 500ms to 5m",
        ),
    ] {
        assert_eq!(make(kinds, options), message);
    }
}

#[test]
fn a_database_without_the_schema_ends_the_worker_with_one_message() {
    let Some(database) = support::empty_database() else { return };
    let shutdown = Shutdown::new();
    let worker = worker(&database, vec![Kind::new("work", effect)], quick());
    let error = worker.run(&shutdown).unwrap_err().to_string();
    assert!(error.ends_with("run \"webmon-store migrate\""), "{error}");
    assert!(shutdown.is_requested());
}
