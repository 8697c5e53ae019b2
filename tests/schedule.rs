//! What schedules, the planner and the scheduler promise.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use webmon::schedule::{BATCH, Backlog, Due, Entry, Planner, Schedule, ScheduleError, Schedules};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(expression: &str, timezone: &str) -> Schedule {
    Schedule::new_at(expression, timezone, at("2000-01-01T00:00:00Z")).unwrap()
}

/// The first instants after `after`, as the wall clock of the schedule's zone shows them.
fn wall_times(expression: &str, timezone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(expression, timezone);
    let zone = TimeZone::get(timezone).unwrap();
    let instants = std::iter::successors(schedule.next_after(at(after)), |last| schedule.next_after(*last));
    instants
        .take(count)
        .map(|instant| instant.to_zoned(zone.clone()).strftime("%F %T %z").to_string())
        .collect()
}

// Expressions

#[test]
fn every_form_of_expression_means_what_it_says() {
    let cases = [
        ("*/20 * * * *", ["2027-12-31 23:20:00", "2027-12-31 23:40:00", "2028-01-01 00:00:00"]),
        ("*/20 * * * * *", ["2027-12-31 23:00:20", "2027-12-31 23:00:40", "2027-12-31 23:01:00"]),
        ("0 0 9 29 2 * 2030-2040", ["2032-02-29 09:00:00", "2036-02-29 09:00:00", "2040-02-29 09:00:00"]),
        ("@hourly", ["2028-01-01 00:00:00", "2028-01-01 01:00:00", "2028-01-01 02:00:00"]),
        ("@Daily", ["2028-01-01 00:00:00", "2028-01-02 00:00:00", "2028-01-03 00:00:00"]),
        ("@weekly", ["2028-01-02 00:00:00", "2028-01-09 00:00:00", "2028-01-16 00:00:00"]),
        ("@monthly", ["2028-01-01 00:00:00", "2028-02-01 00:00:00", "2028-03-01 00:00:00"]),
        ("@yearly", ["2028-01-01 00:00:00", "2029-01-01 00:00:00", "2030-01-01 00:00:00"]),
        ("@every 1h30m", ["2028-01-01 00:00:00", "2028-01-01 01:30:00", "2028-01-01 03:00:00"]),
        ("0 0 L * *", ["2028-01-31 00:00:00", "2028-02-29 00:00:00", "2028-03-31 00:00:00"]),
        ("0 0 LW * *", ["2028-01-31 00:00:00", "2028-02-29 00:00:00", "2028-03-31 00:00:00"]),
        ("0 0 15W * *", ["2028-01-14 00:00:00", "2028-02-15 00:00:00", "2028-03-15 00:00:00"]),
        ("0 0 * * FRIL", ["2028-01-28 00:00:00", "2028-02-25 00:00:00", "2028-03-31 00:00:00"]),
        ("0 0 ? * 5#2", ["2028-01-14 00:00:00", "2028-02-11 00:00:00", "2028-03-10 00:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ("0 0 29 2 +TUE", ["2028-02-29 00:00:00", "2056-02-29 00:00:00", "2084-02-29 00:00:00"]),
        ("0 0 31 * *", ["2028-01-31 00:00:00", "2028-03-31 00:00:00", "2028-05-31 00:00:00"]),
        // Either of the two days; both with a `+`.
        ("0 0 3 * MON", ["2028-01-03 00:00:00", "2028-01-10 00:00:00", "2028-01-17 00:00:00"]),
        ("0 0 13 * +FRI", ["2028-10-13 00:00:00", "2029-04-13 00:00:00", "2029-07-13 00:00:00"]),
    ];
    for (expression, expected) in cases {
        let found = wall_times(expression, "UTC", "2027-12-31T23:00:00Z", 3);
        assert_eq!(found, expected.map(|time| format!("{time} +0000")), "{expression}");
    }
}

#[test]
fn a_schedule_ends_with_its_years() {
    let schedule = schedule("0 0 0 1 1 * 2030,2031", "UTC");
    assert_eq!(schedule.next_after(at("2030-01-01T00:00:00Z")), Some(at("2031-01-01T00:00:00Z")));
    assert_eq!(schedule.next_after(at("2031-01-01T00:00:00Z")), None);
}

#[test]
fn an_instant_is_a_whole_second_strictly_after() {
    let every = schedule("@every 7s", "UTC");
    let cron = schedule("*/7 * * * * *", "Europe/Berlin");
    for schedule in [every, cron] {
        for from in ["1969-12-31T23:59:59.9Z", "1970-01-01T00:00:00.5Z", "2026-01-01T00:00:00.000000001Z"] {
            let next = schedule.next_after(at(from)).unwrap();
            assert!(next > at(from) && next.subsec_nanosecond() == 0, "{schedule}: {from} to {next}");
            let before = next - 1.nanosecond();
            assert_eq!(schedule.next_after(before), Some(next), "{schedule}");
        }
        assert_eq!(
            schedule.next_after(at("1969-12-31T23:59:59.9Z")),
            Some(Timestamp::UNIX_EPOCH),
            "{schedule}"
        );
        assert_eq!(schedule.next_after(Timestamp::MAX), None);
        schedule.next_after(Timestamp::MIN);
    }
}

#[test]
fn each_fault_of_an_expression_is_named() {
    let cases = [
        ("61 * * * *", r#"schedule "61 * * * *": minute "61" is not valid: expected 0-59 with * , - /"#),
        (
            "0 0 1-40 * *",
            r#"schedule "0 0 1-40 * *": day of month "1-40" is not valid: expected 1-31 with * , - / L W"#,
        ),
        (
            "0 0 * MON *",
            r#"schedule "0 0 * MON *": month "MON" is not valid: expected 1-12 or JAN-DEC with * , - /"#,
        ),
        (
            "5/10 * * * *",
            r#"schedule "5/10 * * * *": minute "5/10" is not valid: expected 0-59 with * , - /"#,
        ),
        ("*/0 * * * *", r#"schedule "*/0 * * * *": minute "*/0" is not valid: expected 0-59 with * , - /"#),
        (
            "1,,2 * * * *",
            r#"schedule "1,,2 * * * *": minute "1,,2" is not valid: expected 0-59 with * , - /"#,
        ),
        ("0 0 0 * * * 0", r#"schedule "0 0 0 * * * 0": year "0" is not valid: expected 1-5000 with * , - /"#),
        (
            "* * * *",
            "schedule \"* * * *\" has 4 fields: expected 5 (minute hour day month weekday), 6 (second first) or 7 \
             (year last), or one such as \"@hourly\" or \"@every 90s\"",
        ),
        (
            "@reboot",
            "schedule \"@reboot\" is not known: expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, \
             @annually, or @every with a period",
        ),
        (
            "0 0 30 2 *",
            "schedule \"0 0 30 2 *\" never fires after 2026-01-01T00:00:00Z: expected a date that exists and a year to come",
        ),
        (
            "0 0 0 1 1 * 2025",
            "schedule \"0 0 0 1 1 * 2025\" never fires after 2026-01-01T00:00:00Z: expected a date that exists and a \
             year to come",
        ),
    ];
    for (expression, expected) in cases {
        let error = Schedule::new_at(expression, "UTC", at("2026-01-01T00:00:00Z")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for period in [
        "",
        " 0s",
        " 367d",
        " 90",
        " s",
        " 1m1h",
        " 1m1m",
        " 1.5h",
        " 99999999999999999999s",
        " 1h 30m",
        " -1s",
    ] {
        let error = Schedule::new(&format!("@every{period}"), "UTC").unwrap_err();
        assert!(matches!(error, ScheduleError::Period { .. }), "{period:?}: {error}");
    }
    for timezone in ["", "Mars/Olympus", "Etc/Unknown", "CET-1"] {
        let error = Schedule::new("@daily", timezone).unwrap_err();
        assert!(matches!(error, ScheduleError::Timezone { .. }), "{timezone:?}: {error}");
    }
    let longest = format!("{}0 * * * *", "0,".repeat(95));
    assert_eq!(longest.len(), 199);
    assert!(Schedule::new(&longest, "UTC").is_ok());
    assert!(matches!(
        Schedule::new(&format!("0,{longest}"), "UTC"),
        Err(ScheduleError::TooLong { length: 201 })
    ));
}

#[test]
fn schedules_are_equal_by_expression_and_zone_and_shared() {
    let mut schedules = Schedules::default();
    let a = schedules.get("0  9 * * *", "europe/berlin").unwrap();
    assert_eq!(a, Schedule::new(" 0 9 * * * ", "Europe/Berlin").unwrap());
    assert_ne!(a, Schedule::new("0 9 * * *", "UTC").unwrap());
    assert_eq!(a.to_string(), "0 9 * * * in Europe/Berlin");
    assert_eq!((a.expression(), a.timezone()), ("0 9 * * *", "Europe/Berlin"));
    assert!(schedules.get("0 9 * *", "UTC").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[@*/,0-9LW#?+ A-Zévery-]{0,40}") {
        let _ = Schedule::new(&text, "Europe/Berlin").map(|schedule| schedule.next_after(Timestamp::now()));
    }
}

// Changes of the clock

#[test]
fn a_time_of_day_in_a_spring_gap_fires_once_right_after_it() {
    let found = wall_times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
    assert_eq!(
        found,
        ["2026-03-28 02:30:00 +0100", "2026-03-29 03:00:00 +0200", "2026-03-30 02:30:00 +0200"]
    );
    // At the edges of the gap nothing is moved, and nothing is doubled.
    let found = wall_times("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(found, ["2026-03-29 03:00:00 +0200", "2026-03-30 03:00:00 +0200"]);
    let found = wall_times("59 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(found, ["2026-03-29 01:59:00 +0100", "2026-03-30 01:59:00 +0200"]);
    // A gap of half an hour, and one at midnight.
    let found = wall_times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 1);
    assert_eq!(found, ["2026-10-04 02:30:00 +1100"]);
    let found = wall_times("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2);
    assert_eq!(found, ["2018-11-04 01:00:00 -0200", "2018-11-05 00:00:00 -0200"]);
}

#[test]
fn a_rhythm_skips_a_spring_gap() {
    let found = wall_times("*/30 2 * * *", "Europe/Berlin", "2026-03-28T01:15:00Z", 3);
    assert_eq!(
        found,
        ["2026-03-28 02:30:00 +0100", "2026-03-30 02:00:00 +0200", "2026-03-30 02:30:00 +0200"]
    );
    let found = wall_times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
    assert_eq!(found, ["2026-03-29 01:30:00 +0100", "2026-03-29 03:30:00 +0200"]);
}

#[test]
fn a_time_of_day_that_comes_twice_in_autumn_fires_the_first_time_only() {
    let found = wall_times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(found, ["2026-10-25 02:30:00 +0200", "2026-10-26 02:30:00 +0100"]);
    let second_showing = "2026-10-25T01:10:00Z";
    assert_eq!(wall_times("30 2 * * *", "Europe/Berlin", second_showing, 1), ["2026-10-26 02:30:00 +0100"]);
}

#[test]
fn a_rhythm_fires_both_times_in_autumn() {
    let found = wall_times("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5);
    assert_eq!(
        found,
        [
            "2026-10-25 02:00:00 +0200",
            "2026-10-25 02:30:00 +0200",
            "2026-10-25 02:00:00 +0100",
            "2026-10-25 02:30:00 +0100",
            "2026-10-26 02:00:00 +0100",
        ]
    );
    // Also when the year leaves nothing to come after the hour that comes twice.
    let found = wall_times("0 */30 2 25 10 * 2026", "Europe/Berlin", "2026-10-24T12:00:00Z", 9);
    assert_eq!(found.len(), 4);
    assert_eq!(found[3], "2026-10-25 02:30:00 +0100");
}

#[test]
fn a_skipped_day_is_a_gap_like_any_other() {
    // Samoa went from the 29th of December 2011 straight to the 31st.
    let found = wall_times("0 10 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 4);
    assert_eq!(
        found,
        [
            "2011-12-29 10:00:00 -1000",
            "2011-12-31 00:00:00 +1400",
            "2011-12-31 10:00:00 +1400",
            "2012-01-01 10:00:00 +1400",
        ]
    );
    // Two midnights fall together.
    let found = wall_times("0 0 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2);
    assert_eq!(found, ["2011-12-31 00:00:00 +1400", "2012-01-01 00:00:00 +1400"]);
    let found = wall_times("0 */12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2);
    assert_eq!(found, ["2011-12-29 12:00:00 -1000", "2011-12-31 00:00:00 +1400"]);
}

/// Stretches of time with a change of the clock in them: zone, the change, hours before and after.
const CHANGES: [(&str, &str, i64); 16] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z", 4),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", 4),
    ("America/New_York", "2026-03-08T07:00:00Z", 4),
    ("America/New_York", "2026-11-01T06:00:00Z", 4),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 4),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 4),
    ("America/St_Johns", "2026-03-08T05:30:00Z", 4),
    // At 0:01, back to the day before.
    ("America/St_Johns", "2010-11-07T02:31:00Z", 4),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z", 4),
    ("Africa/Casablanca", "2026-03-22T02:00:00Z", 4),
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z", 4),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z", 4),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z", 4),
    ("Pacific/Apia", "2011-12-30T10:00:00Z", 26),
    // The last day of February in a leap year, and the end of a year, without a change.
    ("Europe/Berlin", "2028-02-29T12:00:00Z", 26),
    ("UTC", "2027-12-31T23:30:00Z", 2),
];

/// A second of real time as the wall clock shows it.
struct Tick {
    instant: Timestamp,
    wall: DateTime,
    /// The clock has shown this before.
    again: bool,
    /// The clock has jumped over these seconds just before.
    skipped: Vec<DateTime>,
}

/// The seconds of each of `CHANGES`.
static TIMELINES: LazyLock<Vec<Vec<Tick>>> = LazyLock::new(|| {
    let timeline = |(zone, change, hours): (&str, &str, i64)| {
        let zone = TimeZone::get(zone).unwrap();
        let (start, end) =
            (at(change) - SignedDuration::from_hours(hours), at(change) + SignedDuration::from_hours(hours));
        let mut latest = zone.to_datetime(start);
        let seconds = start.as_second() + 1..=end.as_second();
        let tick = |second| {
            let instant = Timestamp::from_second(second).unwrap();
            let wall = zone.to_datetime(instant);
            let next = |wall: &DateTime| Some(*wall + 1.second());
            let skipped =
                std::iter::successors(next(&latest), next).take_while(|skipped| *skipped < wall).collect();
            let again = wall <= latest;
            latest = latest.max(wall);
            Tick { instant, wall, again, skipped }
        };
        seconds.map(tick).collect()
    };
    CHANGES.into_iter().map(timeline).collect()
});

/// An expression with a plain reading of it.
#[derive(Clone, Debug)]
struct Plain {
    second: (String, Vec<i8>),
    minute: (String, Vec<i8>),
    hour: (String, Vec<i8>),
    day: Day,
    weekday: Weekday,
}

#[derive(Clone, Debug)]
enum Day {
    Any,
    Days(Vec<i8>),
    Last,
}

#[derive(Clone, Debug)]
enum Weekday {
    Any,
    Days(Vec<i8>),
    /// `true`: the day of the month must match too.
    And(Vec<i8>),
    Last(i8),
    Nth(i8, i8),
}

fn list(values: &[i8]) -> String {
    values.iter().map(i8::to_string).collect::<Vec<_>>().join(",")
}

impl Plain {
    fn expression(&self) -> String {
        let day = match &self.day {
            Day::Any => "*".to_owned(),
            Day::Days(days) => list(days),
            Day::Last => "L".to_owned(),
        };
        let weekday = match &self.weekday {
            Weekday::Any => "*".to_owned(),
            Weekday::Days(days) => list(days),
            Weekday::And(days) => format!("+{}", list(days)),
            Weekday::Last(day) => format!("{day}L"),
            Weekday::Nth(day, n) => format!("{day}#{n}"),
        };
        format!("{} {} {} {day} * {weekday}", self.second.0, self.minute.0, self.hour.0)
    }

    fn is_time_of_day(&self) -> bool {
        [&self.second, &self.minute, &self.hour].iter().all(|(text, _)| text.parse::<i8>().is_ok())
    }

    fn matches(&self, wall: DateTime) -> bool {
        self.second.1.contains(&wall.second())
            && self.minute.1.contains(&wall.minute())
            && self.hour.1.contains(&wall.hour())
            && self.matches_date(wall.date())
    }

    fn matches_date(&self, date: Date) -> bool {
        let day = match &self.day {
            Day::Any => None,
            Day::Days(days) => Some(days.contains(&date.day())),
            Day::Last => Some(date.day() == date.days_in_month()),
        };
        let is = |day: i8| date.weekday().to_sunday_zero_offset() == day;
        let (weekday, both) = match &self.weekday {
            Weekday::Any => (None, false),
            Weekday::Days(days) => (Some(days.iter().any(|day| is(*day))), false),
            Weekday::And(days) => (Some(days.iter().any(|day| is(*day))), true),
            Weekday::Last(day) => (Some(is(*day) && date.day() + 7 > date.days_in_month()), false),
            Weekday::Nth(day, n) => (Some(is(*day) && (date.day() - 1) / 7 + 1 == *n), false),
        };
        match (day, weekday) {
            (Some(day), Some(weekday)) if both => day && weekday,
            (Some(day), Some(weekday)) => day || weekday,
            (day, weekday) => day.unwrap_or(true) && weekday.unwrap_or(true),
        }
    }

    /// The slow way to find the instants of a timeline: ask for each second.
    fn instants(&self, timeline: &[Tick]) -> Vec<Timestamp> {
        let fires = |tick: &&Tick| {
            if self.is_time_of_day() {
                (self.matches(tick.wall) && !tick.again)
                    || tick.skipped.iter().any(|wall| self.matches(*wall))
            } else {
                self.matches(tick.wall)
            }
        };
        timeline.iter().filter(fires).map(|tick| tick.instant).collect()
    }
}

/// A field of the time of day: text and values.
fn field(max: i8, around: Vec<i8>) -> impl Strategy<Value = (String, Vec<i8>)> {
    let one = prop_oneof![0..=max, prop::sample::select(around)];
    prop_oneof![
        4 => one.clone().prop_map(|n| (n.to_string(), vec![n])),
        1 => Just(("*".to_owned(), (0..=max).collect())),
        1 => (2..=max).prop_map(move |step| (format!("*/{step}"), (0..=max).step_by(step as usize).collect())),
        1 => (0..max, 1..=max).prop_map(move |(from, length)| {
            let to = from.saturating_add(length).min(max);
            (format!("{from}-{to}"), (from..=to).collect())
        }),
        1 => prop::collection::btree_set(one, 2..5).prop_map(|set| {
            let values: Vec<i8> = set.into_iter().collect();
            (list(&values), values)
        }),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let days = prop::collection::vec(prop_oneof![1..=31i8, 28..=31i8, 1..=8i8], 1..4);
    let weekdays = prop::collection::vec(0..=6i8, 1..3);
    let day = prop_oneof![3 => Just(Day::Any), 2 => days.prop_map(Day::Days), 1 => Just(Day::Last)];
    let weekday = prop_oneof![
        5 => Just(Weekday::Any),
        2 => weekdays.clone().prop_map(Weekday::Days),
        1 => weekdays.prop_map(Weekday::And),
        1 => (0..=6i8).prop_map(Weekday::Last),
        1 => (0..=6i8, 1..=5i8).prop_map(|(day, n)| Weekday::Nth(day, n)),
    ];
    let (second, minute) = (field(59, vec![0, 59]), field(59, vec![0, 1, 15, 30, 59]));
    (second, minute, field(23, vec![0, 1, 2, 3, 23]), day, weekday)
        .prop_map(|(second, minute, hour, day, weekday)| Plain { second, minute, hour, day, weekday })
}

/// A day such as 31 with `+` may never come; such an expression is refused, rightly.
fn parsed(plain: &Plain, timezone: &str) -> Result<Schedule, TestCaseError> {
    let expression = plain.expression();
    Schedule::new_at(&expression, timezone, at("1980-01-01T00:00:00Z"))
        .map_err(|error| TestCaseError::reject(error.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_schedule_has_the_instants_that_asking_for_each_second_finds(
        plain in plain(),
        change in 0..CHANGES.len(),
        probes in prop::collection::vec(0.0..1.0, 20),
    ) {
        let schedule = parsed(&plain, CHANGES[change].0)?;
        let timeline = &TIMELINES[change];
        let expected = plain.instants(timeline);
        let (first, last) = (timeline[0].instant - 1.second(), timeline[timeline.len() - 1].instant);
        let found: Vec<Timestamp> = std::iter::successors(schedule.next_after(first), |last| schedule.next_after(*last))
            .take_while(|instant| *instant <= last)
            .collect();
        prop_assert_eq!(&found, &expected, "{}", schedule);
        // From wherever it is asked, the next instant is the same.
        for probe in probes {
            let from = first + SignedDuration::from_millis((last.duration_since(first).as_millis_f64() * probe) as i64);
            let next = schedule.next_after(from).filter(|next| *next <= last);
            prop_assert_eq!(next, expected.iter().find(|instant| **instant > from).copied(), "{} from {}", schedule, from);
        }
    }

    #[test]
    fn as_many_instants_are_counted_as_asking_for_each_second_finds(
        plain in plain(),
        change in 0..CHANGES.len(),
        probes in prop::collection::vec((0.0..1.0, 0.0..1.0), 20),
    ) {
        let schedule = parsed(&plain, CHANGES[change].0)?;
        let timeline = &TIMELINES[change];
        let expected = plain.instants(timeline);
        let first = timeline[0].instant;
        let length = timeline[timeline.len() - 1].instant.duration_since(first).as_millis_f64();
        let point = |probe: f64| first + SignedDuration::from_millis((length * probe) as i64);
        for (from, to) in probes {
            let (from, to) = (point(from), point(to));
            let within = expected.iter().filter(|instant| (from..to).contains(instant)).count() as u64;
            prop_assert_eq!(schedule.count(from, to), within, "{} from {} to {}", schedule, from, to);
        }
    }

    #[test]
    fn a_period_is_counted_as_it_is_walked(period in 1..5_000i64, from in -100_000..100_000i64, millis in 0..50_000_000i64) {
        let schedule = schedule(&format!("@every {}", webmon::text::show_duration(Duration::from_secs(period.unsigned_abs()))), "UTC");
        let from = Timestamp::from_millisecond(from).unwrap();
        let to = from + SignedDuration::from_millis(millis);
        let walked = std::iter::successors(schedule.next_after(from - 1.nanosecond()), |last| schedule.next_after(*last))
            .take_while(|instant| *instant < to)
            .count() as u64;
        prop_assert_eq!(schedule.count(from, to), walked);
    }

    #[test]
    fn no_two_instants_are_closer_than_the_shortest_interval(
        plain in plain(),
        change in 0..CHANGES.len(),
        far in any::<bool>(),
    ) {
        let timezone = CHANGES[change].0;
        let schedule = Schedule::new_at(&plain.expression(), timezone, at(CHANGES[change].1) - 400.hours())
            .map_err(|error| TestCaseError::reject(error.to_string()))?;
        let shortest = SignedDuration::try_from(schedule.shortest_interval()).unwrap_or(SignedDuration::MAX);
        let mut instant = at(CHANGES[change].1) - if far { 300.hours() } else { 30.minutes() };
        let end = instant + SignedDuration::from_hours(24 * 730);
        let mut previous = None;
        for _ in 0..1_000 {
            let Some(next) = schedule.next_after(instant).filter(|next| *next <= end) else { break };
            if let Some(previous) = previous {
                prop_assert!(next.duration_since(previous) >= shortest, "{}: {} to {}, {}", schedule, previous, next, shortest);
            }
            (instant, previous) = (next, Some(next));
        }
    }
}

#[test]
fn the_shortest_interval_counts_changes_of_the_clock() {
    const HOUR: u64 = 3_600;
    let cases = [
        ("@every 90s", "Europe/Berlin", 90),
        ("* * * * * *", "Europe/Berlin", 1),
        ("*/7 * * * * *", "UTC", 4),
        ("50 59 * * * *", "UTC", HOUR),
        ("0,50 59 23 * * *", "UTC", 50),
        ("0 */7 * * *", "UTC", 3 * HOUR),
        ("0 0 * * *", "UTC", 24 * HOUR),
        ("0 0 * * *", "Europe/Berlin", 23 * HOUR),
        // On the day of the change 2:30 is fired at 3:00.
        ("30 2 * * *", "Europe/Berlin", 23 * HOUR + HOUR / 2),
        // An hour apart once a year.
        ("30 1,3 * * *", "Europe/Berlin", HOUR),
        ("30 2,14 * * *", "Europe/Berlin", HOUR),
        ("30 1,3 * * MON", "Europe/Berlin", 2 * HOUR),
        ("0 0 * * MON", "UTC", 7 * 24 * HOUR),
        ("0 0 1,3 * *", "UTC", 2 * 24 * HOUR),
        ("0 0 29 2 *", "UTC", 1461 * 24 * HOUR),
        ("0 0 1 * *", "Europe/Berlin", 28 * 24 * HOUR),
        ("0 12 1 3,4 *", "Europe/Berlin", 31 * 24 * HOUR - HOUR),
        // One instant of the first day and one of the next, a minute apart.
        ("0 0,59 0,23 1 1 *", "UTC", 59 * 60),
        ("59 23 31 12 *", "UTC", 365 * 24 * HOUR),
        ("0,59 0,23 * * *", "UTC", 60),
    ];
    for (expression, timezone, seconds) in cases {
        let schedule = Schedule::new_at(expression, timezone, at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(schedule.shortest_interval(), Duration::from_secs(seconds), "{schedule}");
    }
    assert_eq!(schedule("0 0 0 1 1 * 2010", "UTC").shortest_interval(), Duration::MAX);
}

#[test]
fn asking_for_each_second_finds_what_is_known_by_heart() {
    // The plain reading the property tests compare with, on a case known by heart.
    let plain = Plain {
        second: ("0".into(), vec![0]),
        minute: ("30".into(), vec![30]),
        hour: ("2".into(), vec![2]),
        day: Day::Any,
        weekday: Weekday::Any,
    };
    assert_eq!(plain.instants(&TIMELINES[0]), [at("2026-03-29T01:00:00Z")]);
    assert_eq!(plain.instants(&TIMELINES[1]), [at("2026-10-25T00:30:00Z")]);
    assert!(plain.matches(DateTime::from_parts(Date::constant(2026, 1, 1), Time::constant(2, 30, 0, 0))));
}

// The planner

fn entry<T>(key: &str, schedule: &Schedule, item: T) -> Entry<T> {
    Entry { key: key.to_owned(), schedule: schedule.clone(), item: Arc::new(item) }
}

fn take_all<T>(planner: &mut Planner<T>, now: Timestamp) -> Vec<Due<T>> {
    let batches = std::iter::from_fn(|| Some(planner.take_due(now)).filter(|due| !due.is_empty()));
    batches.inspect(|due| assert!(due.len() <= BATCH)).flatten().collect()
}

#[test]
fn a_batch_is_bounded_and_a_reload_within_an_instant_loses_and_repeats_nothing() {
    let start = at("2026-01-01T00:00:00Z");
    let second = schedule("* * * * * *", "UTC");
    let other = schedule("@every 2s", "UTC");
    let sites = 2 * BATCH + 100;
    let entries = |kept: &Schedule| (0..sites).map(|i| entry(&i.to_string(), kept, i)).collect::<Vec<_>>();
    let mut planner = Planner::new(entries(&second), start);
    let mut handed_out: HashMap<usize, Vec<Timestamp>> = HashMap::new();
    let mut note = |due: Vec<Due<usize>>| {
        assert!(due.len() <= BATCH && !due.is_empty());
        due.iter().for_each(|due| handed_out.entry(*due.item).or_default().push(due.scheduled_at));
    };
    note(planner.take_due(start + 1.second()));
    planner.replace(entries(&second), start + 1.second());
    note(planner.take_due(start + 1.second()));
    // Half of them get another schedule, while the first instant is still due for some.
    let mixed = (0..sites).map(|i| entry(&i.to_string(), if i % 2 == 0 { &second } else { &other }, i));
    planner.replace(mixed, start + 1.second());
    take_all(&mut planner, start + 3.seconds()).chunks(BATCH).for_each(|due| note(due.to_vec()));
    assert_eq!(planner.next_due(), Some(start + 4.seconds()));
    assert_eq!(handed_out.len(), sites);
    for (site, instants) in handed_out {
        let expected = if site % 2 == 0 { vec![1, 2, 3] } else { vec![1, 2] };
        let expected: Vec<Timestamp> =
            expected.into_iter().map(|second| start + SignedDuration::from_secs(second)).collect();
        assert_eq!(instants, expected, "{site}");
    }
}

#[test]
fn an_ended_schedule_hands_out_its_last_instant_with_nothing_next() {
    let schedule = schedule("0 0 0 1 1 * 2030", "UTC");
    let mut planner = Planner::new([entry("once", &schedule, ())], at("2029-12-31T00:00:00Z"));
    let due = take_all(&mut planner, at("2040-01-01T00:00:00Z"));
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].scheduled_at, due[0].next_at), (at("2030-01-01T00:00:00Z"), None));
    assert_eq!(planner.next_due(), None);
    // Nor does a clock set back, with a reload, bring it again.
    planner.replace([entry("once", &schedule, ())], at("2029-12-31T00:00:00Z"));
    assert!(take_all(&mut planner, at("2040-01-01T00:00:00Z")).is_empty());
}

proptest! {
    #[test]
    fn what_is_skipped_and_what_is_handed_out_are_all_instants_once_and_in_bounds(
        afters in prop::collection::vec(0..40_000i64, 1..6),
        now in 40_000..90_000i64,
        since in 0..90_000i64,
        max in 0..2_000u64,
        which in 0..5usize,
    ) {
        let expression = ["* * * * * *", "@every 7s", "*/5 * * * *", "*/20 * * * * *", "30 2 * * *"][which];
        let schedule = schedule(expression, "Europe/Berlin");
        let start = at("2026-10-24T22:00:00.3Z");
        let after = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let (now, backlog) = (after(now), Backlog { since: after(since), max });
        let mut planner = Planner::new([], start);
        planner.resume(afters.iter().enumerate().map(|(i, a)| (entry(&i.to_string(), &schedule, i), after(*a))));
        let skipped = planner.skip_overdue(now, backlog);
        let due = take_all(&mut planner, now);
        for (i, seconds) in afters.iter().enumerate() {
            let mut next = schedule.next_after(after(*seconds)).unwrap();
            for skipped in skipped.iter().filter(|skipped| *skipped.item == i) {
                prop_assert_eq!(skipped.from, next);
                next = skipped.to.unwrap();
                prop_assert_eq!(skipped.instants, schedule.count(skipped.from, next));
                prop_assert!(skipped.instants > 0);
            }
            let given: Vec<_> = due.iter().filter(|due| *due.item == i).collect();
            prop_assert!(given.len() as u64 <= max && given.iter().all(|due| due.scheduled_at >= backlog.since));
            for due in given {
                prop_assert_eq!(due.scheduled_at, next);
                next = due.next_at.unwrap();
            }
            prop_assert_eq!(Some(next), schedule.next_after(now).max(schedule.next_after(after(*seconds))));
        }
        // As much as may be kept is, but for the halving.
        if max > 0 && expression == "* * * * * *" && since < 39_000 {
            prop_assert!(due.len() as u64 >= (max / 2).min(100));
        }
    }
}

#[test]
fn hours_of_a_stopped_clock_cost_a_step_a_schedule_and_not_one_an_instant() {
    let second = schedule("* * * * * *", "UTC");
    let start = at("2026-03-01T00:00:00Z");
    let mut planner = Planner::new((0..20_000).map(|i| entry(&i.to_string(), &second, i)), start);
    let began = std::time::Instant::now();
    let now = start + 8.hours();
    let skipped = planner.skip_overdue(now, Backlog { since: now - 1.hour(), max: 4 });
    assert_eq!(skipped.len(), 20_000);
    let due = take_all(&mut planner, now);
    // 576,000,000 instants; each of them for itself would take minutes.
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(due.len() <= 80_000 && due.len() >= 40_000, "{}", due.len());
    let all = skipped.iter().map(|skipped| skipped.instants).sum::<u64>() + due.len() as u64;
    assert_eq!(all, 20_000 * 8 * 3_600);
}

#[derive(Clone, Debug)]
enum Step {
    /// The clock moves by so many seconds.
    Clock(i64),
    Plan,
    Take,
    TakeAll,
    /// The entries become these: key and schedule.
    Reload(Vec<(usize, usize)>),
}

fn step() -> impl Strategy<Value = Step> {
    let entries = prop::collection::btree_map(0..6usize, 0..5usize, 0..6);
    prop_oneof![
        4 => (0..15i64).prop_map(Step::Clock),
        1 => (-60..3_000i64).prop_map(Step::Clock),
        3 => Just(Step::Plan),
        3 => Just(Step::TakeAll),
        1 => Just(Step::Take),
        1 => entries.prop_map(|entries| Step::Reload(entries.into_iter().collect())),
    ]
}

/// What one key was to be given under one schedule.
struct Period {
    key: usize,
    schedule: Schedule,
    start: Timestamp,
    /// None: still there.
    end: Option<Timestamp>,
    given: Vec<Due<usize>>,
}

proptest! {
    #[test]
    fn every_instant_is_handed_out_once_whatever_the_clock_does(steps in prop::collection::vec(step(), 1..60)) {
        let schedules = ["* * * * * *", "@every 7s", "*/5 * * * *", "*/20 * * * * *", "30 2 * * *"]
            .map(|expression| schedule(expression, "Europe/Berlin"));
        let mut now = at("2026-10-25T00:20:00.3Z");
        let mut planner: Planner<usize> = Planner::new([], now);
        let mut periods: Vec<Period> = Vec::new();
        let end = [Step::Clock(5_000), Step::TakeAll];
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Clock(seconds) => now += SignedDuration::from_secs(seconds),
                Step::Plan => planner.plan(now),
                Step::Take | Step::TakeAll => {
                    let due = if matches!(step, Step::Take) { planner.take_due(now) } else { take_all(&mut planner, now) };
                    for due in due {
                        let period: &mut Period = &mut periods[*due.item];
                        prop_assert!(due.scheduled_at <= period.end.unwrap_or(now).min(now), "{} too many", period.schedule);
                        period.given.push(due);
                    }
                }
                Step::Reload(entries) => {
                    for period in periods.iter_mut().filter(|period| period.end.is_none()) {
                        let stays = |(key, schedule): &(usize, usize)| {
                            *key == period.key && schedules[*schedule] == period.schedule
                        };
                        if !entries.iter().any(stays) {
                            period.end = Some(now);
                        }
                    }
                    let entries: Vec<Entry<usize>> = entries
                        .into_iter()
                        .map(|(key, schedule)| {
                            let schedule = &schedules[schedule];
                            let stays = |period: &Period| period.key == key && period.end.is_none();
                            let period = periods.iter().position(stays).unwrap_or_else(|| {
                                let (schedule, given) = (schedule.clone(), Vec::new());
                                periods.push(Period { key, schedule, start: now, end: None, given });
                                periods.len() - 1
                            });
                            entry(&key.to_string(), schedule, period)
                        })
                        .collect();
                    planner.replace(entries, now);
                }
            }
        }
        let last = now;
        for period in periods {
            // A chain from the start to the end, link by link.
            let mut next = period.schedule.next_after(period.start);
            for due in &period.given {
                prop_assert_eq!(Some(due.scheduled_at), next, "{}", period.schedule);
                next = period.schedule.next_after(due.scheduled_at);
                prop_assert_eq!(due.next_at, next);
            }
            prop_assert!(next.is_none_or(|next| next > period.end.unwrap_or(last)), "{} lost {:?}", period.schedule, next);
        }
    }

    #[test]
    fn what_is_due_comes_in_order_of_time(jump in 1..100_000i64) {
        let start = at("2026-03-28T20:00:00Z");
        let expressions = ["*/10 * * * * *", "@every 7s", "*/5 * * * *", "30 2 * * *"];
        let entries = expressions.map(|expression| entry(expression, &schedule(expression, "Europe/Berlin"), ()));
        let mut planner = Planner::new(entries, start);
        let due = take_all(&mut planner, start + SignedDuration::from_secs(jump));
        prop_assert!(due.is_sorted_by_key(|due| due.scheduled_at));
    }
}

// The scheduler

#[cfg(feature = "check")]
mod scheduler {
    use std::collections::HashSet;
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;
    use webmon::schedule::Scheduler;

    #[test]
    fn every_entry_fires_every_second_once_and_never_after_a_stop() {
        let second = schedule("* * * * * *", "Europe/Berlin");
        let sites = 5_000;
        let (sender, fired) = mpsc::channel();
        let start = Timestamp::now();
        let scheduler =
            Scheduler::start((0..sites).map(|i| entry(&i.to_string(), &second, i)), start, move |due| {
                sender.send((Timestamp::now(), due)).unwrap_or(());
            })
            .unwrap();
        assert!(scheduler.is_running());
        let mut instants: HashMap<Timestamp, HashSet<usize>> = HashMap::new();
        let mut count = 0;
        while count < 3 * sites {
            let (fired_at, due) = fired.recv_timeout(Duration::from_secs(10)).unwrap();
            for due in due {
                assert!(due.scheduled_at > start && due.scheduled_at <= fired_at, "fired early");
                assert_eq!(due.scheduled_at.subsec_nanosecond(), 0);
                assert_eq!(due.next_at, Some(due.scheduled_at + 1.second()));
                assert!(instants.entry(due.scheduled_at).or_default().insert(*due.item), "doubled");
                count += 1;
            }
        }
        let mut seconds: Vec<Timestamp> = instants.keys().copied().collect();
        seconds.sort();
        assert!(seconds.windows(2).all(|pair| pair[1] == pair[0] + 1.second()), "{seconds:?}");
        assert!(seconds[..3].iter().all(|second| instants[second].len() == sites), "missed");
        scheduler.stop();
        assert!(!scheduler.is_running());
        // What was sent before is still there; then the closure is gone.
        while fired.try_recv().is_ok() {}
        assert_eq!(fired.recv_timeout(Duration::ZERO).unwrap_err(), RecvTimeoutError::Disconnected);
        scheduler.stop();
    }

    #[test]
    fn what_is_overdue_at_the_start_and_what_a_reload_adds_is_fired() {
        let (sender, fired) = mpsc::channel();
        let every = schedule("@every 1h", "UTC");
        let start = Timestamp::now() - 10.hours();
        let scheduler = Scheduler::start([entry("old", &every, "old")], start, move |due| {
            due.into_iter().for_each(|due| sender.send(due).unwrap_or(()));
        })
        .unwrap();
        let overdue: Vec<_> = (0..10).map(|_| fired.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        assert!(overdue.iter().all(|due| *due.item == "old" && due.scheduled_at > start));
        assert!(overdue.windows(2).all(|pair| pair[0].next_at == Some(pair[1].scheduled_at)));
        let second = schedule("@every 1s", "UTC");
        let replaced_at = scheduler.replace([entry("new", &second, "new")]);
        let due = fired.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!((*due.item, Some(due.scheduled_at)), ("new", second.next_after(replaced_at)));
    }

    #[test]
    fn a_stop_from_within_makes_that_call_the_last() {
        let second = schedule("* * * * * *", "UTC");
        let (sender, fired) = mpsc::channel();
        let (give, take) = mpsc::channel::<Arc<Scheduler<()>>>();
        let scheduler =
            Scheduler::start([entry("shop", &second, ())], Timestamp::now() - 5.seconds(), move |due| {
                sender.send(due.len()).unwrap_or(());
                let scheduler = take.recv().unwrap();
                scheduler.stop();
            });
        let scheduler = Arc::new(scheduler.unwrap());
        give.send(Arc::clone(&scheduler)).unwrap();
        assert!(fired.recv_timeout(Duration::from_secs(10)).is_ok());
        scheduler.stop();
        assert_eq!(fired.recv_timeout(Duration::ZERO).unwrap_err(), RecvTimeoutError::Disconnected);
    }
}
