//! What people read says what is stored.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use webmon::record::{Certificate, CheckResult, ErrorType, GapReason, MaintenanceWindow, Outcome};
use webmon::site::Maintenance;

use crate::common::{DAY, config, gap, roll_up};
use crate::support::log::Log;
use crate::support::{database, instant, result, value};

#[test]
fn percentiles_are_within_4_4_percent() {
    let Some(database) = database() else { return };
    // Of every time, the short ones all, apart from half a microsecond for the rounding.
    let off = "SELECT max((abs(webmon.histogram_middle(webmon.histogram_bucket(us)) - us) - 0.5) / us::float8) \
               FROM (SELECT generate_series(1, 20000) AS us \
                     UNION ALL SELECT floor(power(2, 30.9 * n / 20000))::integer FROM generate_series(1, 20000) AS n \
                     UNION ALL SELECT 2147483647) AS times";
    let off: f64 = database.client().query_one(off, &[]).unwrap().get(0);
    assert!((0.04..0.0443).contains(&off), "{off}");

    let (log, config) = (Log::new(1), config(&database, ""));
    for n in 0..4_000i64 {
        let mut r = result("shop", -2 * DAY + n * 43, Outcome::Success);
        r.location = format!("location-{}", n % 2);
        // Scattered over four powers of ten.
        r.total_us = Some((10f64.powf(3.0 + (n * 7_919 % 4_001) as f64 / 1_000.0)) as u32);
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    for fraction in [50, 95, 99] {
        let sql = format!(
            "SELECT u.p{fraction}_us::float8 / c.exact AS by_day, b.p{fraction}_us::float8 / b.exact AS between \
             FROM webmon.uptime u \
             JOIN (SELECT (scheduled_at AT TIME ZONE 'UTC')::date AS day, \
                   percentile_disc(0.{fraction}) WITHIN GROUP (ORDER BY total_us) AS exact \
                   FROM webmon.checks GROUP BY 1) c USING (day) \
             CROSS JOIN (SELECT b.*, (SELECT percentile_disc(0.{fraction}) WITHIN GROUP (ORDER BY total_us) FROM webmon.checks) AS exact \
                         FROM webmon.uptime_between('2000-01-01', '2100-01-01') b) b"
        );
        let rows = database.json(&sql);
        assert_eq!(rows.len(), 2);
        for row in rows {
            for key in ["by_day", "between"] {
                let ratio = row[key].as_f64().unwrap();
                assert!((0.956..1.0443).contains(&ratio), "p{fraction} {row}");
            }
        }
    }
}

#[test]
fn uptime_and_coverage_of_a_day_are_what_its_instants_say() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let mut seconds = -DAY..;
    let mut add = |count: usize, outcome: Outcome, error_type: Option<ErrorType>| {
        for _ in 0..count {
            let mut r = result("shop", seconds.next().unwrap(), outcome);
            r.error_type = error_type;
            log.append(0, value(r));
        }
    };
    add(6, Outcome::Success, None);
    add(2, Outcome::Failure, Some(ErrorType::Timeout));
    add(1, Outcome::Missed, Some(ErrorType::Late));
    add(5, Outcome::Missed, Some(ErrorType::Maintenance));
    log.append(0, gap("shop", "here", -DAY + 600, Some(-DAY + 8_000), 7, GapReason::OutboxFull));
    log.store(&config).unwrap();
    roll_up(&database);
    let row = database.json("SELECT site, uptime_percent, coverage_percent, success, failure, missed, maintenance, gap, mean_us, max_us FROM webmon.uptime").remove(0);
    assert_eq!(
        row,
        json!({"site": "shop", "uptime_percent": 75, "coverage_percent": 50, "success": 6, "failure": 2, "missed": 1,
               "maintenance": 5, "gap": 7, "mean_us": 1_234, "max_us": 1_234})
    );
    let between = database.json("SELECT site, uptime_percent, coverage_percent, success, failure, missed, maintenance, gap, mean_us, max_us FROM webmon.uptime_between('2000-01-01', '2100-01-01')").remove(0);
    assert_eq!(row, between);
}

#[test]
fn the_current_status_is_up_down_stale_or_retired() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let now = Timestamp::now().as_second() - instant(0).as_second();
    let add = |site: &str, ago: i64, outcome: Outcome, next_in: Option<i64>, budget: Option<u32>| {
        let mut r = result(site, now - ago, outcome);
        r.next_at = next_in.map(|next| r.scheduled_at + SignedDuration::from_secs(next));
        r.time_budget_ms = budget;
        log.append(0, value(r));
    };
    let (s, f, m) = (Outcome::Success, Outcome::Failure, Outcome::Missed);
    add("up", 30, s, Some(60), None);
    for ago in [150, 90, 30] {
        add("down", ago, f, Some(60), None);
        add("down-and-missed", ago, if ago == 30 { m } else { f }, Some(60), None);
    }
    add("one-failure", 90, s, Some(60), None);
    add("one-failure", 30, f, Some(60), None);
    add("late", 210, s, Some(60), None);
    add("late-with-budget", 150, s, Some(60), Some(20_000));
    add("slow-with-budget", 210, s, Some(60), Some(600_000));
    add("never-again", 3_600, s, None, None);
    add("no-verdict", 3 * 3_600 + 30, s, Some(60), None);
    add("no-verdict", 30, m, Some(60), None);
    log.append(0, gap("rescheduled", "here", now - 540, Some(now + 3_600), 1, GapReason::Rescheduled));
    let mut r = result("rescheduled", now - 600, s);
    r.next_at = Some(instant(now - 540));
    log.append(0, value(r));
    log.store(&config).unwrap();
    roll_up(&database);
    let rows = database.json("SELECT site, status FROM webmon.current_status ORDER BY site");
    let status: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["site"].as_str().unwrap(), row["status"].as_str().unwrap())).collect();
    assert_eq!(
        status,
        [
            ("down", "down"),
            ("down-and-missed", "down"),
            ("late", "stale"),
            ("late-with-budget", "stale"),
            ("never-again", "retired"),
            ("no-verdict", "stale"),
            ("one-failure", "up"),
            ("rescheduled", "up"),
            ("slow-with-budget", "up"),
            ("up", "up"),
        ]
    );
    // A success shows at once, before anything is rolled up.
    log.append(0, value(result("down", now - 1, s)));
    log.store(&config).unwrap();
    let down = database.json("SELECT status, down_since_at FROM webmon.current_status WHERE site = 'down'");
    assert_eq!(down, [json!({"status": "up", "down_since_at": null})]);
}

#[test]
fn a_slow_success_is_up_and_counted_as_degraded() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    for (n, outcome) in
        [Outcome::Success, Outcome::Success, Outcome::Failure, Outcome::Success].into_iter().enumerate()
    {
        let mut r = result("shop", -10 + n as i64, outcome);
        r.degraded = n % 3 == 0;
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    for from in [
        "webmon.site_hours",
        "webmon.site_days",
        "webmon.uptime",
        "webmon.uptime_between('2000-01-01', '2100-01-01')",
    ] {
        let counted = database.json(&format!("SELECT success, degraded, failure FROM {from}"));
        assert_eq!(counted, [json!({"success": 3, "degraded": 2, "failure": 1})], "{from}");
    }
    let now = database.json("SELECT outcome, degraded FROM webmon.current_status");
    assert_eq!(now, [json!({"outcome": "success", "degraded": true})]);
}

#[test]
fn a_change_of_the_certificate_shows_with_its_times() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    // The first one is presented once more after the change.
    for (seconds, sha256) in [(-50, "aa"), (-40, "aa"), (-30, "bb"), (-20, "aa"), (-10, "bb")] {
        let mut r = result("shop", seconds, Outcome::Success);
        r.certificate = Some(Certificate {
            sha256: sha256.repeat(32),
            issuer: "CN=CA".to_owned(),
            subject_names: vec!["shop.example".to_owned()],
            chain_not_after: None,
        });
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let sql = "SELECT left(sha256, 2) AS sha256, extract(epoch FROM first_seen_at)::bigint AS first, \
                      extract(epoch FROM last_seen_at)::bigint AS last \
               FROM webmon.certificate_history ORDER BY 1";
    let at = |seconds: i64| instant(seconds).as_second();
    assert_eq!(
        database.json(sql),
        [
            json!({"sha256": "aa", "first": at(-50), "last": at(-20)}),
            json!({"sha256": "bb", "first": at(-30), "last": at(-10)}),
        ]
    );
}

#[test]
fn changes_of_a_site_show_over_time() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let version = |seconds: i64, name: &str, schedule: &str, budget: u32| -> CheckResult {
        let mut r = result("shop", seconds, Outcome::Success);
        r.name = name.to_owned();
        r.schedule = Some(schedule.to_owned());
        r.time_budget_ms = Some(budget);
        r.labels = [("team".to_owned(), name.to_owned())].into();
        r
    };
    for r in [
        version(-DAY, "Shop", "@hourly in UTC", 10_000),
        version(-DAY + 7_200, "Shop", "@daily in UTC", 10_000),
        version(-DAY + 3_600, "Shop", "@hourly in UTC", 10_000),
        version(-3_600, "The Shop", "@daily in UTC", 20_000),
    ] {
        log.append(0, value(r));
    }
    log.store(&config).unwrap();
    roll_up(&database);
    let day = instant(0).as_second();
    let rows = database.json(&format!(
        "SELECT name, schedule, time_budget_ms AS budget, extract(epoch FROM first_seen_at)::bigint - {day} AS f, \
         extract(epoch FROM last_seen_at)::bigint - {day} AS l FROM webmon.site_history ORDER BY first_seen_at"
    ));
    assert_eq!(
        rows,
        [
            json!({"name": "Shop", "schedule": "@hourly in UTC", "budget": 10_000, "f": -DAY, "l": -DAY + 3_600}),
            json!({"name": "Shop", "schedule": "@daily in UTC", "budget": 10_000, "f": -DAY + 7_200, "l": -DAY + 7_200}),
            json!({"name": "The Shop", "schedule": "@daily in UTC", "budget": 20_000, "f": -3_600, "l": -3_600}),
        ]
    );
    let now = database.json("SELECT site, name, labels, schedule FROM webmon.current_sites");
    let expected = json!({"site": "shop", "name": "The Shop", "labels": {"team": "The Shop"}, "schedule": "@daily in UTC"});
    assert_eq!(now, [expected]);
}

#[test]
fn the_maintenance_of_a_site_is_known_ahead() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let window = |schedule: &str| MaintenanceWindow {
        schedule: schedule.to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        duration_s: 7_200,
    };
    let windows = [window("0 2 * * SUN"), window("0 3 8 * *")];
    for (seconds, count) in [(-7_200, 1), (-3_600, 2), (-60, 2)] {
        let mut r = result("shop", seconds, Outcome::Success);
        r.maintenance = windows[..count].to_vec();
        log.append(0, value(r));
    }
    log.append(0, value(result("plain", -60, Outcome::Success)));
    log.store(&config).unwrap();
    roll_up(&database);
    // Each set of windows is a version of the site.
    let sql = "SELECT jsonb_array_length(maintenance) AS n FROM webmon.site_history WHERE site = 'shop' ORDER BY first_seen_at";
    assert_eq!(database.json(sql), [json!({"n": 1}), json!({"n": 2})]);
    let now = database.json("SELECT site, maintenance FROM webmon.current_sites ORDER BY site");
    let stored = json!([
        {"schedule": "0 2 * * SUN", "timezone": "Europe/Berlin", "duration_s": 7_200},
        {"schedule": "0 3 8 * *", "timezone": "Europe/Berlin", "duration_s": 7_200}
    ]);
    assert_eq!(
        now,
        [json!({"site": "plain", "maintenance": null}), json!({"site": "shop", "maintenance": stored})]
    );
    // As a page reads it.
    let read: Vec<MaintenanceWindow> = serde_json::from_value(now[1]["maintenance"].clone()).unwrap();
    let read: Vec<Maintenance> = read.iter().map(|window| Maintenance::try_from(window).unwrap()).collect();
    let next = Maintenance::now_or_next(&read, "2026-03-05T12:00:00Z".parse().unwrap());
    let joined: [Timestamp; 2] =
        ["2026-03-08T01:00:00Z", "2026-03-08T04:00:00Z"].map(|at| at.parse().unwrap());
    assert_eq!(next, Some(joined[0]..joined[1]));
}

#[test]
fn every_column_of_every_view_has_a_comment() {
    let Some(database) = database() else { return };
    let sql = "SELECT c.relname || '.' || a.attname AS name, col_description(c.oid, a.attnum) IS NOT NULL AS commented \
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
               WHERE c.relnamespace = 'webmon'::regnamespace AND c.relkind = 'v'";
    let columns = database.json(sql);
    assert!(columns.len() > 70, "{}", columns.len());
    let bare: Vec<_> = columns.iter().filter(|column| column["commented"] == false).collect();
    assert!(bare.is_empty(), "{bare:?}");
}
