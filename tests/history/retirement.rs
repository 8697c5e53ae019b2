//! A site that is gone from a location is retired there, and a later result undoes it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use webmon::config::Retention;
use webmon::record::Outcome;
use webmon::store;

use crate::common::{DAY, HOUR, LONG, THRESHOLDS, assert_history, config, incidents, roll_up, seen};
use crate::support::log::Log;
use crate::support::{database, instant, result, value};

#[test]
fn an_outage_ends_where_its_location_is_retired_until_a_later_result_comes() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for seconds in [-DAY, -DAY + 60] {
        log.append(0, seen("shop", "gone", seconds, Outcome::Failure, THRESHOLDS));
        log.append(0, seen("shop", "here", seconds, Outcome::Success, THRESHOLDS));
    }
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, None);
    let client = &mut database.client();
    assert_eq!(store::retire_location(client, "nowhere").unwrap(), None);
    assert_eq!(store::retire_location(client, "gone").unwrap(), Some(1));
    assert_eq!(store::retire_location(client, "gone").unwrap(), Some(0));
    assert_eq!(incidents(&database)[0].2, Some(-DAY + HOUR));
    let status = "SELECT location, status, down_since_at FROM webmon.current_status WHERE location = 'gone'";
    assert_eq!(
        database.json(status),
        [json!({"location": "gone", "status": "retired", "down_since_at": null})]
    );
    let listed = store::locations(client).unwrap();
    assert_eq!(
        listed.iter().map(|l| (l.name.as_str(), l.sites, l.down)).collect::<Vec<_>>(),
        [("gone", 1, 0), ("here", 1, 0)]
    );
    assert_eq!(listed.iter().map(|l| l.retired_at.is_some()).collect::<Vec<_>>(), [true, false]);

    // Late ones of its last hour change nothing about it; a later one takes it back.
    log.append(0, seen("shop", "gone", -DAY + 120, Outcome::Failure, THRESHOLDS));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, Some(-DAY + HOUR));
    let now = Timestamp::now().as_second() - instant(0).as_second() + HOUR / 2;
    log.append(0, seen("shop", "gone", now.div_euclid(HOUR) * HOUR, Outcome::Failure, THRESHOLDS));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, None);
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_locations WHERE retired_at IS NOT NULL"), 0);
    assert_eq!(store::locations(client).unwrap()[0].down, 1);
}

#[test]
fn a_location_is_retired_by_itself_once_nothing_came_from_there_for_long_though_it_was_due() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let retire = || {
        roll_up(&database);
        store::retire_silent(&mut database.client(), Duration::from_secs(3 * 86_400)).unwrap()
    };
    let status = |site: &str| {
        let sql = format!("SELECT status FROM webmon.current_status WHERE site = '{site}' ORDER BY location");
        database.json(&sql).iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for site in ["minutely", "weekly"] {
        for n in 0..2 {
            let mut r = result(site, -4 * DAY + n, Outcome::Failure);
            r.location = "gone".to_owned();
            if site == "weekly" {
                r.next_at = Some(r.scheduled_at + SignedDuration::from_hours(7 * 24));
            }
            log.append(0, value(r));
        }
    }
    log.store(&config).unwrap();
    // Nothing is stored at all since: nobody knows.
    assert_eq!(retire(), 0);
    log.append(0, value(result("other", -DAY, Outcome::Success)));
    log.store(&config).unwrap();
    assert_eq!(retire(), 0, "not for so long");
    log.append(0, value(result("other", 0, Outcome::Success)));
    log.store(&config).unwrap();
    assert_eq!(retire(), 1);
    roll_up(&database);
    assert_history(&database, THRESHOLDS);
    assert_eq!((status("minutely"), status("weekly")), (vec!["retired".to_owned()], vec!["down".to_owned()]));
    let ends = database.json("SELECT site, to_at IS NULL AS lasts FROM webmon.incidents ORDER BY site");
    assert_eq!(ends, [json!({"site": "minutely", "lasts": false}), json!({"site": "weekly", "lasts": true})]);
    // Its hours are let go: nobody waits for its end.
    let retention = Retention {
        results: Duration::from_secs(86_400),
        hours: Some(Duration::from_secs(2 * 86_400)),
        days: None,
    };
    store::retain(&mut database.client(), &retention, LONG).unwrap();
    let left =
        "SELECT count(*) FROM webmon.site_hours JOIN webmon.sites USING (site_id) WHERE key = 'minutely'";
    assert_eq!(database.number(left), 0);
}
