//! What begins and ends.

use webmon::record::Outcome::{Failure, Missed, Success};

use crate::scene::{Scene, at, seen};

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
        seen.cert_not_after = Some(at(0) + jiff::SignedDuration::from_hours(24 * days));
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
fn webmons_own_trouble_is_told_and_over_when_it_is_over() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.log.append(0, b"not a record".to_vec());
    scene.sees(seen("shop", "here", at(0), Success));
    assert_eq!(scene.transitions(), ["dead_letters firing log"]);
    scene.client.execute("UPDATE webmon.partition_offsets SET paused = 'a test'", &[]).unwrap();
    scene.judge();
    assert_eq!(scene.transitions(), ["dead_letters firing log", "paused firing log/0"]);
    scene
        .client
        .batch_execute("UPDATE webmon.partition_offsets SET paused = NULL; DELETE FROM webmon.dead_letters")
        .unwrap();
    scene.judge();
    assert_eq!(scene.transitions().len(), 4);
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
