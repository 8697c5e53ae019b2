//! What begins and ends.

use jiff::{SignedDuration, Timestamp};
use webmon::record::Outcome::{Failure, Missed, Success};

use crate::scene::{Scene, at, seen};
use crate::support::wait_until;

#[test]
fn a_site_that_fails_as_often_as_it_may_is_down_once_and_up_once() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.sees(seen("shop", "here", at(-5), Success));
    assert!(scene.transitions().is_empty());
    scene.sees(seen("shop", "here", at(-4), Failure));
    assert!(scene.transitions().is_empty());
    scene.sees(seen("shop", "here", at(-3), Failure));
    assert_eq!(scene.transitions(), ["down firing shop"]);
    scene.sees(seen("shop", "here", at(-2), Failure));
    scene.sees(seen("shop", "here", at(-1), Missed));
    assert_eq!(scene.transitions(), ["down firing shop"]);
    scene.sees(seen("shop", "here", at(0), Success));
    assert_eq!(scene.transitions(), ["down firing shop", "down resolved shop"]);
    let summary =
        "SELECT notice ->> 'summary' FROM webmon.alert_transitions ORDER BY transition_id DESC LIMIT 1";
    assert_eq!(scene.text(summary).as_deref(), Some("the site shop is up again after 4m"));
    assert_eq!(scene.database.number("SELECT count(*) FROM webmon.alert_sites WHERE settled"), 1);
}

#[test]
fn what_people_look_at_is_as_fresh_as_the_alert() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.sees(seen("shop", "here", at(-4), Success));
    crate::scene::roll_up(&mut scene);
    scene.append(seen("shop", "here", at(-3), Failure));
    scene.sees(seen("shop", "here", at(-2), Failure));
    let status = "SELECT status FROM webmon.current_status";
    let incident = "SELECT error_type || (to_at IS NULL)::text FROM webmon.incidents";
    assert_eq!(scene.text(status).as_deref(), Some("down"));
    assert_eq!(scene.text(incident).as_deref(), Some("timeouttrue"));
    let id = scene.database.number("SELECT incident_id FROM webmon.incidents");
    // History comes to the same.
    crate::scene::roll_up(&mut scene);
    assert_eq!(scene.database.number("SELECT incident_id FROM webmon.incidents"), id);
    assert_eq!(scene.database.number("SELECT failures FROM webmon.incidents"), 2);
    scene.sees(seen("shop", "here", at(-1), Success));
    assert_eq!(scene.text(status).as_deref(), Some("up"));
    assert_eq!(scene.text(incident).as_deref(), Some("timeoutfalse"));
    crate::scene::roll_up(&mut scene);
    assert_eq!(scene.database.number("SELECT incident_id FROM webmon.incidents"), id);
}

/// What was missed is in Kafka still, perhaps: only what is stored up to the end shows that a site is silent.
#[test]
fn a_site_is_stale_when_its_result_is_overdue_and_nothing_waits_in_kafka() {
    let Some(mut scene) = Scene::new("") else { return };
    let mut old = seen("shop", "here", at(-10), Success);
    old.time_budget_ms = Some(10_000);
    scene.append(old);
    scene.store();
    scene.client.execute("UPDATE webmon.partition_offsets SET caught_up_at = $1", &[&at(-9)]).unwrap();
    scene.judge();
    assert!(scene.transitions().is_empty());
    scene.caught_up();
    scene.look_again();
    assert_eq!(scene.transitions(), ["stale firing shop"]);
    scene.look_again();
    scene.sees(seen("shop", "here", at(0), Success));
    assert_eq!(scene.transitions(), ["stale firing shop", "stale resolved shop"]);
}

#[test]
fn an_outage_that_was_over_before_its_results_were_stored_wakes_nobody() {
    let Some(mut scene) = Scene::new("") else { return };
    for instant in -9..=-5 {
        scene.append(seen("shop", "here", at(instant), Failure));
    }
    scene.append(seen("shop", "here", at(-4), Success));
    scene.store();
    scene.judge();
    assert!(scene.transitions().is_empty());
}

#[test]
fn a_site_that_is_retired_while_it_is_down_is_resolved() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.append(seen("shop", "here", at(-3), Failure));
    scene.sees(seen("shop", "here", at(-2), Failure));
    let mut last = seen("shop", "here", at(-1), Missed);
    last.next_at = None;
    scene.sees(last);
    assert_eq!(scene.transitions(), ["down firing shop", "down resolved shop"]);
}

#[test]
fn a_site_that_is_slow_as_often_as_it_may_fail_is_degraded() {
    let Some(mut scene) = Scene::new("") else { return };
    let slow = |instant| {
        let mut slow = seen("shop", "here", at(instant), Success);
        slow.degraded = true;
        slow
    };
    scene.sees(slow(-4));
    scene.sees(slow(-3));
    assert_eq!(scene.transitions(), ["degraded firing shop"]);
    scene.sees(seen("shop", "here", at(-2), Success));
    assert_eq!(scene.transitions(), ["degraded firing shop", "degraded resolved shop"]);
}

#[test]
fn a_certificate_makes_one_alert_for_each_threshold_that_it_crosses() {
    let Some(mut scene) = Scene::new("") else { return };
    let with = |instant, days: i64| {
        let mut seen = seen("shop", "here", at(instant), Success);
        seen.cert_not_after = Some(at(0) + SignedDuration::from_hours(24 * days));
        seen
    };
    for (instant, days) in [(-5, 40), (-4, 20), (-3, 19), (-2, 5), (-1, 90)] {
        scene.sees(with(instant, days));
        crate::scene::roll_up(&mut scene);
        scene.judge();
    }
    let sql = "SELECT string_agg(action || ' ' || level / 24, ', ' ORDER BY transition_id) FROM webmon.alert_transitions";
    assert_eq!(scene.text(sql).as_deref(), Some("firing 21, firing 7, resolved 7, resolved 21"));
}

#[test]
fn an_outage_at_a_location_that_an_operator_retires_is_resolved() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.append(seen("shop", "here", at(-3), Failure));
    scene.sees(seen("shop", "here", at(-2), Failure));
    crate::scene::roll_up(&mut scene);
    assert_eq!(webmon::store::retire_location(&mut scene.client, "here").unwrap(), Some(1));
    scene.judge();
    assert_eq!(scene.transitions(), ["down firing shop", "down resolved shop"]);
}

#[test]
fn a_site_is_shown_before_its_first_hour_is_rolled_up() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.append(seen("shop", "here", at(-1), Success));
    scene.append(seen("blog", "here", at(-2), Failure));
    scene.sees(seen("blog", "here", at(-1), Failure));
    let status =
        "SELECT string_agg(site || ' ' || status, ', ' ORDER BY site, location) FROM webmon.current_status";
    assert_eq!(scene.text(status).as_deref(), Some("blog down, shop up"));
    scene.sees(seen("shop", "there", at(-1), Success));
    assert_eq!(scene.text(status).as_deref(), Some("blog down, shop up, shop up"));
    // History takes up what it was told.
    let unknown = "SELECT count(*) FROM webmon.site_locations WHERE first_hour IS NULL";
    assert_eq!(scene.database.number(unknown), 3);
    crate::scene::roll_up(&mut scene);
    assert_eq!(scene.database.number(unknown), 0);
    assert_eq!(scene.text(status).as_deref(), Some("blog down, shop up, shop up"));
}

#[test]
fn a_site_is_shown_as_soon_as_a_derivation_lets_go_of_it() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.append(seen("shop", "here", at(-1), Success));
    scene.store();
    let mut other = scene.database.client();
    let mut derivation = other.transaction().unwrap();
    derivation.execute("SELECT FROM webmon.sites FOR NO KEY UPDATE", &[]).unwrap();
    scene.judge();
    let shown = "SELECT count(*) FROM webmon.current_status";
    assert_eq!(scene.database.number(shown), 0);
    derivation.rollback().unwrap();
    wait_until("it is shown", || {
        scene.judge();
        scene.database.number(shown) == 1
    });
}

/// A location that counts is in use from its first hour on, whoever has made it known.
#[test]
fn an_incident_counts_a_location_that_was_shown_before_its_first_hour_was_rolled_up() {
    let Some(mut scene) = Scene::new("") else { return };
    let at_half = |location, instant, outcome| {
        let mut seen = seen("shop", location, at(instant), outcome);
        seen.incident_locations_percent = Some(100);
        seen
    };
    for instant in [-4, -3] {
        scene.append(at_half("here", instant, Failure));
    }
    scene.sees(at_half("there", -3, Success));
    crate::scene::roll_up(&mut scene);
    assert_eq!(scene.database.number("SELECT count(*) FROM webmon.incidents"), 0);
    scene.append(at_half("there", -2, Failure));
    scene.sees(at_half("there", -1, Failure));
    crate::scene::roll_up(&mut scene);
    assert_eq!(
        scene.database.number("SELECT locations::bigint FROM webmon.incidents WHERE to_at IS NULL"),
        2
    );
}

/// Both locations make a check every ten seconds, and one of them is two checks behind.
#[test]
fn a_location_that_lags_behind_the_others_does_not_vote_with_what_it_said_before() {
    let Some(mut scene) = Scene::new("") else { return };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let seen = |location, ago: i64, outcome| {
        let mut seen = seen("shop", location, now - SignedDuration::from_secs(ago), outcome);
        seen.next_at = Some(seen.scheduled_at + SignedDuration::from_secs(10));
        seen.time_budget_ms = Some(1_000);
        seen.incident_locations = Some(2);
        seen
    };
    scene.append(seen("late", 43, Failure));
    scene.append(seen("late", 33, Failure));
    scene.append(seen("prompt", 33, Success));
    scene.append(seen("prompt", 23, Success));
    scene.append(seen("prompt", 13, Failure));
    scene.sees(seen("prompt", 3, Failure));
    // It was down at one of them and then at the other one, never at both.
    assert_eq!(scene.transitions(), Vec::<String>::new());
    scene.append(seen("late", 23, Success));
    scene.sees(seen("late", 13, Success));
    assert_eq!(scene.transitions(), ["advisory firing shop"]);
    // Its next failures are about the time at which the other one is down.
    scene.append(seen("late", 3, Failure));
    scene.append(seen("prompt", 2, Failure));
    scene.sees(seen("late", 2, Failure));
    assert_eq!(scene.transitions()[1..], ["advisory resolved shop", "down firing shop"]);
}

/// As long as nobody knows that it is up there, too, the end waits. When the result is overdue the location abstains.
#[test]
fn an_outage_does_not_end_because_the_location_that_is_down_lags_behind() {
    let Some(mut scene) = Scene::new("") else { return };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let seen = |location, ago: i64, outcome| {
        let mut seen = seen("shop", location, now - SignedDuration::from_secs(ago), outcome);
        seen.next_at = Some(seen.scheduled_at + SignedDuration::from_secs(10));
        seen.time_budget_ms = Some(1_000);
        seen
    };
    scene.append(seen("prompt", 33, Success));
    scene.append(seen("late", 33, Failure));
    scene.sees(seen("late", 23, Failure));
    assert_eq!(scene.transitions(), ["down firing shop"]);
    scene.sees(seen("prompt", 3, Success));
    assert_eq!(scene.transitions(), ["down firing shop"]);
    // The same, two minutes later.
    for table in ["check_results SET scheduled_at = scheduled_at", "alert_places SET newest_at = newest_at"] {
        let sql = format!("UPDATE webmon.{table} - interval '2 minutes'");
        scene.client.execute(&sql, &[]).unwrap();
    }
    scene.sees(seen("prompt", 1, Success));
    assert_eq!(scene.transitions(), ["down firing shop", "down resolved shop"]);
}
