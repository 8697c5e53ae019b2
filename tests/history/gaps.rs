//! No gap, however long, stops history, and its instants are counted.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use webmon::record::{GapReason, Outcome};

use crate::common::{DAY, HOUR, THRESHOLDS, assert_history, config, gap, roll_up, stored_incidents};
use crate::support::log::Log;
use crate::support::{database, instant, result, value};

#[test]
fn a_gap_is_windowed_like_a_result() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, "store.retention = { results = \"2d\" }"));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let year = 366 * DAY;
    for value in [
        // Ends before anything that is stored.
        gap("shop", "here", -100 * DAY, Some(-2 * DAY - HOUR), 5, GapReason::CheckerDown),
        gap("shop", "here", -100 * DAY, None, 1, GapReason::Rescheduled),
        // Only half of it does.
        gap("shop", "here", -100 * DAY, Some(0), 50 * 86_400, GapReason::CheckerDown),
        // What is to come is missed by nobody,
        gap("shop", "here", now + DAY, Some(now + 2 * DAY), 5, GapReason::OutboxFull),
        // unless it was announced and will not be.
        gap("shop", "here", now + year, None, 1, GapReason::Rescheduled),
        gap("shop", "here", now + 69 * year, None, 1, GapReason::Rescheduled),
    ] {
        log.append(0, value);
    }
    log.store(&config).unwrap();
    let counts = database.json(
        "SELECT sum(gaps)::bigint AS gaps, sum(expired)::bigint AS expired, sum(dead)::bigint AS dead FROM webmon.ingest_batches",
    );
    assert_eq!(counts, [json!({"gaps": 2, "expired": 2, "dead": 2})]);
    let letters = database.json(
        "SELECT record_offset AS o, reason, value IS NOT NULL AND key IS NOT NULL AS whole FROM webmon.dead_letters ORDER BY 1",
    );
    assert_eq!(letters, [3, 5].map(|o| json!({"o": o, "reason": "ahead_of_time", "whole": true})));
    // From the oldest that is kept to its end, and nothing of what is to come.
    let hours = database.number("SELECT count(DISTINCT hour) FROM webmon.rollup_dirty");
    assert!((24..=49).contains(&hours), "{hours}");
    assert_eq!(
        database.number("SELECT count(*) FROM webmon.rollup_dirty WHERE hour < now() - interval '50 hours'"),
        0
    );
}

#[test]
fn an_hour_in_which_a_gap_only_hides_another_one_is_derived_again() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let at = |hour: i64, minute: i64| -DAY + hour * HOUR + minute * 60;
    let gaps = |expected: &[(i64, i64)]| {
        log.store(&config).unwrap();
        roll_up(&database);
        let sql = "SELECT extract(hour FROM hour AT TIME ZONE 'UTC')::bigint AS h, gap::bigint AS n FROM webmon.site_hours \
                   WHERE gap > 0 ORDER BY 1";
        let expected: Vec<_> = expected.iter().map(|(hour, n)| json!({"h": hour, "n": n})).collect();
        assert_eq!(database.json(sql), expected);
        assert_history(&database, THRESHOLDS);
    };
    // Instants at 8:30, 9:12, 9:54, 10:36 and 11:18. A row takes that of 10:36 away.
    log.append(0, value(result("shop", at(10, 10), Outcome::Success)));
    log.append(0, gap("shop", "here", at(8, 30), Some(at(12, 0)), 5, GapReason::OutboxFull));
    gaps(&[(8, 1), (9, 2), (11, 1)]);
    // One instant at 8:00. It hides those of the other until 10:30, and the row is no longer within the other.
    log.append(0, gap("shop", "here", at(8, 0), Some(at(10, 30)), 1, GapReason::CheckerDown));
    gaps(&[(8, 1), (10, 1), (11, 1)]);
    // It comes again with more instants, at 8:00 and 9:45, and hides all of the other.
    log.append(0, gap("shop", "here", at(8, 0), Some(at(11, 30)), 2, GapReason::CheckerDown));
    gaps(&[(8, 1), (9, 1)]);
}

#[test]
fn the_largest_gap_stops_nothing() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    log.append(0, value(result("shop", -DAY, Outcome::Failure)));
    log.append(0, value(result("shop", -DAY + 1, Outcome::Failure)));
    log.store(&config).unwrap();
    // As it could be stored before its bounds were, and longer than any that may be.
    database
        .client()
        .batch_execute(
            "INSERT INTO webmon.gaps (site_id, location_id, from_at, to_at, instants, reason, checker_id)
             SELECT site_id, location_id, '1970-01-01 00:00:00Z', '9999-01-01 00:00:00Z', 9223372036854775807, 'outbox_full', 1
             FROM webmon.sites CROSS JOIN webmon.locations",
        )
        .unwrap();
    let done = roll_up(&database);
    assert_eq!((done.hours, done.set_aside, done.days), (1, 0, 1));
    assert_eq!(database.number("SELECT gap::bigint FROM webmon.site_hours"), 3_598);
    assert_eq!(stored_incidents(&mut database.client()).len(), 1);
}

#[test]
fn a_gap_of_the_future_says_what_is_due_only_where_that_was_announced() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let add = |site: &str, next_in: i64| {
        let mut r = result(site, now - 30, Outcome::Success);
        r.next_at = Some(r.scheduled_at + SignedDuration::from_secs(next_in));
        log.append(0, value(r));
    };
    let later = |site: &str, from: i64, to: Option<i64>| {
        log.append(
            0,
            gap(site, "here", now - 30 + from, to.map(|to| now - 30 + to), 1, GapReason::Rescheduled),
        );
    };
    // Healthy, whatever a stray gap says.
    add("stray", 60);
    later("stray", 90, None);
    later("stray", 3_600, Some(7_200));
    // Its next instant was taken back, and the one after it too: it was retired.
    add("chain", 60);
    later("chain", 60, Some(3_600));
    later("chain", 3_600, None);
    // A year ahead, and rescheduled.
    add("yearly", 366 * DAY);
    later("yearly", 366 * DAY, Some(367 * DAY));
    // Within a gap.
    add("within", 60);
    later("within", 50, Some(120));
    log.store(&config).unwrap();
    roll_up(&database);
    let rows = database.json(&format!(
        "SELECT site, status, extract(epoch FROM next_at - '{}')::bigint AS next FROM webmon.current_status ORDER BY site",
        instant(now - 30)
    ));
    let expected = [
        ("chain", "retired", json!(null)),
        ("stray", "up", json!(60)),
        ("within", "up", json!(120)),
        ("yearly", "up", json!(367 * DAY)),
    ];
    assert_eq!(
        rows,
        expected.map(|(site, status, next)| json!({"site": site, "status": status, "next": next}))
    );
}
