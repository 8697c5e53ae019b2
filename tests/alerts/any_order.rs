//! Whatever results arrive in whatever order, late, twice or better than before: the alerts are those of a reference that
//! looks at everything again after each arrival, and knows of no notes.

use std::collections::{BTreeMap, BTreeSet};

use webmon::record::Outcome::{self, Failure, Missed, Success};
use webmon::site::{Incident, Locations};

use crate::scene::{Scene, at, seen};

const LOCATIONS: [&str; 3] = ["a", "b", "c"];
const INSTANTS: i64 = 14;

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[derive(Clone, Debug)]
struct Arrival {
    location: usize,
    instant: i64,
    outcome: Outcome,
}

struct Case {
    site: String,
    thresholds: Incident,
    arrivals: Vec<Arrival>,
    reference: Reference,
}

/// What is known of a site, and what was said of it.
#[derive(Default)]
struct Reference {
    /// By location: the outcome of each instant, and whether it is down there.
    rows: BTreeMap<usize, BTreeMap<i64, Outcome>>,
    down: BTreeSet<usize>,
    site_is_down: bool,
    advisory: bool,
    said: Vec<String>,
}

impl Reference {
    fn sees(&mut self, arrival: &Arrival) {
        let row = self.rows.entry(arrival.location).or_default().entry(arrival.instant).or_insert(Missed);
        *row = arrival.outcome.max(*row);
    }

    fn judge(&mut self, site: &str, thresholds: Incident) {
        let (mut voters, mut down, mut up) = (0, 0, 0);
        for (location, rows) in &self.rows {
            let verdicts: Vec<Outcome> = rows.values().rev().copied().filter(|o| *o != Missed).collect();
            let run = |of: Outcome| verdicts.iter().take_while(|outcome| **outcome == of).count();
            if run(Failure) >= usize::from(thresholds.failures) {
                self.down.insert(*location);
            }
            if run(Success) >= usize::from(thresholds.recoveries) {
                self.down.remove(location);
            }
            if rows.values().next_back() != Some(&Missed) {
                voters += 1;
                let is_down = self.down.contains(location);
                down += usize::from(is_down);
                up += usize::from(!is_down && run(Success) > 0);
            }
        }
        let needed = match thresholds.locations {
            Locations::Count(count) => usize::from(count),
            Locations::Percent(percent) => (voters * usize::from(percent)).div_ceil(100).max(1),
        };
        let quorum = voters >= needed && voters >= usize::from(thresholds.min_voters);
        let goes_down = quorum && down >= needed;
        let goes_up = quorum && down < needed && up > 0;
        let ends = self.site_is_down && goes_up;
        let begins = !self.site_is_down && goes_down;
        let still_down = goes_down || (self.site_is_down && !goes_up);
        let below = down > 0 && !still_down;
        let above = still_down || (down == 0 && up > 0);
        if ends {
            self.said.push(format!("down resolved {site}"));
        }
        if self.advisory && above {
            self.said.push(format!("advisory resolved {site}"));
        }
        if begins {
            self.said.push(format!("down firing {site}"));
        }
        if !self.advisory && below {
            self.said.push(format!("advisory firing {site}"));
        }
        self.site_is_down = still_down;
        self.advisory = if self.advisory { !above } else { below };
    }
}

fn case(number: usize, random: &mut Random) -> Case {
    let locations = 1 + random.below(3) as usize;
    let thresholds = Incident {
        failures: 1 + random.below(3) as u16,
        recoveries: 1 + random.below(3) as u16,
        locations: match random.below(2) {
            0 => Locations::Count(1 + random.below(2) as u16),
            _ => Locations::Percent([34, 50, 67, 100][random.below(4) as usize]),
        },
        min_voters: 1 + random.below(2) as u16,
    };
    let mut arrivals = Vec::new();
    for location in 0..locations {
        // Long runs are as likely as short ones.
        let steady = 1 + random.below(4);
        let mut outcome = Success;
        for instant in 1 - INSTANTS..=0 {
            if random.below(steady + 1) == 0 {
                outcome = [Success, Failure, Failure, Missed][random.below(4) as usize];
            }
            arrivals.push(Arrival { location, instant, outcome });
            // A twin, or a replay, says something about the same instant.
            if random.below(6) == 0 {
                let outcome = [Success, Failure, Missed][random.below(3) as usize];
                arrivals.push(Arrival { location, instant, outcome });
            }
        }
    }
    // In order by and by, but each may be late.
    let late = random.below(4) as i64 * 3;
    arrivals.sort_by_cached_key(|arrival| arrival.instant + random.below(1 + late as u64) as i64);
    Case { site: format!("site-{number}"), thresholds, arrivals, reference: Reference::default() }
}

#[test]
fn alerts_are_those_of_a_reference_in_every_order_of_arrival() {
    let Some(mut scene) = Scene::new("") else { return };
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut random = Random(seed);
    let cases = crate::support::scale(60, 400);
    let mut cases: Vec<Case> = (0..cases).map(|number| case(number, &mut random)).collect();
    while cases.iter().any(|case| !case.arrivals.is_empty()) {
        for case in &mut cases {
            let count = (1 + random.below(6) as usize).min(case.arrivals.len());
            for arrival in case.arrivals.drain(..count) {
                let location = LOCATIONS[arrival.location];
                let mut result = seen(&case.site, location, at(arrival.instant), arrival.outcome);
                result.incident_failures = Some(case.thresholds.failures);
                result.incident_recoveries = Some(case.thresholds.recoveries);
                match case.thresholds.locations {
                    Locations::Count(count) => result.incident_locations = Some(count),
                    Locations::Percent(percent) => result.incident_locations_percent = Some(percent),
                }
                result.incident_min_voters = Some(case.thresholds.min_voters);
                scene.append(result);
                case.reference.sees(&arrival);
            }
            if count > 0 {
                case.reference.judge(&case.site, case.thresholds);
            }
        }
        scene.store();
        scene.judge();
    }
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for transition in scene.transitions() {
        let site = transition.rsplit(' ').next().unwrap().to_owned();
        said.entry(site).or_default().push(transition);
    }
    for case in &cases {
        let said = said.get(&case.site).cloned().unwrap_or_default();
        assert_eq!(said, case.reference.said, "seed {seed:#x}, {} with {:?}", case.site, case.thresholds);
    }
    let transitions: usize = said.values().map(Vec::len).sum();
    assert!(transitions > cases.len(), "only {transitions} transitions: the cases say little");
    assert!(webmon::alerts::prove(&mut scene.client).unwrap().holds());
}
