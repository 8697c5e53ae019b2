//! The thresholds of incidents are those of the site's newest version.

use jiff::SignedDuration;
use serde_json::json;
use webmon::record::Outcome;
use webmon::site::{Incident as Thresholds, Locations};
use webmon::store;

use crate::common::{
    DAY, HOUR, Incident, THRESHOLDS, assert_history, assert_history_of, config, roll_up, say, seen,
    stored_incidents,
};
use crate::support::log::Log;
use crate::support::{Database, database, instant, result, value};

#[test]
fn what_makes_an_incident_is_what_the_sites_newest_version_says() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let needs = |failures: u16| Thresholds { failures, ..THRESHOLDS };
    let f = Outcome::Failure;
    for n in 0..3 {
        log.append(0, seen("strict", "here", -DAY + n * 60, f, needs(1)));
        log.append(0, seen("patient", "here", -DAY + n * 60, f, needs(4)));
        // Says nothing.
        log.append(0, value(result("silent", -DAY + n * 60, f)));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let of = |wanted: [(&'static str, u16); 3]| {
        move |site: &str| needs(wanted.iter().find(|(name, _)| *name == site).unwrap().1)
    };
    assert_history_of(&database, &of([("strict", 1), ("patient", 4), ("silent", 2)]));
    let sites = |incidents: Vec<Incident>| incidents.into_iter().map(|i| i.site).collect::<Vec<_>>();
    assert_eq!(sites(stored_incidents(&mut database.client())), ["silent", "strict"]);

    // A newer version decides over all of the site's incidents; one that comes late does not.
    log.append(0, seen("strict", "here", -60, Outcome::Success, needs(9)));
    log.append(0, seen("patient", "here", -60, Outcome::Success, needs(3)));
    log.append(0, seen("silent", "here", -2 * DAY, Outcome::Success, needs(9)));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_history_of(&database, &of([("strict", 9), ("patient", 3), ("silent", 2)]));
    assert_eq!(sites(stored_incidents(&mut database.client())), ["patient", "silent"]);
    let now = database.json("SELECT site, incident_failures AS n FROM webmon.current_sites ORDER BY site");
    let expected = [("patient", json!(3)), ("silent", json!(null)), ("strict", json!(9))];
    assert_eq!(now, expected.map(|(site, n)| json!({"site": site, "n": n})));
}

#[test]
fn two_checkers_with_different_thresholds_do_not_take_turns() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let in_force = || database.number("SELECT incident_failures::bigint FROM webmon.sites");
    let [old, new] = [5, 7].map(|failures| Thresholds { failures, ..THRESHOLDS });
    for n in 0..4 {
        log.append(0, seen("shop", "here", -DAY + n * 600, Outcome::Success, old));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_eq!(in_force(), if n == 0 { 5 } else { 7 }, "after {n}");
        log.append(0, seen("shop", "there", -DAY + n * 600 + 1, Outcome::Success, new));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_eq!(in_force(), 7);
    }
    // The one that came later is gone for an hour: then the other one decides again.
    log.append(0, seen("shop", "here", -DAY + 2 * HOUR, Outcome::Success, old));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(in_force(), 5);
}

/// When each incident began and ended, in seconds of today.
fn times(database: &Database) -> Vec<(i64, Option<i64>)> {
    let today = instant(0).as_second();
    let incidents = stored_incidents(&mut database.client()).into_iter();
    incidents.map(|incident| (incident.from - today, incident.to.map(|to| to - today))).collect()
}

#[test]
fn a_location_is_up_only_after_as_many_successes_as_its_site_needs_and_then_from_the_first_of_them() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let needs = Thresholds { recoveries: 3, ..THRESHOLDS };
    let (s, f, m) = (Outcome::Success, Outcome::Failure, Outcome::Missed);
    let from = -6 * HOUR;
    // Each is stored and rolled up by itself. What is wanted: the end.
    for (at, outcome, to) in [
        (-7 * HOUR, s, Err("no incident")),
        (from, f, Err("no incident")),
        (from + 60, f, Ok(None)),
        // Two successes in this hour, and a failure in the next.
        (from + 120, s, Ok(None)),
        (from + 180, s, Ok(None)),
        (from + HOUR, f, Ok(None)),
        // In the same hour, with failures between them.
        (from + HOUR + 60, s, Ok(None)),
        (from + HOUR + 120, f, Ok(None)),
        (from + HOUR + 180, s, Ok(None)),
        // Over three hours.
        (from + HOUR + 240, s, Ok(None)),
        (from + 2 * HOUR, m, Ok(None)),
        (from + 3 * HOUR, s, Ok(Some(from + HOUR + 180))),
        (from + 3 * HOUR + 60, s, Ok(Some(from + HOUR + 180))),
        // A single failure is no incident, although no three successes follow.
        (from + 4 * HOUR, f, Ok(Some(from + HOUR + 180))),
        (from + 4 * HOUR + 60, s, Ok(Some(from + HOUR + 180))),
    ] {
        let mut r = result("shop", at, outcome);
        r.next_at = Some(r.scheduled_at + SignedDuration::from_hours(48));
        say(&mut r, needs);
        log.append(0, value(r));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, needs);
        let wanted = to.map(|to| vec![(from, to)]).unwrap_or_default();
        assert_eq!(times(&database), wanted, "at {at}");
        let status =
            database.json("SELECT status, down_since_at IS NOT NULL AS since FROM webmon.current_status");
        let is_down = to == Ok(None);
        let wanted = json!({"status": if is_down { "down" } else { "up" }, "since": is_down});
        assert_eq!(status, [wanted], "at {at}");
    }
    // A late one that is none of the last: it joins the successes before it.
    log.append(0, seen("shop", "here", from + 150, s, needs));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_history(&database, needs);
    assert_eq!(times(&database), [(from, Some(from + 120))]);
}

#[test]
fn more_successes_than_are_needed_change_nothing() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let several = Thresholds { recoveries: 3, ..THRESHOLDS };
    let mut derived = Vec::new();
    for n in 0..6 {
        let outcome = if n == 0 { Outcome::Failure } else { Outcome::Success };
        for (site, needs) in [("one", THRESHOLDS), ("several", several)] {
            log.append(0, seen(site, "here", -DAY + n * 60, outcome, needs));
        }
        log.store(&config).unwrap();
        derived.push(roll_up(&database).sites);
    }
    // The first success of one; three of the other.
    assert_eq!(derived, [2, 2, 1, 1, 0, 0]);
}

#[test]
fn a_percentage_is_of_the_locations_that_are_in_use_at_that_time() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let half = Thresholds { failures: 1, locations: Locations::Percent(50), ..THRESHOLDS };
    let (s, f, m) = (Outcome::Success, Outcome::Failure, Outcome::Missed);
    let from = -6 * HOUR;
    let store = |results: &[(&str, i64, Outcome)]| {
        for (location, at, outcome) in results {
            log.append(0, seen("shop", location, *at, *outcome, half));
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, half);
    };
    let retire = |location: &str| {
        store::retire_location(&mut database.client(), location).unwrap();
        roll_up(&database);
        assert_history(&database, half);
    };
    // One of two, and then of three, the third of which has no verdict yet.
    store(&[("a", from - 60, s), ("b", from - 60, s), ("a", from, f)]);
    assert_eq!(times(&database), [(from, None)]);
    store(&[("c", from + HOUR + 60, m)]);
    assert_eq!(times(&database), [(from, Some(from + HOUR))]);
    // Two of three.
    store(&[("c", from + 2 * HOUR + 60, f)]);
    assert_eq!(times(&database), [(from, Some(from + HOUR)), (from + 2 * HOUR + 60, None)]);
    store(&[("c", from + 3 * HOUR, s)]);
    assert_eq!(times(&database)[1].1, Some(from + 3 * HOUR));
    // The third one was there earlier, it turns out.
    store(&[("c", from + 60, s)]);
    assert_eq!(times(&database)[0], (from + 2 * HOUR + 60, Some(from + 3 * HOUR)));
    // One of two again: the second is retired since the end of its last hour.
    store(&[("a", from + 5 * HOUR, f), ("c", from + 5 * HOUR, s)]);
    retire("b");
    assert_eq!(times(&database), [(from, None)]);
    // It was not gone.
    store(&[("b", from + 5 * HOUR, s)]);
    assert_eq!(times(&database), [(from + 2 * HOUR + 60, Some(from + 3 * HOUR))]);
}

#[test]
fn there_is_no_incident_while_too_few_locations_are_in_use() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let two = Thresholds { failures: 1, min_voters: 2, ..THRESHOLDS };
    let store = |location: &str, at: i64, outcome: Outcome| {
        log.append(0, seen("shop", location, at, outcome, two));
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, two);
    };
    store("a", -6 * HOUR, Outcome::Failure);
    assert_eq!(times(&database), []);
    assert_eq!(
        database.number("SELECT count(*) FROM webmon.site_locations WHERE down_since_at IS NOT NULL"),
        1
    );
    store("b", -4 * HOUR + 60, Outcome::Success);
    assert_eq!(times(&database), [(-4 * HOUR, None)]);
    store("a", -3 * HOUR, Outcome::Failure);
    store::retire_location(&mut database.client(), "b").unwrap();
    roll_up(&database);
    assert_history(&database, two);
    assert_eq!(times(&database), [(-4 * HOUR, Some(-3 * HOUR))]);
}

#[test]
fn a_location_that_is_down_without_an_incident_counts_when_a_second_one_fails_much_later() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let needs = Thresholds { recoveries: 3, locations: Locations::Count(2), ..THRESHOLDS };
    let (s, f) = (Outcome::Success, Outcome::Failure);
    let store = |results: &[(&str, i64, Outcome)]| {
        for (location, at, outcome) in results {
            log.append(0, seen("shop", location, *at, *outcome, needs));
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, needs);
    };
    // Since its failures one location has had no three successes in a row, but some in nearly every hour.
    let hour = |n: i64| -12 * HOUR + n * HOUR;
    store(&[("a", hour(0), s), ("a", hour(0) + 60, s), ("a", hour(0) + 120, s)]);
    store(&[
        ("a", hour(1), f),
        ("a", hour(1) + 60, f),
        ("a", hour(2), s),
        ("a", hour(3), f),
        ("a", hour(4), s),
    ]);
    store(&[
        ("a", hour(5), s),
        ("a", hour(6), f),
        ("a", hour(7), s),
        ("b", hour(7), s),
        ("b", hour(7) + 60, s),
    ]);
    store(&[("b", hour(8), s)]);
    assert_eq!(times(&database), []);
    store(&[("b", hour(9), f), ("b", hour(9) + 60, f)]);
    assert_eq!(times(&database), [(hour(9), None)]);
    // Checked so rarely, it recovers over three hours.
    store(&[("a", hour(10), s)]);
    assert_eq!(times(&database), [(hour(9), None)]);
    store(&[("a", hour(11), s)]);
    assert_eq!(times(&database), []);
    // And once more, with a failure that comes late.
    store(&[("a", hour(10) + 60, f)]);
    assert_eq!(times(&database), [(hour(9), None)]);
}

#[test]
fn a_retirement_and_its_return_change_all_that_was_derived_since_then() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let half = Thresholds { failures: 1, locations: Locations::Percent(50), ..THRESHOLDS };
    let (s, f) = (Outcome::Success, Outcome::Failure);
    let failed = -3 * HOUR + 300;
    let store = |results: &[(&str, i64, Outcome)]| {
        for (location, at, outcome) in results {
            log.append(0, seen("shop", location, *at, *outcome, half));
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history(&database, half);
    };
    for location in ["a", "b", "c"] {
        store(&[(location, -6 * HOUR, s)]);
    }
    // Both others have recovered for certain between the retirement and the failure, and after it.
    store(&[("a", -4 * HOUR, s), ("c", -4 * HOUR, s), ("a", failed, f), ("a", failed + 600, s)]);
    store(&[("a", -2 * HOUR, s), ("c", -2 * HOUR, s)]);
    assert_eq!(times(&database), []);
    store::retire_location(&mut database.client(), "b").unwrap();
    roll_up(&database);
    assert_history(&database, half);
    assert_eq!(times(&database), [(failed, Some(failed + 600))]);
    store(&[("b", -HOUR, s)]);
    assert_eq!(times(&database), []);
}
