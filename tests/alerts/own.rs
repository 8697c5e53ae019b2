//! Alerts about webmon itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use webmon::alerts::Watcher;
use webmon::record::Outcome::{Failure, Success};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, GapRecord, Outcome, Record, RecordVersion};
use webmon::shutdown::Shutdown;

use crate::scene::{Scene, at, seen};
use crate::support::{value, wait_until, wait_within};

impl Scene {
    /// The partition was stored up to its end so long ago, and not since.
    fn behind_for(&mut self, minutes: i64) {
        self.client
            .execute(
                "UPDATE webmon.partition_offsets SET caught_up_at = clock_timestamp() - $1::float8 * interval '1 minute', \
                                                     last_record_at = NULL",
                &[&(minutes as f64)],
            )
            .unwrap();
    }

    /// The transitions about outboxes. The results that are late may make others.
    fn of_outboxes(&mut self) -> Vec<String> {
        let mut transitions = self.transitions();
        transitions.retain(|transition| transition.starts_with("spool"));
        transitions
    }

    /// A checker lost two results, and says so.
    fn lost(&mut self, from: Timestamp) {
        let to = Some(from + SignedDuration::from_mins(2));
        let gap = Gap { from, to, instants: 2, reason: GapReason::OutboxFull };
        let (site, location, checker) = ("shop".to_owned(), "here".to_owned(), "checker-1".to_owned());
        let lost = GapRecord { v: RecordVersion, site, location, checker, gap };
        self.log.append(0, Record::Gap(lost).encode());
        self.store();
        self.judge();
    }

    /// Stores a result that a checker sent so many seconds ago, and so many minutes after its instant.
    fn sent(&self, ago: i64, minutes_late: i64, change: impl Fn(&mut CheckResult)) {
        let sent = Timestamp::now() - SignedDuration::from_secs(ago);
        let instant = (sent - SignedDuration::from_mins(minutes_late)).as_second();
        let mut result = seen("shop", "here", Timestamp::from_second(instant).unwrap(), Success);
        result.time_budget_ms = Some(10_000);
        change(&mut result);
        self.log.append_at(0, value(result), sent);
        self.store();
    }
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
fn a_partition_that_is_stored_too_late_for_a_while_is_an_alert_until_it_has_caught_up() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.append(seen("shop", "here", at(-1), Success));
    scene.store();
    scene.behind_for(5);
    // One look is not enough: a program that has just started has had no time to catch up.
    scene.judge();
    assert!(scene.transitions().is_empty());
    let config = &scene.config;
    let watcher =
        Watcher::new(&config.postgres, &config.kafka.topic, &config.alerts, &config.routes).unwrap();
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let thread = std::thread::spawn(move || watcher.run(&stop).unwrap());
    let said = "SELECT count(*) FROM webmon.alert_transitions";
    wait_within(Duration::from_secs(90), "it is behind for too long", || scene.database.number(said) == 1);
    scene.caught_up();
    wait_until("it has caught up", || {
        scene.caught_up();
        scene.database.number(said) == 2
    });
    shutdown.request();
    thread.join().unwrap();
    assert_eq!(scene.transitions(), ["lag firing log/0", "lag resolved log/0"]);
}

/// What is known of them is old. Each is judged once it is known how it is now.
#[test]
fn the_sites_of_a_partition_that_is_behind_are_judged_when_it_has_caught_up() {
    let Some(mut scene) = Scene::new("") else { return };
    for site in ["shop", "blog"] {
        scene.append(seen(site, "here", at(-5), Failure));
        scene.append(seen(site, "here", at(-4), Failure));
    }
    scene.store();
    scene.behind_for(5);
    scene.judge();
    scene.look_again();
    assert!(scene.transitions().is_empty());
    scene.append(seen("blog", "here", at(-3), Success));
    scene.store();
    scene.behind_for(3);
    scene.look_again();
    assert!(scene.transitions().is_empty());
    scene.caught_up();
    scene.look_again();
    assert_eq!(scene.transitions(), ["down firing shop"]);
}

#[test]
fn a_job_that_was_discarded_is_an_alert_until_one_of_its_kind_completes() {
    let Some(mut scene) = Scene::new("") else { return };
    let job = |state: &str| {
        format!(
            "INSERT INTO webmon.jobs (scheduled_at, attempted_at, attempted_by, finalized_at, priority, attempt, max_attempts, state, \
                                      kind, last_error, args) \
             VALUES (now(), now(), 'a test', clock_timestamp(), 2, 1, 1, '{state}', 'roll_up', 'no room', 'null')"
        )
    };
    scene.client.batch_execute(&job("discarded")).unwrap();
    scene.judge();
    scene.judge();
    assert_eq!(scene.transitions(), ["discarded firing roll_up"]);
    let summary = "SELECT notice ->> 'summary' FROM webmon.alert_transitions";
    assert_eq!(scene.text(summary).as_deref(), Some("job 1 of kind roll_up was discarded: no room"));
    scene.client.batch_execute(&job("completed")).unwrap();
    scene.judge();
    assert_eq!(scene.transitions(), ["discarded firing roll_up", "discarded resolved roll_up"]);
}

#[test]
fn results_that_an_outbox_lost_are_an_alert_until_none_are_lost_for_a_while() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.lost(at(-9));
    assert_eq!(scene.transitions(), ["spool firing checker-1"]);
    let earlier = "UPDATE webmon.gaps SET stored_at = stored_at - interval '16 minutes'";
    scene.client.execute(earlier, &[]).unwrap();
    scene.judge();
    assert_eq!(scene.transitions(), ["spool firing checker-1", "spool resolved checker-1"]);
}

#[test]
fn an_outbox_that_works_through_a_backlog_is_an_alert_until_it_has_caught_up() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.sent(45, 20, |_| {});
    scene.judge();
    // It may have sent all there was.
    assert!(scene.of_outboxes().is_empty());
    scene.sent(5, 19, |_| {});
    scene.judge();
    assert_eq!(scene.of_outboxes(), ["spool firing checker-1"]);
    let told = "SELECT (notice ->> 'severity') || (notice ->> 'summary') LIKE \
                    'warningthe outbox of checker-1 is behind: what it sent at % was 18 minutes late' \
                FROM webmon.alert_transitions WHERE kind = 'spool'";
    assert!(scene.client.query_one(told, &[]).unwrap().get::<_, bool>(0));
    // That results are lost is told as well, and is graver.
    scene.lost(at(-9));
    assert_eq!(scene.of_outboxes().len(), 2);
    let earlier = "UPDATE webmon.late_results SET sent_at = sent_at - interval '5 minutes'";
    scene.client.execute(earlier, &[]).unwrap();
    scene.sent(0, 0, |_| {});
    scene.judge();
    let sql = "SELECT string_agg(action || ' ' || level, ', ' ORDER BY transition_id) FROM webmon.alert_transitions WHERE kind = 'spool'";
    assert_eq!(scene.text(sql).as_deref(), Some("firing 1, firing 0, resolved 1"));
}

#[test]
fn neither_a_slow_writer_nor_slow_checks_are_taken_for_a_backlog_of_an_outbox() {
    let Some(mut scene) = Scene::new("") else { return };
    for ago in [45, 5] {
        // Stored long after they were sent, or sent when the check had come to its end.
        scene.sent(ago + 3_600, 0, |_| {});
        scene.sent(ago + 3_600, 20, |_| {});
        scene.sent(ago, 20, |result| result.time_budget_ms = Some(1_200_000));
        // A checker that was down says so when it runs again.
        scene.sent(ago, 21, |result| {
            result.outcome = Outcome::Missed;
            result.error_type = Some(ErrorType::CheckerDown);
            (result.started_at, result.http_status, result.total_us, result.attempts) = (None, None, None, 0);
        });
        // Late, but not by so much.
        scene.sent(ago, 4, |_| {});
        if ago > 40 {
            // As if the other half were stored later.
            let earlier = "UPDATE webmon.late_results SET sent_at = sent_at - interval '40 seconds' \
                           WHERE sent_at > clock_timestamp() - interval '20 seconds'";
            scene.client.execute(earlier, &[]).unwrap();
        }
    }
    scene.judge();
    assert!(scene.of_outboxes().is_empty());
}
