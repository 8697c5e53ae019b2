//! The thresholds of incidents are those of the site's newest version.

use serde_json::json;
use webmon::record::Outcome;
use webmon::site::Incident as Thresholds;

use crate::common::{DAY, HOUR, Incident, assert_history_of, config, roll_up, seen, stored_incidents};
use crate::support::log::Log;
use crate::support::{database, result, value};

#[test]
fn what_makes_an_incident_is_what_the_sites_newest_version_says() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let needs = |failures: u16| Thresholds { failures, locations: 1 };
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
    let [old, new] = [5, 7].map(|failures| Thresholds { failures, locations: 1 });
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
