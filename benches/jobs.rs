//! How fast the job queue is, and what a claim costs in a long history, against a floor in the same run: a bare
//! `UPDATE` of one row by its primary key, committed.
//!
//! ```text
//! ./dev/services up postgres && . .dev/env && cargo bench --bench jobs -- [--jobs 10000] [--finished 1000000] [--waiting 100000]
//! ```
//!
//! The database runs on the same machine, and the figures share its cores with it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use postgres::Client;
use support::{Database, database, wait_until};
use webmon::config::Postgres;
use webmon::jobs::{Kind, MAX_BATCH, NewJob, Worker, WorkerOptions, enqueue, enqueue_all};
use webmon::shutdown::Shutdown;

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
    let jobs = option("--jobs", 10_000);
    floor(&database, jobs / 2);
    enqueueing(&database, jobs);
    for threads in [1, 2, 4] {
        working(&database, jobs, threads);
    }
    claims(&database, option("--finished", 1_000_000), option("--waiting", 100_000));
}

/// The median and the 99th percentile of what `act` takes.
fn time<T>(times: usize, mut act: impl FnMut(usize) -> T) -> String {
    let mut times: Vec<Duration> = (0..times)
        .map(|n| {
            let begun = Instant::now();
            act(n);
            begun.elapsed()
        })
        .collect();
    times.sort();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1_000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms", ms(50), ms(99))
}

fn per_second(count: usize, begun: Instant) -> String {
    format!("{:.0}/s", count as f64 / begun.elapsed().as_secs_f64())
}

fn floor(database: &Database, updates: usize) {
    let mut client = database.client();
    client
        .batch_execute(
            "CREATE TABLE floor (id int PRIMARY KEY, n int); INSERT INTO floor SELECT n, 0 FROM generate_series(1, 1000) n",
        )
        .unwrap();
    let update = client.prepare("UPDATE floor SET n = n + 1 WHERE id = $1").unwrap();
    let begun = Instant::now();
    let times = time(updates, |n| client.execute(&update, &[&(n as i32 % 1_000 + 1)]).unwrap());
    println!("floor      one update by primary key, committed: {times}, {}", per_second(updates, begun));
}

fn enqueueing(database: &Database, jobs: usize) {
    let mut client = database.client();
    for (batch, all) in [(1, jobs / 5), (100, jobs), (MAX_BATCH, jobs.max(MAX_BATCH))] {
        let new: Vec<NewJob> = (0..batch).map(|n| NewJob::new("work").args(&n).unwrap()).collect();
        let begun = Instant::now();
        for _ in 0..all / batch {
            match &new[..] {
                [job] => drop(enqueue(&mut client, job).unwrap()),
                jobs => drop(enqueue_all(&mut client, jobs).unwrap()),
            }
        }
        println!("enqueue    {batch:5} a transaction: {}", per_second(all, begun));
        client.batch_execute("TRUNCATE webmon.jobs").unwrap();
    }
}

/// Claims, runs and completes jobs whose work is one insert.
fn working(database: &Database, jobs: usize, threads: usize) {
    let mut client = database.client();
    client
        .batch_execute(
            "TRUNCATE webmon.jobs; DROP TABLE IF EXISTS effects; CREATE TABLE effects (job bigint)",
        )
        .unwrap();
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
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let running = scope.spawn(|| worker.run(&shutdown));
        let sql = "SELECT count(*) FROM webmon.jobs WHERE state IN ('available', 'running')";
        wait_until("all have run", || client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 0);
        println!("work       {threads} threads, claim, insert and complete: {}", per_second(jobs, begun));
        shutdown.request();
        running.join().unwrap().unwrap();
    });
    assert_eq!(database.number("SELECT count(*) FROM effects"), jobs as i64);
}

fn claims(database: &Database, finished: usize, waiting: usize) {
    let mut client = database.client();
    client.batch_execute("TRUNCATE webmon.jobs").unwrap();
    fill(&mut client, "'work'", 2_000, "now() - n * interval '1 millisecond'");
    time_claims(&mut client, "work", "of 2000 waiting jobs");

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
    fill(&mut client, "'work'", waiting, "now() - n * interval '1 millisecond'");
    client.batch_execute("VACUUM ANALYZE webmon.jobs").unwrap();
    time_claims(&mut client, "work", &format!("of {waiting} waiting jobs, {finished} finished"));
    client.batch_execute("DELETE FROM webmon.jobs WHERE state <> 'completed'").unwrap();
    fill(&mut client, "'work'", waiting, "now() + n * interval '1 hour'");
    client.batch_execute("VACUUM ANALYZE webmon.jobs").unwrap();
    time_claims(&mut client, "work", &format!("of none, {waiting} of the future, {finished} finished"));
    client.batch_execute("DELETE FROM webmon.jobs WHERE state <> 'completed'").unwrap();
    fill(&mut client, "'other'", waiting, "now() - n * interval '1 millisecond'");
    client.batch_execute("VACUUM ANALYZE webmon.jobs").unwrap();
    time_claims(&mut client, "work", &format!("of none, {waiting} of a kind unknown to the worker"));
}

fn fill(client: &mut Client, kind: &str, jobs: usize, scheduled_at: &str) {
    let sql = format!(
        "INSERT INTO webmon.jobs (kind, args, priority, max_attempts, scheduled_at)
         SELECT {kind}, '{{}}', 1 + n % 4, 20, {scheduled_at} FROM generate_series(1, $1::bigint) AS n"
    );
    client.execute(&sql, &[&(jobs as i64)]).unwrap();
}

fn time_claims(client: &mut Client, kind: &str, what: &str) {
    let claim = client.prepare(include_str!("../sql/queries/claim_job.sql")).unwrap();
    let kinds = vec![kind.to_owned()];
    let times = time(1_000, |_| client.query_opt(&claim, &[&kinds, &"bench", &30_000.0]).unwrap());
    println!("claim      {what}: {times}");
}
