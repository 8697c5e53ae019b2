//! An incident begins and ends where the site's thresholds say, and keeps its id.

use serde_json::json;
use webmon::config::Config;
use webmon::record::{GapReason, Outcome};

use crate::common::{DAY, HOUR, config, gap, incidents};
use crate::support::log::Log;
use crate::support::{database, result, value};

fn store_outcomes(log: &Log, config: &Config, outcomes: &[(i64, Outcome)]) {
    for (seconds, outcome) in outcomes {
        log.append(0, value(result("shop", *seconds, *outcome)));
    }
    log.store(config).unwrap();
}

#[test]
fn late_results_split_and_join_incidents_and_the_first_keeps_its_number() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    let (s, f) = (Outcome::Success, Outcome::Failure);
    // Half an hour apart, over two days: failures from 1 to 8 with a hole at 4 and 5.
    let at = |n: i64| -DAY / 6 + n * HOUR / 2;
    store_outcomes(
        &log,
        &config,
        &[(at(0), s), (at(1), f), (at(2), f), (at(3), f), (at(6), f), (at(7), f), (at(8), f)],
    );
    let open = incidents(&database);
    assert_eq!(open, [(open[0].0, at(1), None, 6)]);
    let first = open[0].0;
    store_outcomes(&log, &config, &[(at(9), s)]);
    assert_eq!(incidents(&database), [(first, at(1), Some(at(9)), 6)]);
    // A success in the middle splits it.
    store_outcomes(&log, &config, &[(at(5), s)]);
    let split = incidents(&database);
    assert_eq!(split, [(first, at(1), Some(at(5)), 3), (split[1].0, at(6), Some(at(9)), 3)]);
    // Another one takes the first's end away, and a late failure gives it back.
    store_outcomes(&log, &config, &[(at(4), f)]);
    assert_eq!(incidents(&database)[0], (first, at(1), Some(at(5)), 4));
    // A success in place of a failure (a twin's): two runs, of which one is too short.
    store_outcomes(&log, &config, &[(at(2), s)]);
    let rest = incidents(&database);
    assert_eq!(rest.iter().map(|i| (i.1, i.3)).collect::<Vec<_>>(), [(at(3), 2), (at(6), 3)]);
    assert_eq!(rest[1].0, split[1].0, "it begins where it began");
}

#[test]
fn a_retired_site_is_not_down() {
    let Some(database) = database() else { return };
    let (log, config) = (Log::new(1), config(&database, ""));
    store_outcomes(&log, &config, &[(0, Outcome::Failure), (60, Outcome::Failure)]);
    assert_eq!(incidents(&database)[0].2, None);
    // The instant that was announced.
    log.append(0, gap("shop", "here", 61, None, 1, GapReason::Rescheduled));
    log.store(&config).unwrap();
    assert_eq!(incidents(&database)[0].2, Some(61));
    let status = database.json("SELECT status, next_at, down_since_at FROM webmon.current_status");
    assert_eq!(status, [json!({"status": "retired", "next_at": null, "down_since_at": null})]);
}
