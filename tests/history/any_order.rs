//! Whatever arrives in whatever order, history is what a derivation from all results and gaps comes to.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use webmon::record::{ErrorType, GapReason, Outcome};
use webmon::site::{Incident as Thresholds, Locations};
use webmon::store;

use crate::common::{HOUR, assert_history_of, config, gap, roll_up, say};
use crate::support::log::Log;
use crate::support::{database, result, value};

/// What may arrive: a result, or a gap.
#[derive(Clone, Debug)]
enum Arrival {
    Result {
        site: u8,
        location: u8,
        slot: i64,
        outcome: u8,
        total_us: i32,
    },
    Gap {
        site: u8,
        location: u8,
        from: i64,
        length: Option<i64>,
        instants: u64,
    },
    /// One of the records so far comes again.
    Replay(prop::sample::Index),
    /// Everything so far is stored and rolled up.
    RollUp,
    /// So too, and then nothing is waited for from this location.
    Retire(u8),
}

/// Instants are ten minutes apart, over five hours of yesterday that reach into today; or more than an hour, over two days.
const SLOTS: [i64; 2] = [600, HOUR + 600];

const LOCATIONS: u8 = 3;

fn arrival() -> impl Strategy<Value = Arrival> {
    let result = (0..2u8, 0..LOCATIONS, 0..30i64, 0..10u8, 1..i32::MAX).prop_map(
        |(site, location, slot, outcome, total_us)| {
            // Successes and failures in equal parts, so that runs of failures are long enough.
            Arrival::Result { site, location, slot, outcome, total_us }
        },
    );
    let gap = (0..2u8, 0..LOCATIONS, 0..30i64, prop::option::weighted(0.8, 1..15i64), 1..20u64).prop_map(
        |(site, location, from, length, instants)| Arrival::Gap { site, location, from, length, instants },
    );
    let replay = any::<prop::sample::Index>().prop_map(Arrival::Replay);
    let retire = (0..LOCATIONS).prop_map(Arrival::Retire);
    prop_oneof![90 => result, 4 => gap, 4 => replay, 3 => Just(Arrival::RollUp), 1 => retire]
}

/// Each threshold is often the default, so that each of the others is tried by itself.
fn thresholds() -> impl Strategy<Value = Thresholds> {
    let locations = prop_oneof![
        Just(Locations::Count(1)),
        (1..4u16).prop_map(Locations::Count),
        (1..=100u16).prop_map(Locations::Percent),
    ];
    let recoveries = prop_oneof![Just(1), 1..5u16];
    let min_voters = prop_oneof![2 => Just(1), 1 => 1..4u16];
    (1..4u16, recoveries, locations, min_voters).prop_map(|(failures, recoveries, locations, min_voters)| {
        Thresholds { failures, recoveries, locations, min_voters }
    })
}

#[test]
fn history_is_right_in_every_order_of_arrival() {
    let Some(database) = database() else { return };
    let log = Log::new(1);
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Cases {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Cases::default()
    });
    let arrivals = prop::collection::vec(arrival(), 1..300);
    // Of each site, by its key.
    let all: std::cell::RefCell<BTreeMap<String, Thresholds>> = Default::default();
    let thresholds_of = |site: &str| all.borrow()[site];
    let slot = prop::sample::select(&SLOTS[..]);
    let cases = (arrivals, [thresholds(), thresholds()], slot);
    let outcome = runner.run(&cases, |(arrivals, thresholds, seconds)| {
        case.set(case.get() + 1);
        // The last slots are the same, however far apart they are.
        let at = |slot: i64| (slot - 30) * seconds + 12 * SLOTS[0];
        let mut records: Vec<Vec<u8>> = Vec::new();
        for (site, thresholds) in thresholds.iter().enumerate() {
            all.borrow_mut().insert(format!("{:03}-{site}", case.get()), *thresholds);
        }
        let config = config(&database, "store.batch_records = 40");
        for arrival in arrivals {
            match arrival {
                Arrival::Result { site, location, slot, outcome, total_us } => {
                    let outcome = match outcome {
                        0..4 => Outcome::Success,
                        4..8 => Outcome::Failure,
                        _ => Outcome::Missed,
                    };
                    let mut r = result(&format!("{:03}-{site}", case.get()), at(slot), outcome);
                    r.location = format!("{:03}-location-{location}", case.get());
                    say(&mut r, thresholds[usize::from(site)]);
                    r.total_us = (total_us % 5 != 0).then_some(total_us as u32);
                    // Measured without a total too, and not in every check.
                    let phase = |n: i32| (total_us % n != 0).then_some(total_us as u32 / n as u32);
                    r.dns_us = phase(2);
                    r.connect_us = phase(3);
                    r.tls_us = phase(7);
                    r.ttfb_us = phase(11);
                    r.download_us = phase(13);
                    match outcome {
                        Outcome::Success => {}
                        Outcome::Failure => {
                            r.error_type = Some(ErrorType::ALL[total_us as usize % 9]);
                            r.error_detail = (total_us % 2 == 0).then(|| format!("detail {}", total_us % 7));
                        }
                        Outcome::Missed => r.error_type = Some(ErrorType::ALL[9 + total_us as usize % 7]),
                    }
                    records.push(value(r));
                    log.append(0, records.last().cloned());
                }
                Arrival::Gap { site, location, from, length, instants } => {
                    let (from, to) = (at(from), length.map(|length| at(from + length)));
                    let site = format!("{:03}-{site}", case.get());
                    // A reason, and so an identity, that may come again with more instants.
                    let reason =
                        if instants % 2 == 0 { GapReason::OutboxFull } else { GapReason::CheckerDown };
                    let location = format!("{:03}-location-{location}", case.get());
                    records.push(gap(&site, &location, from, to, instants, reason));
                    log.append(0, records.last().cloned());
                }
                Arrival::Replay(index) => {
                    if !records.is_empty() {
                        log.append(0, records[index.index(records.len())].clone());
                    }
                }
                Arrival::RollUp => {
                    log.store(&config).unwrap();
                    roll_up(&database);
                }
                Arrival::Retire(location) => {
                    log.store(&config).unwrap();
                    roll_up(&database);
                    let location = format!("{:03}-location-{location}", case.get());
                    store::retire_location(&mut database.client(), &location).unwrap();
                }
            }
        }
        log.store(&config).unwrap();
        roll_up(&database);
        assert_history_of(&database, &thresholds_of);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Derived step by step, incidents are what they are when all are derived at once.
    database
        .client()
        .batch_execute(
            "DELETE FROM webmon.site_incidents;
             INSERT INTO webmon.incidents_dirty (site_id, from_at, to_at) SELECT site_id, '-infinity', 'infinity' FROM webmon.sites",
        )
        .unwrap();
    roll_up(&database);
    assert_history_of(&database, &thresholds_of);
    let retired = database.number("SELECT count(*) FROM webmon.site_locations WHERE retired_at IS NOT NULL");
    let down = database.number("SELECT count(*) FROM webmon.site_locations WHERE down_since_at IS NOT NULL");
    assert!(retired > 0 && down > 0, "{retired} retired, {down} down");
}
