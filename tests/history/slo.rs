//! What is left of a target's failures is an interval, and the truth is in it.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use webmon::record::{CheckResult, ErrorType, GapReason, Outcome};

use crate::common::{DAY, config, gap, roll_up};
use crate::support::log::Log;
use crate::support::{Database, database, result, value};

/// Seconds between two instants.
const STEP: i64 = 7_200;

/// What became of an instant, beside whether the site was good.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Checked,
    Missed,
    InGap,
    Maintenance,
}

#[derive(Clone, Debug)]
struct Case {
    uptime_ppm: u32,
    window_days: u16,
    /// Of the instants at two locations, over the five days before today: whether the site was good, and the fate.
    instants: Vec<(bool, Fate)>,
}

fn case() -> impl Strategy<Value = Case> {
    // Of some sites everything is checked.
    let instants = (any::<bool>(), 1..20u32).prop_flat_map(|(unchecked, bad)| {
        let fate = (0..9u8).prop_map(move |fate| match fate {
            0 => Fate::Maintenance,
            1 if unchecked => Fate::Missed,
            2 if unchecked => Fate::InGap,
            _ => Fate::Checked,
        });
        let good = prop_oneof![20 => Just(true), bad => Just(false)];
        prop::collection::vec((good, fate), 2 * (5 * DAY / STEP) as usize)
    });
    let uptime_ppm = prop_oneof![1..=999_999u32, 900_000..=999_999u32];
    (uptime_ppm, 1..8u16, instants).prop_map(|(uptime_ppm, window_days, instants)| Case {
        uptime_ppm,
        window_days,
        instants,
    })
}

fn with_target(mut result: CheckResult, uptime_ppm: u32, window_days: u16) -> Vec<u8> {
    result.slo_uptime_ppm = Some(uptime_ppm);
    result.slo_window_days = Some(window_days);
    value(result)
}

fn append(log: &Log, site: &str, case: &Case) {
    let days = case.instants.len() / 2;
    for (n, (good, fate)) in case.instants.iter().enumerate() {
        let (at, location) = ((n % days) as i64 * STEP - 5 * DAY, if n < days { "here" } else { "there" });
        let outcome = match fate {
            Fate::Checked if *good => Outcome::Success,
            Fate::Checked => Outcome::Failure,
            Fate::Missed | Fate::Maintenance => Outcome::Missed,
            Fate::InGap => {
                log.append(0, gap(site, location, at, Some(at + STEP), 1, GapReason::CheckerDown));
                continue;
            }
        };
        let mut r = result(site, at, outcome);
        r.location = location.to_owned();
        if *fate == Fate::Maintenance {
            r.error_type = Some(ErrorType::Maintenance);
        }
        log.append(0, with_target(r, case.uptime_ppm, case.window_days));
    }
}

fn number(row: &Value, column: &str) -> f64 {
    row[column].as_f64().unwrap_or_else(|| panic!("{column}: {row}"))
}

#[track_caller]
fn assert_interval(row: &Value, case: &Case) {
    let days = case.instants.len() / 2;
    let from = (6 - i64::from(case.window_days)).max(0) * DAY / STEP;
    let within: Vec<(bool, Fate)> = case
        .instants
        .iter()
        .enumerate()
        .filter(|(n, (_, fate))| (n % days) as i64 >= from && *fate != Fate::Maintenance)
        .map(|(_, instant)| *instant)
        .collect();
    let count = |wanted: &dyn Fn(bool, Fate) -> bool| {
        within.iter().filter(|(good, fate)| wanted(*good, *fate)).count() as f64
    };
    let unchecked = count(&|_, fate| fate != Fate::Checked);
    assert_eq!(number(row, "scheduled"), within.len() as f64, "{row}");
    assert_eq!(number(row, "success"), count(&|good, fate| good && fate == Fate::Checked), "{row}");
    assert_eq!(number(row, "failure"), count(&|good, fate| !good && fate == Fate::Checked), "{row}");
    assert_eq!(number(row, "unchecked"), unchecked, "{row}");
    let bad = count(&|good, _| !good);
    if within.is_empty() {
        assert!(row["uptime_best_percent"].is_null() && row["budget_left_worst"].is_null(), "{row}");
        return;
    }
    let budget = within.len() as f64 * (1.0 - f64::from(case.uptime_ppm) / 1e6);
    assert!((number(row, "budget") - budget).abs() < 1e-9, "{row}: {budget}");
    for (truth, worst, best) in [
        (100.0 * (1.0 - bad / within.len() as f64), "uptime_worst_percent", "uptime_best_percent"),
        (1.0 - bad / budget, "budget_left_worst", "budget_left_best"),
    ] {
        let (worst, best) = (number(row, worst), number(row, best));
        let rounding = 1e-9 * (1.0 + truth.abs());
        assert!(worst - rounding <= truth && truth <= best + rounding, "{truth}: {row}");
        assert_eq!(worst == best, unchecked == 0.0, "{row}");
    }
}

#[test]
fn what_is_left_of_a_target_is_an_interval_that_holds_the_truth() {
    let Some(database) = database() else { return };
    let (log, mut runner) = (Log::new(1), TestRunner::default());
    let cases: Vec<Case> = (0..40).map(|_| case().new_tree(&mut runner).unwrap().current()).collect();
    for (n, case) in cases.iter().enumerate() {
        append(&log, &format!("site-{n:02}"), case);
    }
    log.store(&config(&database, "")).unwrap();
    roll_up(&database);
    let rows = database.json("SELECT * FROM webmon.slo ORDER BY site");
    let mut unchecked = 0;
    for (n, case) in cases.iter().enumerate() {
        let site = format!("site-{n:02}");
        // Of a site that nobody has checked so far nobody knows that it has a target.
        let known = case.instants.iter().any(|(_, fate)| *fate != Fate::InGap);
        let row = rows.iter().find(|row| row["site"] == site);
        assert_eq!(row.is_some(), known, "{site}");
        let Some(row) = row else { continue };
        assert_eq!(number(row, "target_percent"), f64::from(case.uptime_ppm) / 1e4);
        assert_eq!(number(row, "window_days"), f64::from(case.window_days));
        assert_interval(row, case);
        unchecked += u32::from(number(row, "unchecked") > 0.0);
    }
    assert!((1..40).contains(&unchecked), "{unchecked} of 40 sites have instants that were not checked");
}

fn sites(database: &Database) -> Vec<Value> {
    database.json("SELECT site, target_percent AS t, window_days AS d FROM webmon.slo ORDER BY site")
}

#[test]
fn a_site_that_is_retired_or_has_no_target_has_no_row() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let s = Outcome::Success;
    log.append(0, value(result("silent", -60, s)));
    log.append(0, with_target(result("first", -60, s), 999_000, 30));
    log.append(0, with_target(result("second", -60, s), 995_000, 7));
    // It had a target once.
    log.append(0, with_target(result("dropped", -7_200, s), 995_000, 7));
    log.append(0, value(result("dropped", -60, s)));
    log.store(&config).unwrap();
    roll_up(&database);
    let row = |site: &str, target: f64, days: u16| json!({"site": site, "t": target, "d": days});
    assert_eq!(sites(&database), [row("first", 99.9, 30), row("second", 99.5, 7)]);
    // A newer version has another target, and a site is gone.
    log.append(0, with_target(result("first", -30, s), 999_900, 90));
    log.append(0, gap("second", "here", -59, None, 1, GapReason::Rescheduled));
    log.store(&config).unwrap();
    roll_up(&database);
    assert_eq!(sites(&database), [row("first", 99.99, 90)]);
    // Each combination is a version of the site.
    assert_eq!(database.number("SELECT count(*) FROM webmon.site_history WHERE site = 'first'"), 2);
}
