//! Checks sites on a schedule inside another program, which gets every result in a closure: `embed [--seconds N]
//! URL...`. It ends by itself, by default after 5 seconds.
//!
//! Needs only the feature `check`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use webmon::check::{Pool, PoolOptions, Settings};
use webmon::jiff::Timestamp;
use webmon::record::CheckResult;
use webmon::schedule::{Entry, Schedule, Scheduler};
use webmon::site::{Origin, Site};

fn main() -> Result<(), Box<dyn Error>> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    let mut seconds = 5;
    if urls.first().is_some_and(|word| word == "--seconds") {
        seconds = urls.get(1).ok_or("--seconds needs a number")?.parse()?;
        urls.drain(..2);
    }
    if urls.is_empty() {
        return Err("usage: embed [--seconds N] URL...".into());
    }

    // Every second, so a check should take less than that.
    let schedule = Schedule::new("* * * * * *", "UTC")?;
    let mut entries = Vec::new();
    for url in urls {
        let mut site = Site::new(&url, url.parse()?, schedule.clone());
        site.timeout = Duration::from_millis(800);
        entries.push(Entry::from(Arc::new(site)));
    }

    // What to do with a result. The checks' threads call this, and a call that blocks holds up one of them.
    let results = Arc::new(AtomicUsize::new(0));
    let sink = {
        let results = Arc::clone(&results);
        Arc::new(move |result: CheckResult| {
            results.fetch_add(1, Ordering::Relaxed);
            let status = result.http_status.map_or("-".to_owned(), |status| status.to_string());
            let micros = result.total_us.unwrap_or_default();
            println!("{} {} {status} {micros} us {}", result.scheduled_at, result.outcome, result.url);
        })
    };
    let pool =
        Arc::new(Pool::start(&Settings::new()?, PoolOptions::new(Origin::new("here", "embed")), sink)?);

    // What is due goes to the pool, which never blocks.
    let fire = {
        let pool = Arc::clone(&pool);
        move |due| pool.submit_all(due)
    };
    let scheduler = Scheduler::start(entries, Timestamp::now(), fire)?;

    thread::sleep(Duration::from_secs(seconds));

    // First no more instants come, then running checks end. After `stop` every instant has had its result.
    scheduler.stop();
    pool.stop(Duration::from_secs(2));
    println!("{} results", results.load(Ordering::Relaxed));
    Ok(())
}
