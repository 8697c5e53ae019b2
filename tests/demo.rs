//! The made-up past of the demo: as valid and as complete as one that was measured.

#[path = "../examples/demo/history.rs"]
mod history;
#[path = "../examples/demo/made_up.rs"]
mod made_up;

use std::collections::{BTreeMap, BTreeSet};

use webmon::record::{ErrorType, Outcome, Record};

/// 2026-03-01T12:34:56Z.
const NOW: i64 = 1_772_368_496;
/// The most records that the demo may begin with.
const MAX_RECORDS: usize = 100_000;

#[test]
fn the_made_up_past_accounts_for_every_instant_once() {
    let records = history::records(NOW).unwrap();
    assert!(records.len() < MAX_RECORDS, "{}", records.len());
    // The links of each place: the instants that there are, and those that are announced.
    let mut instants: BTreeMap<(String, String), BTreeSet<i64>> = BTreeMap::new();
    let mut links: BTreeMap<(String, String), BTreeSet<Option<i64>>> = BTreeMap::new();
    let mut count = 0;
    for made in &records {
        let (site, location, at, next_at, number) = match &made.record {
            Record::Result(result) => {
                (&result.site, &result.location, result.scheduled_at, result.next_at, 1)
            }
            Record::Gap(gap) => (&gap.site, &gap.location, gap.gap.from, gap.gap.to, gap.gap.instants as i64),
        };
        assert_eq!(site, made.site);
        let place = (site.clone(), location.clone());
        assert!(instants.entry(place.clone()).or_default().insert(at.as_second()), "{site} {location} {at}");
        links.entry(place).or_default().insert(next_at.map(jiff::Timestamp::as_second));
        count += number;
    }
    assert_eq!(instants.len(), made_up::SITES.iter().map(|site| site.places).sum::<usize>());
    assert_eq!(count, instants.len() as i64 * history::LENGTH / history::STEP);
    for (place, instants) in instants {
        let first = *instants.first().unwrap();
        let mut announced: BTreeSet<Option<i64>> = instants.into_iter().map(Some).collect();
        announced.remove(&Some(first));
        announced.insert(None);
        assert_eq!(links[&place], announced, "{place:?}");
    }
}

#[test]
fn the_made_up_past_is_the_same_each_time_and_the_newest_comes_first() {
    let values =
        || history::records(NOW).unwrap().iter().map(|made| made.record.encode()).collect::<Vec<_>>();
    assert_eq!(values(), values());
    let records = history::records(NOW).unwrap();
    let at = |record: &Record| match record {
        Record::Result(result) => result.scheduled_at,
        Record::Gap(gap) => gap.gap.from,
    };
    assert!(records.is_sorted_by(|one, next| at(&one.record) >= at(&next.record)));
}

#[test]
fn the_made_up_past_says_that_it_is_made_up_and_has_something_of_everything() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for made in history::records(NOW).unwrap() {
        made.record.validate().unwrap();
        let Record::Result(result) = made.record else {
            seen.insert("gap".to_owned());
            continue;
        };
        assert_eq!(result.labels["demo"], "made up");
        assert_eq!(result.checker, "made-up");
        assert!(result.scheduled_at.as_second() <= NOW);
        seen.insert(if result.degraded { "degraded".to_owned() } else { result.outcome.to_string() });
        seen.extend(result.error_type.map(|error| error.to_string()));
        let left = result.cert_not_after.map_or(i64::MAX, |not_after| not_after.as_second() - NOW);
        seen.extend((left < 7 * 86_400).then_some("certificate".to_owned()));
    }
    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Missed].map(Outcome::as_str);
    let errors = [
        ErrorType::ExpectationFailed,
        ErrorType::Timeout,
        ErrorType::Connect,
        ErrorType::Dns,
        ErrorType::Tls,
        ErrorType::NetworkDown,
        ErrorType::Maintenance,
    ];
    for word in
        outcomes.into_iter().chain(errors.map(ErrorType::as_str)).chain(["gap", "degraded", "certificate"])
    {
        assert!(seen.contains(word), "{word} is not in {seen:?}");
    }
}
