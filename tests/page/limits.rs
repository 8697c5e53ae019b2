//! What clients and a database that fails cannot do to the pages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use webmon::record::Outcome;

use crate::common::{Served, ago, store};
use crate::support::database;
use crate::support::proxy::{Link, Proxy};

#[test]
fn without_its_database_a_page_says_so_and_does_not_pretend() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(server, Link::Pass);
    let served = Served::start(&format!("{scheme}://{user}@{}/{name}", proxy.address), "");
    assert_eq!(served.get("/index.json").json()["outdated"], serde_json::Value::Null);
    proxy.set(Link::Cut);
    let mut old = serde_json::Value::Null;
    crate::support::wait_until("the page to say that it is old", || {
        old = served.get("/index.json").json();
        old["outdated"] != serde_json::Value::Null
    });
    assert_eq!(old["sites"][0]["id"], "shop");
    assert!(served.get("/").text().contains("the database does not answer"));
    // A site's page is read anew, and cannot be.
    let site = served.get("/sites/shop");
    assert_eq!((site.status, site.header("retry-after")), (503, Some("10")));
    assert_eq!(site.header("cache-control"), Some("no-store"));
    proxy.set(Link::Pass);
    crate::support::wait_until("the page to be fresh again", || {
        served.get("/index.json").json()["outdated"] == serde_json::Value::Null
            && served.get("/sites/shop").status == 200
    });
}

#[test]
fn a_page_that_never_reached_its_database_is_not_available() {
    let served = Served::start("postgres://nobody@127.0.0.1:1/none?sslmode=disable", "");
    assert_eq!(served.get("/").status, 503);
    assert_eq!(served.get("/index.json").json()["error"].as_str().unwrap().find("database"), Some(4));
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "web.clients = 4\n");
    let begun = Instant::now();
    let silent: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            stream.write_all(b"GET / HT").unwrap();
            stream
        })
        .collect();
    // It waits in the queue of the system until the silent ones are sent away.
    assert_eq!(served.get("/").status, 200);
    assert!(begun.elapsed() > Duration::from_secs(1), "the limit on clients does not hold");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
}

#[test]
fn heads_that_are_too_long_and_names_that_are_none_are_refused() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "");
    let long = "x".repeat(100_000);
    assert_eq!(served.ask("GET", "/", &[&format!("x-long: {long}")]).status, 431);
    assert_eq!(served.get(&format!("/sites/{}", "x".repeat(2_000))).status, 404);
    assert_eq!(served.get(&format!("/?q={}", "x".repeat(2_000))).status, 200);
    for path in [
        "/sites/%00",
        "/sites/%FF",
        "/incidents/99999999999999999999",
        "/incidents/-1",
        "/incidents?before=x",
        "/sites/../../etc/passwd",
        "//",
    ] {
        let status = served.get(path).status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
}
