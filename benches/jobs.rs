//! How fast the job queue is, and what a claim costs in a long history, against a floor in the same run: a bare
//! `UPDATE` of one row by its primary key, committed.
//!
//! ```text
//! ./dev/services up postgres && . .dev/env && cargo bench --bench jobs -- [--jobs 5000] [--finished 1000000] [--waiting 100000]
//! ```
//!
//! The database runs on the same machine, and the figures share its cores with it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use postgres::Client;
use support::{Database, database};
use webmon::config::Postgres;
use webmon::jobs::{Kind, MAX_BATCH, NewJob, Worker, WorkerOptions, enqueue, enqueue_all};
use webmon::shutdown::Shutdown;

/// The floor.
const UPDATE: &str = "UPDATE floor SET n = n + 1 WHERE id = $1";

fn main() {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let option = |name: &str, default: usize| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let Some(database) = database() else { return };
    database
        .client()
        .batch_execute(
            "CREATE TABLE floor (id int PRIMARY KEY, n int); INSERT INTO floor SELECT n, 0 FROM generate_series(0, 999) n;
             CREATE TABLE effects (job bigint)",
        )
        .unwrap();
    let jobs = option("--jobs", 5_000);
    enqueueing(&database, jobs);
    for threads in [1, 2, 4] {
        working(&database, jobs, threads);
    }
    claims(&database, option("--finished", 1_000_000), option("--waiting", 100_000));
}

fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Updates a second, over so many connections.
fn floor(database: &Database, connections: usize, updates: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..connections {
            scope.spawn(move || {
                let mut client = database.client();
                let update = client.prepare(UPDATE).unwrap();
                for n in 0..updates / connections {
                    let id = (n * connections + connection) as i32 % 1_000;
                    client.execute(&update, &[&id]).unwrap();
                }
            });
        }
    });
    rate(updates, begun)
}

fn enqueueing(database: &Database, jobs: usize) {
    let mut client = database.client();
    for (batch, all) in [(1, jobs / 5), (100, jobs), (MAX_BATCH, jobs.max(MAX_BATCH))] {
        let new: Vec<NewJob> = (0..batch).map(|n| NewJob::new("work").args(&n).unwrap()).collect();
        let begun = Instant::now();
        for _ in 0..all / batch {
            match &new[..] {
                [job] => drop(enqueue(&mut client, job).unwrap()),
                jobs => assert_eq!(enqueue_all(&mut client, jobs).unwrap(), jobs.len()),
            }
        }
        let (rate, floor) = (rate(all, begun), floor(database, 1, jobs / 5));
        println!("enqueue  {batch:5} a transaction: {rate:.0} jobs/s; floor {floor:.0} updates/s");
        client.batch_execute("TRUNCATE webmon.jobs").unwrap();
    }
}

/// Claims, runs and completes jobs whose work is one insert.
fn working(database: &Database, jobs: usize, threads: usize) {
    let mut client = database.client();
    client.batch_execute("TRUNCATE webmon.jobs, effects").unwrap();
    let new = vec![NewJob::new("work"); MAX_BATCH];
    let mut left = jobs;
    while left > 0 {
        left -= enqueue_all(&mut client, &new[..left.min(MAX_BATCH)]).unwrap();
    }
    let kind = Kind::new("work", |job, transaction| {
        transaction.execute("INSERT INTO effects VALUES ($1)", &[&job.id])?;
        Ok(())
    });
    let options = WorkerOptions { threads, poll: Duration::from_millis(10), ..WorkerOptions::default() };
    let worker = Worker::new(&Postgres::new(&database.url), vec![kind], options).unwrap();
    let shutdown = Shutdown::new();
    let rate = std::thread::scope(|scope| {
        let begun = Instant::now();
        let running = scope.spawn(|| worker.run(&shutdown));
        let sql = "SELECT count(*) FROM webmon.jobs WHERE state IN ('available', 'running')";
        while client.query_one(sql, &[]).unwrap().get::<_, i64>(0) > 0 && !running.is_finished() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let rate = rate(jobs, begun);
        shutdown.request();
        running.join().unwrap().unwrap();
        rate
    });
    assert_eq!(database.number("SELECT count(*) FROM effects"), jobs as i64);
    let floor = floor(database, threads, jobs);
    println!(
        "work     {threads} threads, claim, insert and complete: {rate:.0} jobs/s; floor {floor:.0} updates/s"
    );
}

fn claims(database: &Database, finished: usize, waiting: usize) {
    let mut client = database.client();
    client.batch_execute("TRUNCATE webmon.jobs").unwrap();
    fill(&mut client, "work", 2_000, "now() - n * interval '1 millisecond'");
    time_claims(&mut client, "one of 2000 waiting jobs");

    client.batch_execute("TRUNCATE webmon.jobs").unwrap();
    client
        .execute(
            "INSERT INTO webmon.jobs (kind, args, priority, max_attempts, state, scheduled_at, attempt, attempted_at,
                                      attempted_by, finalized_at)
             SELECT 'work', '{}', 2, 20, 'completed', now() - n * interval '1 second', 1, now(), 'x',
                    now() - n * interval '1 second'
             FROM generate_series(1, $1::bigint) AS n",
            &[&(finished as i64)],
        )
        .unwrap();
    for (kind, at, what) in [
        ("work", "now() - n * interval '1 millisecond'", "one of them all"),
        ("work", "now() + n * interval '1 hour'", "none, as all are of the future"),
        ("other", "now() - n * interval '1 millisecond'", "none, as all are of a kind unknown"),
    ] {
        client.batch_execute("DELETE FROM webmon.jobs WHERE state <> 'completed'").unwrap();
        fill(&mut client, kind, waiting, at);
        client.batch_execute("VACUUM ANALYZE webmon.jobs").unwrap();
        time_claims(&mut client, &format!("{waiting} waiting, {finished} finished: {what}"));
    }
}

fn fill(client: &mut Client, kind: &str, jobs: usize, scheduled_at: &str) {
    let sql = format!(
        "INSERT INTO webmon.jobs (kind, args, priority, max_attempts, scheduled_at)
         SELECT $1, '{{}}', 1 + n % 4, 20, {scheduled_at} FROM generate_series(1, $2::bigint) AS n"
    );
    client.execute(&sql, &[&kind, &(jobs as i64)]).unwrap();
}

/// Claims and bare updates in turn, so that both meet the same load.
fn time_claims(client: &mut Client, what: &str) {
    let claim = client.prepare(include_str!("../sql/queries/jobs/claim_job.sql")).unwrap();
    let update = client.prepare(UPDATE).unwrap();
    let (mut claims, mut updates) = (Vec::new(), Vec::new());
    for n in 0..1_000 {
        let begun = Instant::now();
        client.query_opt(&claim, &[&["work"].as_slice(), &"bench", &30_000.0]).unwrap();
        claims.push(begun.elapsed());
        let begun = Instant::now();
        client.execute(&update, &[&n]).unwrap();
        updates.push(begun.elapsed());
    }
    let shown = [claims, updates].map(|mut times| {
        times.sort();
        let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1_000.0;
        format!("p50 {:.2} ms, p99 {:.2} ms", ms(50), ms(99))
    });
    println!("claim    {what}: {}; floor {}", shown[0], shown[1]);
}
