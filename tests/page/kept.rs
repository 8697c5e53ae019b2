//! What is kept, so that a crowd costs the database no more than one visitor.

use std::time::{Duration, Instant};

use webmon::record::Outcome;

use crate::common::{Served, ago, store};
use crate::support::{database, wait_until};

#[test]
fn a_crowd_costs_the_database_as_much_as_one_visitor() {
    let Some(database) = database() else { return };
    store(&database, (0..5).map(|n| ago("shop", n * 10, Outcome::Success)));
    let served = Served::start(&database.url, "web.fresh = \"5m\"\n");
    let first = served.get("/sites/shop.json");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..50).map(|_| served.get("/sites/shop.json")).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // An answer says when the database was read.
    assert_eq!(answers.len(), 400);
    assert!(answers.iter().all(|answer| answer.body == first.body));
}

#[test]
fn an_answer_that_has_not_changed_is_not_sent_again() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "web.fresh = \"5m\"\n");
    let first = served.get("/");
    let etag = first.header("etag").unwrap().to_owned();
    let again = served.ask("GET", "/", &[&format!("if-none-match: \"x\", W/{etag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(served.ask("GET", "/", &["if-none-match: \"other\""]).status, 200);
    // Compressed for those who can read it.
    let compressed = served.ask("GET", "/", &["accept-encoding: br, gzip"]);
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert!(compressed.body.len() * 2 < first.body.len());
    assert_eq!(served.ask("GET", "/", &["accept-encoding: gzip;q=0"]).header("content-encoding"), None);
    // JSON at the same address for programs.
    let json = served.ask("GET", "/", &["accept: application/json"]);
    assert_eq!(json.header("content-type"), Some("application/json"));
    let browser =
        served.ask("GET", "/", &["accept: text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"]);
    assert_eq!(browser.header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_page_is_never_older_than_it_is_to_be() {
    let Some(database) = database() else { return };
    store(&database, (0..3).map(|n| ago("shop", 30 + n * 10, Outcome::Success)));
    let served = Served::start(&database.url, "");
    assert_eq!(served.get("/index.json").json()["state"], "up");
    store(&database, (0..3).map(|n| ago("shop", n * 10, Outcome::Failure)));
    let begun = Instant::now();
    wait_until("the page to say it", || served.get("/index.json").json()["state"] == "down");
    // One second, and the time that reading takes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_site_that_has_just_been_added_is_there_at_once() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "");
    assert_eq!(served.get("/sites/docs").status, 404);
    store(&database, [ago("docs", 5, Outcome::Success)]);
    wait_until("the new site to be shown", || served.get("/sites/docs").status == 200);
}
