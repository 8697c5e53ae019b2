//! Watermarks survive a restart, lag, and never lead.

use std::collections::BTreeMap;
use std::fs::{self, File};

use webmon::outbox::Spool;

use crate::spool::{HEADER, at, copy, directory, flip, loaded, note, open};
use crate::support::wait_until;

#[test]
fn watermarks_survive_a_restart_and_only_go_forward() {
    let directory = directory();
    let spool = open(directory.path());
    assert!(loaded(&spool).is_empty());
    note(&spool, "shop", "berlin", at(10), "* * * * * *", "UTC");
    note(&spool, "shop", "berlin", at(12), "* * * * * *", "UTC");
    note(&spool, "shop", "berlin", at(11), "* * * * * *", "UTC");
    note(&spool, "shop", "paris", at(5), "@hourly", "Europe/Paris");
    note(&spool, "gone", "berlin", at(1), "@hourly", "UTC");
    let expected = |spool: &Spool, shop: i64, expression: &str| {
        let key = |site: &str, location: &str| (site.to_owned(), location.to_owned());
        let value = |second, expression: &str, zone: &str| (second, expression.to_owned(), zone.to_owned());
        let expected = BTreeMap::from([
            (key("shop", "berlin"), value(shop, expression, "UTC")),
            (key("shop", "paris"), value(5, "@hourly", "Europe/Paris")),
        ]);
        assert_eq!(loaded(spool), expected);
    };
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(loaded(&spool).len(), 3);
    spool.watermarks().forget("berlin", "gone");
    expected(&spool, 12, "* * * * * *");
    note(&spool, "shop", "berlin", at(12), "*/5 * * * * *", "UTC");
    expected(&spool, 12, "*/5 * * * * *");
    drop(spool);
    let spool = open(directory.path());
    expected(&spool, 12, "*/5 * * * * *");
    for second in 13..2_000 {
        note(&spool, "shop", "berlin", at(second), "*/5 * * * * *", "UTC");
    }
    drop(spool);
    expected(&open(directory.path()), 1_999, "*/5 * * * * *");
}

#[test]
fn a_torn_file_of_watermarks_lags_and_never_leads() {
    let base = directory();
    let file = base.path().join("spool/watermarks");
    let sizes: Vec<u64> = {
        let spool = open(base.path());
        // Each is on disk before the next one is noted.
        let noted = |second| {
            let before = fs::metadata(&file).unwrap().len();
            note(&spool, "shop", "berlin", at(second), "@hourly", "UTC");
            wait_until("it is written", || fs::metadata(&file).unwrap().len() > before);
            fs::metadata(&file).unwrap().len()
        };
        (0..4).map(noted).collect()
    };
    for cut in 0..=sizes[3] {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = torn.path().join("spool/watermarks");
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let whole = sizes.iter().rposition(|size| *size <= cut).map(|second| second as i64);
        let spool = open(torn.path());
        let found = loaded(&spool).into_values().next().map(|(second, ..)| second);
        assert_eq!(found, whole, "cut at {cut}");
    }
    for flipped in HEADER..sizes[3] {
        let damaged = directory();
        copy(base.path(), damaged.path());
        flip(&damaged.path().join("spool/watermarks"), flipped);
        let found = loaded(&open(damaged.path()));
        assert!(found.values().all(|(second, ..)| *second <= 3), "byte {flipped}: {found:?}");
        assert!(found.keys().all(|key| *key == ("shop".to_owned(), "berlin".to_owned())), "{found:?}");
    }
}

#[test]
fn watermarks_of_100_000_sites_take_a_bounded_place() {
    let directory = directory();
    let spool = open(directory.path());
    let sites: Vec<String> = (0..100_000).map(|n| format!("site-{n}")).collect();
    let file = directory.path().join("spool/watermarks");
    let size = || fs::metadata(&file).unwrap().len();
    let mut largest = 0;
    let (mut before, mut written) = (size(), 0);
    for second in 0..20 {
        for site in &sites {
            note(&spool, site, "berlin", at(second), "* * * * * *", "UTC");
        }
        wait_until("they are written", || size() != before);
        written += size().saturating_sub(before);
        before = size();
        largest = largest.max(before);
    }
    eprintln!("{} bytes a round, {largest} bytes at most", written / 20);
    assert!(written > 16 << 20, "{written}");
    assert!(largest < 32 << 20, "{largest}");
    drop(spool);
    let found = loaded(&open(directory.path()));
    assert_eq!(found.len(), 100_000);
    assert!(found.values().all(|(second, ..)| *second == 19));
}
