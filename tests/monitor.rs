//! The account's rules one by one, and the monitor in real time against sites on loopback.
#![cfg(feature = "check")]

#[path = "support/sites.rs"]
mod sites;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, ToSpan};
use sites::{ClosedPort, Server, response};
use webmon::check::{PoolOptions, Resolve, ResolveError, Settings};
use webmon::monitor::{
    Account, Limits, MemoryWatermarks, Monitor, MonitorOptions, RecordSinkFn, Step, Watermark, Watermarks,
    threads_at_worst,
};
use webmon::outbox::{Outbox, Sequence};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, Outcome, Record};
use webmon::schedule::Schedule;
use webmon::site::{Maintenance, Origin, Sentinel, Site};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(expression: &str) -> Schedule {
    Schedule::new_at(expression, "UTC", at("2020-01-01T00:00:00Z")).unwrap()
}

fn site(key: &str, expression: &str) -> Arc<Site> {
    Arc::new(Site::new(key, "http://127.0.0.1:1/".parse().unwrap(), schedule(expression)))
}

fn limits() -> Limits {
    Limits {
        max_lateness: Duration::from_secs(5),
        backfill: Duration::from_secs(3_600),
        max_backlog: 1_000_000,
    }
}

fn account(now: Timestamp) -> Account {
    Account::new(Origin::new("here", "checker"), limits(), now)
}

/// An account of these sites since `now`, with everything settled.
fn running(sites: &[Arc<Site>], now: Timestamp) -> Account {
    let mut account = account(now);
    let (steps, _) = account.reload(sites.to_vec(), now);
    settle_all(&mut account, &steps);
    account
}

fn take_all(account: &mut Account, now: Timestamp) -> Vec<Step> {
    let mut all = Vec::new();
    loop {
        let steps = account.take_due(now);
        if steps.is_empty() {
            return all;
        }
        all.extend(steps);
    }
}

/// Settles checks too, as if each had ended.
fn settle_all(account: &mut Account, steps: &[Step]) -> BTreeMap<String, Watermark> {
    let mut marks = BTreeMap::new();
    for step in steps {
        let mark = match (step, step.settles()) {
            (Step::Check(due), _) => account.settle(&due.item.key, due.scheduled_at),
            (_, Some((site, at))) => account.settle(site, at),
            _ => None,
        };
        marks.extend(mark.map(|mark| (mark.site.clone(), mark)));
    }
    marks
}

/// A step in a word: what becomes of which instant, by its time of day.
fn brief(step: &Step) -> String {
    let time = |at: Timestamp| at.strftime("%T").to_string();
    match step {
        Step::Check(due) => format!("check {} {}", due.item.key, time(due.scheduled_at)),
        Step::Record(Record::Result(result)) => {
            format!("{} {} {}", result.error_type.unwrap(), result.site, time(result.scheduled_at))
        }
        Step::Record(Record::Gap(gap)) => {
            let Gap { from, to, instants, reason } = &gap.gap;
            format!("{reason} {} [{}, {}) {instants}", gap.site, time(*from), to.map_or("-".to_owned(), time))
        }
        Step::Begin { site, .. } => format!("begin {site}"),
        Step::Retire { site } => format!("retire {site}"),
    }
}

fn briefs(steps: &[Step]) -> Vec<String> {
    steps.iter().map(brief).collect()
}

// ---- Late instants.

#[test]
fn of_instants_overdue_together_only_the_newest_is_checked_unless_it_is_too_late() {
    let start = at("2026-03-01T12:00:00.5Z");
    let sites = [site("fast", "* * * * * *"), site("slow", "*/10 * * * * *")];
    let mut account = running(&sites, start);
    let steps = take_all(&mut account, at("2026-03-01T12:00:14.2Z"));
    let mut expected: Vec<String> = (1..=13).map(|second| format!("late fast 12:00:{second:02}")).collect();
    expected.extend(["check fast 12:00:14".to_owned(), "check slow 12:00:10".to_owned()]);
    let mut found = briefs(&steps);
    found.sort_by_key(|text| (text.starts_with("check"), text.clone()));
    assert_eq!(found, expected);
    // The newest of the slow one is its only one, and 5.1 s late.
    assert_eq!(briefs(&take_all(&mut account, at("2026-03-01T12:00:15.1Z"))), ["check fast 12:00:15"]);
    let steps = take_all(&mut account, at("2026-03-01T12:00:25.1Z"));
    assert!(briefs(&steps).contains(&"late slow 12:00:20".to_owned()), "{:?}", briefs(&steps));
}

#[test]
fn lateness_counts_from_the_start_that_a_spread_delays() {
    let mut one = Site::new("shop", "http://127.0.0.1:1/".parse().unwrap(), schedule("*/30 * * * * *"));
    one.spread = Duration::from_secs(20);
    let offset = SignedDuration::try_from(one.start_offset()).unwrap();
    assert!(offset > SignedDuration::from_secs(6), "a key with a larger offset is needed: {offset}");
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&[Arc::new(one)], start);
    let due = at("2026-03-01T12:00:30Z");
    assert!(take_all(&mut account, due).is_empty());
    assert_eq!(account.next_due(), Some(due + offset));
    assert!(take_all(&mut account, due + offset - 1.nanosecond()).is_empty());
    assert_eq!(briefs(&take_all(&mut account, due + offset)), ["check shop 12:00:30"]);
    let due = due + 30.seconds();
    assert_eq!(briefs(&take_all(&mut account, due + offset + 4.seconds())), ["check shop 12:01:00"]);
    let due = due + 30.seconds();
    assert_eq!(briefs(&take_all(&mut account, due + offset + 6.seconds())), ["late shop 12:01:30"]);
    // What is still held back when the checker stops is handed over.
    assert!(take_all(&mut account, due + 30.seconds()).is_empty());
    assert_eq!(briefs(&account.take_delayed()), ["check shop 12:02:00"]);
}

#[test]
fn a_spread_is_the_same_always_and_fills_its_time_evenly() {
    let mut tenths = [0; 10];
    for i in 0..10_000 {
        let mut site =
            Site::new(&format!("site-{i}"), "http://127.0.0.1:1/".parse().unwrap(), schedule("@hourly"));
        assert_eq!(site.start_offset(), Duration::ZERO);
        site.spread = Duration::from_secs(10);
        let offset = site.start_offset();
        assert_eq!(offset, site.clone().start_offset());
        assert!(offset < site.spread);
        tenths[offset.as_secs() as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
}

#[test]
fn hours_of_20_000_each_second_sites_cost_a_bounded_number_of_records() {
    let sites: Vec<_> = (0..20_000).map(|i| site(&format!("site-{i}"), "* * * * * *")).collect();
    let start = at("2026-03-01T00:00:00Z");
    let mut account = running(&sites, start);
    let now = at("2026-03-01T08:00:00.5Z");
    let (mut rows, mut in_gaps, mut checks, mut largest) = (0, 0, 0, 0);
    loop {
        let steps = account.take_due(now);
        if steps.is_empty() {
            break;
        }
        largest = largest.max(steps.len());
        for step in &steps {
            match step {
                Step::Check(_) => checks += 1,
                Step::Record(Record::Result(_)) => rows += 1,
                Step::Record(Record::Gap(gap)) => in_gaps += gap.gap.instants,
                other => panic!("{other:?}"),
            }
        }
        settle_all(&mut account, &steps);
    }
    assert_eq!(checks, 20_000);
    assert_eq!(rows + in_gaps + checks, 20_000 * 8 * 3_600);
    assert!((400_000..=1_000_000).contains(&rows), "{rows}");
    assert!(largest <= 30_000, "{largest} steps at once");
}

// ---- Maintenance.

#[test]
fn no_request_is_made_of_a_site_under_maintenance() {
    let under = |key: &str, windows: &[Maintenance]| {
        let mut site = Site::new(key, "http://127.0.0.1:1/".parse().unwrap(), schedule("0,30 * * * *"));
        site.maintenance = windows.into();
        Arc::new(site)
    };
    let at_two = Maintenance::new(schedule("0 2 * * *"), Duration::from_secs(3_600));
    let at_half_past_three = Maintenance::new(schedule("30 3 * * *"), Duration::from_secs(60));
    let sites = [
        under("one", std::slice::from_ref(&at_two)),
        under("two", &[at_half_past_three, at_two]),
        under("none", &[]),
    ];
    let mut account = account(at("2026-03-01T01:45:00Z"));
    account.reload(sites.clone(), at("2026-03-01T01:45:00Z"));
    let mut all = Vec::new();
    for now in ["02:00:00", "02:30:00", "03:00:00", "03:30:00"] {
        all.extend(briefs(&take_all(&mut account, at(&format!("2026-03-01T{now}Z")))));
    }
    all.sort();
    let expected = [
        "check none 02:00:00",
        "check none 02:30:00",
        "check none 03:00:00",
        "check none 03:30:00",
        "check one 03:00:00",
        "check one 03:30:00",
        "check two 03:00:00",
        "maintenance one 02:00:00",
        "maintenance one 02:30:00",
        "maintenance two 02:00:00",
        "maintenance two 02:30:00",
        "maintenance two 03:30:00",
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_came_while_the_checker_was_down_in_a_window_is_maintenance_too() {
    let mut shop = Site::clone(&site("shop", "*/10 * * * *"));
    shop.maintenance = [Maintenance::new(schedule("0 2 * * *"), Duration::from_secs(600))].into();
    let marks = [Watermark::new("shop", at("2026-03-01T01:40:00Z"), &schedule("*/10 * * * *"))];
    let mut account = account(at("2026-03-01T02:25:00Z"));
    assert!(account.resume(marks, &[Arc::new(shop)]).is_empty());
    assert_eq!(
        briefs(&take_all(&mut account, at("2026-03-01T02:25:00Z"))),
        [
            "checker_down shop 01:50:00",
            "maintenance shop 02:00:00",
            "checker_down shop 02:10:00",
            "checker_down shop 02:20:00"
        ]
    );
}

// ---- Reloads.

#[test]
fn a_changed_schedule_takes_back_the_one_instant_that_was_announced() {
    let start = at("2026-03-01T12:00:00.5Z");
    let cases: [(&str, Option<&str>, &[&str]); 7] = [
        // Before: instants at 12:01, 12:02 …; the reload comes at 12:01:20, and 12:02:00 is announced.
        ("0 * * * * *", Some("30 3 12 * * *"), &["rescheduled shop [12:02:00, 12:03:30) 1"]),
        // The links meet.
        ("0 * * * * *", Some("0 */2 * * * *"), &[]),
        // The new one begins earlier: nothing joins the two.
        ("0 * * * * *", Some("*/30 * * * * *"), &["rescheduled shop [12:02:00, -) 1"]),
        ("0 * * * * *", None, &["rescheduled shop [12:02:00, -) 1"]),
        // Nothing was announced: the old one's years are over.
        ("0 1 12 1 3 * 2026", Some("@hourly"), &[]),
        ("0 1 12 1 3 * 2026", None, &[]),
        // The new one has no instant at all.
        ("0 * * * * *", Some("0 1 12 1 3 * 2026"), &["rescheduled shop [12:02:00, -) 1"]),
    ];
    for (before, after, expected) in cases {
        let mut account = running(&[site("shop", before)], start);
        let due = take_all(&mut account, at("2026-03-01T12:01:00Z"));
        assert_eq!(due.len(), 1, "{before}");
        settle_all(&mut account, &due);
        let sites = after.map(|expression| site("shop", expression));
        let (steps, changes) = account.reload(sites, at("2026-03-01T12:01:20Z"));
        let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        expected.push(if after.is_some() { "begin shop".to_owned() } else { "retire shop".to_owned() });
        assert_eq!(briefs(&steps), expected, "{before} to {after:?}");
        assert_eq!((changes.rescheduled, changes.retired), if after.is_some() { (1, 0) } else { (0, 1) });
        // The mark moves to the new schedule with the reload, and no earlier than it is settled.
        let marks = settle_all(&mut account, &steps);
        let mark = after.map(|after| Watermark::new("shop", at("2026-03-01T12:01:20Z"), &schedule(after)));
        assert_eq!(marks.get("shop"), mark.as_ref());
    }
}

#[test]
fn a_reload_leaves_unchanged_sites_where_they_are_and_checks_them_with_their_new_settings() {
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&[site("shop", "*/10 * * * * *")], start);
    let mut changed = Site::clone(&site("shop", "*/10 * * * * *"));
    changed.timeout = Duration::from_secs(3);
    for second in [10, 20, 30] {
        changed.timeout += Duration::from_secs(1);
        let now = start + SignedDuration::from_secs(second - 1);
        let (steps, changes) = account.reload([Arc::new(changed.clone())], now);
        assert!(steps.is_empty());
        assert_eq!((changes.kept, changes.added, changes.rescheduled, changes.retired), (1, 0, 0, 0));
        let steps = take_all(&mut account, now + 1.second());
        let [Step::Check(due)] = &steps[..] else { panic!("{steps:?}") };
        let scheduled_at = at("2026-03-01T12:00:00Z") + SignedDuration::from_secs(second);
        assert_eq!((due.item.timeout, due.scheduled_at), (changed.timeout, scheduled_at));
    }
}

/// A site with a spread that holds its checks back for some seconds.
fn held_back(key: &str, url: &str) -> Site {
    let mut site = Site::new(key, url.parse().unwrap(), schedule("*/30 * * * * *"));
    site.spread = Duration::from_secs(20);
    assert!(site.start_offset() > Duration::from_secs(2), "a key with a larger offset is needed");
    site
}

#[test]
fn a_reload_reaches_the_checks_that_wait_for_their_spread() {
    let keys = ["stays", "moves", "narrows", "goes", "changes"];
    let sites: Vec<_> = keys.iter().map(|key| Arc::new(held_back(key, "http://127.0.0.1:1/old"))).collect();
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&sites, start);
    let due = at("2026-03-01T12:00:30Z");
    assert!(take_all(&mut account, due).is_empty());

    let moved = "http://127.0.0.1:2/new";
    let (mut narrowed, mut changed) = (held_back("narrows", moved), held_back("changes", moved));
    narrowed.spread = Duration::ZERO;
    changed.schedule = schedule("0 0 * * * *");
    let after = [Site::clone(&sites[0]), held_back("moves", moved), narrowed, changed].map(Arc::new);
    let (steps, changes) = account.reload(after, due + 1.second());
    assert_eq!((changes.kept, changes.rescheduled, changes.retired), (3, 1, 1));
    let mut recorded = briefs(&steps);
    recorded.sort();
    let expected = [
        "begin changes",
        "cancelled changes 12:00:30",
        "cancelled goes 12:00:30",
        "rescheduled changes [12:01:00, 13:00:00) 1",
        "rescheduled goes [12:01:00, -) 1",
        "retire goes",
    ];
    assert_eq!(recorded, expected);

    // Each starts when it was to start, at the address that it has now; who is gone is not asked.
    let mut asked = Vec::new();
    while let Some(next) = account.next_due().filter(|next| *next < due + 20.seconds()) {
        for step in take_all(&mut account, next) {
            let Step::Check(check) = step else { panic!("{step:?}") };
            let before = sites.iter().find(|site| site.key == check.item.key).unwrap();
            assert_eq!(next, due + SignedDuration::try_from(before.start_offset()).unwrap());
            assert_eq!(check.scheduled_at, due);
            asked.push((check.item.key.clone(), check.item.url.path().to_owned()));
        }
    }
    asked.sort();
    let expected = [("moves", "/new"), ("narrows", "/new"), ("stays", "/old")];
    assert_eq!(asked, expected.map(|(key, path)| (key.to_owned(), path.to_owned())));
    assert!(account.take_delayed().is_empty());
}

#[test]
fn what_is_under_way_when_its_schedule_changes_is_recorded_before_the_mark_moves_on() {
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&[site("shop", "*/10 * * * * *")], start);
    let checks = take_all(&mut account, at("2026-03-01T12:00:10Z"));
    assert_eq!(briefs(&checks), ["check shop 12:00:10"]);
    let (steps, _) = account.reload([site("shop", "@hourly")], at("2026-03-01T12:00:11Z"));
    assert_eq!(
        briefs(&steps),
        ["cancelled shop 12:00:10", "rescheduled shop [12:00:20, 13:00:00) 1", "begin shop"]
    );
    let marks = settle_all(&mut account, &steps);
    assert_eq!(marks["shop"], Watermark::new("shop", at("2026-03-01T12:00:11Z"), &schedule("@hourly")));
    // The check ends all the same, and moves nothing.
    assert_eq!(account.settle("shop", at("2026-03-01T12:00:10Z")), None);
}

// ---- Watermarks and restarts.

#[test]
fn a_watermark_never_passes_an_instant_that_is_not_recorded() {
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&[site("shop", "*/10 * * * * *")], start);
    for second in [10, 20, 30] {
        take_all(&mut account, start + SignedDuration::from_secs(second));
    }
    let instant = |second: i64| at("2026-03-01T12:00:00Z") + SignedDuration::from_secs(second);
    // The check of 12:00:10 is slow; those after it overlap.
    assert_eq!(account.settle("shop", instant(20)).map(|mark| mark.until), Some(instant(9)));
    assert_eq!(account.settle("shop", instant(30)), None);
    assert_eq!(account.settle("shop", instant(10)).map(|mark| mark.until), Some(instant(30)));
    assert_eq!(account.settle("shop", instant(10)), None);
    assert_eq!(account.settle("no such site", instant(10)), None);
    // Nor does it move to a new schedule before what ends the old one is recorded.
    let (steps, _) = account.reload([site("shop", "* * * * * *")], instant(35));
    assert_eq!(briefs(&take_all(&mut account, instant(36))), ["check shop 12:00:36"]);
    assert_eq!(account.settle("shop", instant(36)), None);
    assert_eq!(settle_all(&mut account, &steps)["shop"].until, instant(36));
}

/// An account resumed at `now` with one mark of the site "shop": what it hands out, and what the reload adds.
fn restarted(
    now: &str,
    until: &str,
    before: &str,
    sites: &[Arc<Site>],
    limits: Limits,
) -> (Vec<String>, Vec<String>) {
    let now = at(now);
    let mut account = Account::new(Origin::new("here", "checker"), limits, now);
    let mut steps = account.resume([Watermark::new("shop", at(until), &schedule(before))], sites);
    steps.extend(take_all(&mut account, now));
    settle_all(&mut account, &steps);
    let (reloaded, _) = account.reload(sites.to_vec(), now);
    (briefs(&steps), briefs(&reloaded))
}

#[test]
fn a_restart_records_what_came_while_the_checker_was_down() {
    let sites = [site("shop", "*/20 * * * *"), site("new", "* * * * *")];
    let (due, reloaded) =
        restarted("2026-03-01T12:50:00Z", "2026-03-01T11:40:00Z", "*/20 * * * *", &sites, limits());
    let expected = ["checker_down shop 12:00:00", "checker_down shop 12:20:00", "checker_down shop 12:40:00"];
    assert_eq!(due, expected);
    assert_eq!(reloaded, ["begin new"]);
    // The newest is checked if it is not too late: a quick restart loses nothing.
    let (due, _) =
        restarted("2026-03-01T12:40:03Z", "2026-03-01T12:00:00Z", "*/20 * * * *", &sites, limits());
    assert_eq!(due, ["checker_down shop 12:20:00", "check shop 12:40:00"]);
}

#[test]
fn what_is_longer_ago_than_the_backfill_is_one_gap() {
    let sites = [site("shop", "*/20 * * * *")];
    let (due, _) =
        restarted("2026-03-01T12:50:00Z", "2026-02-27T11:40:00Z", "*/20 * * * *", &sites, limits());
    let expected = [
        "checker_down shop [12:00:00, 12:00:00) 144",
        "checker_down shop 12:00:00",
        "checker_down shop 12:20:00",
        "checker_down shop 12:40:00",
    ];
    assert_eq!(due, expected);
    // Nothing is backfilled: the gap reaches to what is announced.
    let none = Limits { backfill: Duration::ZERO, ..limits() };
    let (due, _) = restarted("2026-03-01T12:50:00Z", "2026-02-27T11:40:00Z", "*/20 * * * *", &sites, none);
    assert_eq!(due, ["checker_down shop [12:00:00, 13:00:00) 147"]);
    // A share of the backlog.
    let few = Limits { max_backlog: 2, ..limits() };
    let (due, _) = restarted("2026-03-01T12:50:00Z", "2026-03-01T11:40:00Z", "*/20 * * * *", &sites, few);
    let expected = ["checker_down shop [12:00:00, 12:40:00) 2", "checker_down shop 12:40:00"];
    assert_eq!(due, expected);
}

#[test]
fn a_schedule_changed_while_the_checker_was_down_counts_from_the_restart_on() {
    let sites = [site("shop", "30 * * * *")];
    let (due, reloaded) =
        restarted("2026-03-01T12:50:00Z", "2026-03-01T12:00:00Z", "*/20 * * * *", &sites, limits());
    assert_eq!(due, ["checker_down shop 12:20:00", "checker_down shop 12:40:00"]);
    assert_eq!(reloaded, ["rescheduled shop [13:00:00, 13:30:00) 1", "begin shop"]);
}

#[test]
fn a_site_removed_while_the_checker_was_down_ends_its_chain() {
    let (due, reloaded) =
        restarted("2026-03-01T12:50:00Z", "2026-03-01T12:00:00Z", "*/20 * * * *", &[], limits());
    let expected =
        ["checker_down shop [12:20:00, 13:00:00) 2", "rescheduled shop [13:00:00, -) 1", "retire shop"];
    assert_eq!(due, expected);
    assert!(reloaded.is_empty());
    // Nothing came meanwhile.
    let (due, _) = restarted("2026-03-01T12:10:00Z", "2026-03-01T12:00:00Z", "*/20 * * * *", &[], limits());
    assert_eq!(due, ["rescheduled shop [12:20:00, -) 1", "retire shop"]);
}

#[test]
fn a_watermark_that_cannot_be_followed_up_makes_the_site_a_new_one() {
    let sites = [site("shop", "@hourly")];
    for (expression, timezone) in
        [("0 0 0 1 1 * 2021", "UTC"), ("no schedule", "UTC"), ("@hourly", "Europe/Utopia")]
    {
        let now = at("2026-03-01T12:50:00Z");
        let mark = Watermark {
            site: "shop".to_owned(),
            until: at("2026-03-01T11:00:00Z"),
            expression: expression.to_owned(),
            timezone: timezone.to_owned(),
        };
        let mut account = account(now);
        assert_eq!(briefs(&account.resume([mark], &sites)), ["retire shop"]);
        assert!(take_all(&mut account, now).is_empty());
        assert_eq!(briefs(&account.reload(sites.clone(), now).0), ["begin shop"]);
    }
}

// ---- The clock.

#[test]
fn a_clock_set_back_a_little_repeats_nothing_and_one_set_back_by_much_begins_anew() {
    let start = at("2026-03-01T12:00:00.5Z");
    let mut account = running(&[site("shop", "*/10 * * * * *")], start);
    let steps = take_all(&mut account, at("2026-03-01T12:00:50Z"));
    settle_all(&mut account, &steps);
    assert!(take_all(&mut account, at("2026-03-01T12:00:05Z")).is_empty());
    assert_eq!(account.next_due(), Some(at("2026-03-01T12:01:00Z")));
    // The clock was a day ahead: without beginning anew nothing would be checked for a day.
    let ahead = take_all(&mut account, at("2026-03-02T12:00:51Z"));
    let marks = settle_all(&mut account, &ahead);
    assert_eq!(marks["shop"].until, at("2026-03-02T12:00:50Z"));
    let steps = take_all(&mut account, at("2026-03-01T12:01:01Z"));
    assert_eq!(briefs(&steps), ["retire shop", "begin shop"]);
    let marks = settle_all(&mut account, &steps);
    assert_eq!(marks["shop"].until, at("2026-03-01T12:01:01Z"));
    assert_eq!(briefs(&take_all(&mut account, at("2026-03-01T12:01:10Z"))), ["check shop 12:01:10"]);
    // So does a mark that is ahead, at a restart.
    let sites = [site("shop", "*/10 * * * * *")];
    let (due, reloaded) =
        restarted("2026-03-01T12:50:02Z", "2026-03-02T11:40:00Z", "*/10 * * * * *", &sites, limits());
    assert_eq!((due.len(), reloaded.len()), (0, 0));
}

// ---- The monitor.

/// What arrived, in order.
#[derive(Clone, Default)]
struct Arrived(Arc<(Mutex<Vec<Record>>, Condvar)>);

impl Arrived {
    fn sink(&self) -> Arc<RecordSinkFn<impl Fn(Record) + Send + Sync + use<>>> {
        let own = self.clone();
        Arc::new(RecordSinkFn(move |record: Record| {
            record.validate().unwrap();
            own.0.0.lock().unwrap().push(record);
            own.0.1.notify_all();
        }))
    }

    fn results(&self) -> Vec<CheckResult> {
        let records = self.0.0.lock().unwrap();
        let result = |record: &Record| match record {
            Record::Result(result) => Some(CheckResult::clone(result)),
            Record::Gap(_) => None,
        };
        records.iter().filter_map(result).collect()
    }

    fn gaps(&self) -> Vec<(String, Gap)> {
        let records = self.0.0.lock().unwrap();
        let gap = |record: &Record| match record {
            Record::Gap(gap) => Some((gap.site.clone(), gap.gap.clone())),
            Record::Result(_) => None,
        };
        records.iter().filter_map(gap).collect()
    }

    /// Waits for a state of what arrived, for at most half a minute.
    #[track_caller]
    fn wait(&self, done: impl Fn(&[Record]) -> bool) {
        let records = self.0.0.lock().unwrap();
        let patience = Duration::from_secs(30);
        let (records, outcome) =
            self.0.1.wait_timeout_while(records, patience, |records| !done(records)).unwrap();
        assert!(!outcome.timed_out(), "in vain: {:?}", &records[records.len().saturating_sub(3)..]);
    }

    #[track_caller]
    fn wait_for(&self, count: usize) {
        self.wait(|records| records.len() >= count);
    }
}

fn options(sentinels: Vec<Sentinel>) -> MonitorOptions {
    let pool = PoolOptions { threads: 32, ..PoolOptions::new(Origin::new("here", "checker")) };
    MonitorOptions { sentinels, ..MonitorOptions::new(pool, Settings::new().unwrap()) }
}

fn start(
    sites: &[Arc<Site>],
    sentinels: Vec<Sentinel>,
    arrived: &Arrived,
    watermarks: &Arc<MemoryWatermarks>,
) -> Monitor {
    let (options, marks) = (options(sentinels), Arc::clone(watermarks));
    Monitor::start(sites.to_vec(), options, arrived.sink(), marks).unwrap()
}

fn site_at(key: &str, url: &str, expression: &str) -> Site {
    let mut site = Site::new(key, url.parse().unwrap(), schedule(expression));
    site.timeout = Duration::from_millis(800);
    site
}

/// Each site's instants are a chain without a break, and none comes twice.
#[track_caller]
fn assert_chains(results: &[CheckResult], gaps: &[(String, Gap)]) {
    let mut sites: BTreeMap<&str, BTreeMap<Timestamp, &CheckResult>> = BTreeMap::new();
    for result in results.iter().filter(|result| result.error_detail.as_deref() != Some("rescheduled")) {
        let twice = sites.entry(&result.site).or_default().insert(result.scheduled_at, result);
        assert!(twice.is_none(), "twice: {result:?} and {twice:?}");
    }
    for (site, rows) in sites {
        let last = *rows.keys().next_back().unwrap();
        for row in rows.values() {
            let next_at = row.next_at.unwrap();
            let gap = |(named, gap): &&(String, Gap)| named == site && gap.from == next_at;
            assert!(
                next_at > last || rows.contains_key(&next_at) || gaps.iter().any(|named| gap(&named)),
                "{site} at {} says {next_at}, which never came",
                row.scheduled_at
            );
        }
    }
}

#[test]
fn reloads_in_rapid_succession_neither_lose_nor_double_an_instant_of_unchanged_sites() {
    let server = Server::answering(response("200 OK", &[], b"fine"));
    let url = server.url("/");
    let steady: Vec<_> =
        (0..20).map(|i| Arc::new(site_at(&format!("steady-{i}"), &url, "* * * * * *"))).collect();
    let fickle =
        ["*/2 * * * * *", "@every 3s", "* * * * * *"].map(|text| Arc::new(site_at("fickle", &url, text)));
    let arrived = Arrived::default();
    let watermarks = Arc::default();
    let began = Timestamp::now();
    let monitor = start(&steady, Vec::new(), &arrived, &watermarks);
    let mut reloads = 0;
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let mut sites = steady.clone();
        // Comes, changes, goes.
        sites.extend(fickle.get(reloads % 4).cloned());
        monitor.reload(sites);
        reloads += 1;
        std::thread::park_timeout(Duration::from_millis(70));
    }
    monitor.stop(Duration::from_secs(5));
    let ended = Timestamp::now();
    let (results, gaps) = (arrived.results(), arrived.gaps());
    assert!(reloads > 20, "{reloads}");
    assert_chains(&results, &gaps);
    assert!(gaps.iter().all(|(site, gap)| site == "fickle" && gap.reason == GapReason::Rescheduled));
    assert!(gaps.iter().any(|(_, gap)| gap.to.is_none()) && gaps.iter().any(|(_, gap)| gap.to.is_some()));
    // And from the first second to the last.
    for site in &steady {
        let instants: BTreeSet<Timestamp> = results
            .iter()
            .filter(|result| result.site == site.key)
            .map(|result| result.scheduled_at)
            .collect();
        let demanded = site.schedule.count(began, ended - 1.second());
        assert!(instants.len() as u64 >= demanded, "{}: {} of {demanded}", site.key, instants.len());
    }
    let succeeded = results.iter().filter(|result| result.outcome == Outcome::Success).count();
    assert!(succeeded > 80, "{succeeded}");
}

#[test]
fn a_restart_goes_on_where_the_watermarks_are() {
    let server = Server::answering(response("200 OK", &[], b"fine"));
    let sites = [Arc::new(site_at("shop", &server.url("/"), "* * * * * *"))];
    let arrived = Arrived::default();
    let watermarks: Arc<MemoryWatermarks> = Arc::default();
    let monitor = start(&sites, Vec::new(), &arrived, &watermarks);
    arrived.wait_for(1);
    monitor.stop(Duration::from_secs(5));
    drop(monitor);
    let stopped = Timestamp::now();
    let down_until = Instant::now() + Duration::from_secs(8);
    while let Some(left) = down_until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
    let monitor = start(&sites, Vec::new(), &arrived, &watermarks);
    // In the sink already.
    let down = |results: &[CheckResult]| {
        results.iter().filter(|result| result.error_type == Some(ErrorType::CheckerDown)).count()
    };
    assert!((6..=9).contains(&down(&arrived.results())), "{:?}", arrived.results());
    let count = arrived.results().len();
    arrived.wait_for(count + 2);
    monitor.stop(Duration::from_secs(5));
    let results = arrived.results();
    assert_chains(&results, &arrived.gaps());
    let mark = &watermarks.load()[0];
    assert!(mark.until > stopped && results.iter().any(|result| result.scheduled_at == mark.until));
}

/// Notes by which way each record came.
#[derive(Default)]
struct Ways {
    appended: Mutex<Vec<Record>>,
    enqueued: Mutex<Vec<Record>>,
}

impl Outbox for Ways {
    fn append(&self, record: Record) {
        self.appended.lock().unwrap().push(record);
    }

    fn enqueue(&self, record: Record) {
        self.enqueued.lock().unwrap().push(record);
    }

    fn peek(&self, _: usize, _: Duration) -> Vec<(Sequence, Record)> {
        Vec::new()
    }

    fn acknowledge(&self, _: &[Sequence]) {}

    fn reject(&self, _: Sequence, _: &str) {}

    fn len(&self) -> usize {
        0
    }

    fn dropped(&self) -> u64 {
        0
    }
}

#[test]
fn the_timer_waits_for_no_disk_and_what_a_check_has_seen_is_durable_at_once() {
    let server = Server::answering(response("200 OK", &[], b"fine"));
    let sites = vec![Arc::new(site_at("shop", &server.url("/"), "* * * * * *"))];
    let watermarks = Arc::new(MemoryWatermarks::default());
    watermarks.note(&Watermark::new("shop", Timestamp::now() - 20.minutes(), &sites[0].schedule));
    let outbox = Arc::new(Ways::default());
    let options = MonitorOptions { backfill: Duration::from_secs(600), ..options(Vec::new()) };
    let sink = Arc::new(Arc::clone(&outbox));
    let monitor = Monitor::start(sites, options, sink, watermarks).unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    while outbox.appended.lock().unwrap().len() < 2 {
        assert!(Instant::now() < patience);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    monitor.stop(Duration::from_secs(5));
    let seen =
        |record: &Record| matches!(record, Record::Result(result) if result.outcome != Outcome::Missed);
    let (appended, enqueued) = (outbox.appended.lock().unwrap(), outbox.enqueued.lock().unwrap());
    assert!(appended.iter().all(seen) && !enqueued.iter().any(seen));
    // Ten minutes of rows, and a gap for the ten before.
    assert!((598..620).contains(&enqueued.len()), "{}", enqueued.len());
}

#[test]
fn a_stop_hands_over_what_runs_and_what_the_spread_holds_back() {
    let server = Server::start(|mut stream| sites::hold(&mut stream));
    let mut held_back = site_at("held-back", &server.url("/"), "@every 2s");
    held_back.spread = Duration::from_millis(1_999);
    while held_back.start_offset() < Duration::from_millis(1_200) {
        held_back.key.push('+');
    }
    let key = held_back.key.clone();
    let hanging = site_at("hanging", &server.url("/"), "* * * * * *");
    let arrived = Arrived::default();
    let sites = [Arc::new(held_back), Arc::new(hanging)];
    let began = Timestamp::now();
    let monitor = start(&sites, Vec::new(), &arrived, &Arc::default());
    arrived.wait_for(4);
    // Between an instant and the start that is held back.
    while !(300..1_000).contains(&(Timestamp::now().as_millisecond() % 2_000)) {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let stopping = Timestamp::now();
    monitor.stop(Duration::ZERO);
    let results = arrived.results();
    assert_chains(&results, &arrived.gaps());
    for site in &sites {
        let instants: BTreeSet<_> =
            results.iter().filter(|r| r.site == site.key).map(|r| r.scheduled_at).collect();
        let newest = instants.iter().next_back().unwrap();
        assert!(
            site.schedule.next_after(*newest).unwrap() > stopping,
            "{}: {newest} of {stopping}",
            site.key
        );
        assert!(instants.len() as u64 >= site.schedule.count(began, stopping), "{}", site.key);
    }
    assert!(results.iter().any(|r| r.site == key && r.error_type == Some(ErrorType::Cancelled)));
    std::thread::park_timeout(Duration::from_millis(300));
    assert_eq!(arrived.results().len(), results.len(), "nothing arrives after a stop");
}

// ---- Sentinels.

fn tcp(address: std::net::SocketAddr) -> Sentinel {
    format!("tcp://{address}").parse().unwrap()
}

fn http(address: std::net::SocketAddr) -> Sentinel {
    format!("http://{address}/").parse().unwrap()
}

#[test]
fn a_site_is_not_blamed_while_no_sentinel_answers() {
    let (closed, dead_tcp, dead_http) = (ClosedPort::new(), ClosedPort::new(), ClosedPort::new());
    let broken = Server::answering(response("500 Internal Server Error", &[], b""));
    let sites = [
        Arc::new(site_at("refusing", &format!("http://{}/", closed.address), "* * * * * *")),
        Arc::new(site_at("no-name", "http://no-such-name.invalid/", "* * * * * *")),
        // Whoever answers at all has a network.
        Arc::new(site_at("broken", &broken.url("/"), "* * * * * *")),
    ];
    let arrived = Arrived::default();
    let sentinels = vec![tcp(dead_tcp.address), http(dead_http.address)];
    let monitor = start(&sites, sentinels, &arrived, &Arc::default());
    let of = |records: &[Record], key: &str| records.iter().filter(|record| record.key() == key).count();
    arrived.wait(|records| ["refusing", "no-name", "broken"].iter().all(|key| of(records, key) >= 2));
    monitor.stop(Duration::from_secs(5));
    let results = arrived.results();
    assert_chains(&results, &[]);
    for result in results.iter().filter(|result| result.error_type != Some(ErrorType::Cancelled)) {
        let seen = (result.outcome, result.error_type.unwrap(), result.error_detail.as_deref().unwrap());
        match result.site.as_str() {
            "refusing" => {
                assert_eq!(seen, (Outcome::Missed, ErrorType::NetworkDown, "connect_error refused"));
            }
            "no-name" => {
                assert_eq!((seen.0, seen.1), (Outcome::Missed, ErrorType::NetworkDown));
                assert!(seen.2.starts_with("dns_error "), "{result:?}");
            }
            _ => assert_eq!(seen, (Outcome::Failure, ErrorType::ExpectationFailed, "status")),
        }
    }
}

#[test]
fn a_failure_stands_while_one_sentinel_answers_and_many_failures_ask_it_seldom() {
    let (closed, dead) = (ClosedPort::new(), ClosedPort::new());
    // An answer of any kind is one.
    let alive = Server::answering(response("503 Service Unavailable", &[], b""));
    let sites: Vec<_> = (0..100)
        .map(|i| {
            Arc::new(site_at(&format!("site-{i}"), &format!("http://{}/", closed.address), "* * * * * *"))
        })
        .collect();
    let arrived = Arrived::default();
    let began = Instant::now();
    let monitor = start(&sites, vec![tcp(dead.address), http(alive.address)], &arrived, &Arc::default());
    arrived.wait_for(400);
    monitor.stop(Duration::from_secs(5));
    let seconds = began.elapsed().as_secs_f64();
    let results = arrived.results();
    assert_chains(&results, &[]);
    let failures = results.iter().filter(|result| result.outcome == Outcome::Failure).count();
    assert!(failures > 300, "{failures}");
    assert!(results.iter().all(|result| result.error_type != Some(ErrorType::NetworkDown)));
    assert!(
        results.iter().all(|r| r.outcome != Outcome::Failure || r.error_type == Some(ErrorType::Connect))
    );
    // A round a second, and one more at the stop.
    assert!(alive.accepted() as f64 <= seconds + 2.0, "{} rounds in {seconds} s", alive.accepted());
}

/// Knows `sentinel.test` and nothing else; whoever asks for another name hears nothing.
struct DeafNameServer {
    knows_the_sentinel: bool,
}

impl Resolve for DeafNameServer {
    fn resolve(&self, host: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            "sentinel.test" if self.knows_the_sentinel => Ok(vec![[127, 0, 0, 1].into()]),
            "gone.test" => Err(ResolveError::NxDomain),
            _ => Err(ResolveError::Timeout),
        }
    }
}

#[test]
fn a_dead_name_server_is_blamed_on_no_site_unless_a_sentinel_was_resolved_by_name() {
    let (alive, dead) = (Server::answering(response("200 OK", &[], b"")), ClosedPort::new());
    let by_name = format!("tcp://sentinel.test:{}", dead.address.port()).parse().unwrap();
    let sites = [
        Arc::new(site_at("unheard", "http://shop.test/", "* * * * * *")),
        Arc::new(site_at("gone", "http://gone.test/", "* * * * * *")),
    ];
    for (sentinels, knows_the_sentinel, unheard) in [
        (vec![http(alive.address), tcp(dead.address)], false, Outcome::Missed),
        (vec![http(alive.address), by_name], true, Outcome::Failure),
    ] {
        let arrived = Arrived::default();
        let settings = Settings::with_resolver(Arc::new(DeafNameServer { knows_the_sentinel }));
        let options = MonitorOptions { settings, ..options(sentinels) };
        let marks = Arc::new(MemoryWatermarks::default());
        let monitor = Monitor::start(sites.to_vec(), options, arrived.sink(), marks).unwrap();
        arrived.wait_for(4);
        monitor.stop(Duration::from_secs(5));
        let results = arrived.results();
        for result in results.iter().filter(|result| result.error_type != Some(ErrorType::Cancelled)) {
            // That a name does not exist is an answer.
            let expected = if result.site == "gone" { Outcome::Failure } else { unheard };
            assert_eq!(result.outcome, expected, "{result:?}");
        }
        assert!(["gone", "unheard"].iter().all(|key| results.iter().any(|result| result.site == *key)));
    }
}

#[test]
fn a_verdict_from_before_the_network_went_down_blames_nobody() {
    let (closed, other) = (ClosedPort::new(), ClosedPort::new());
    let sentinel = Server::answering(response("200 OK", &[], b""));
    let gone = sentinel.address;
    let sites = [Arc::new(site_at("shop", &format!("http://{}/", closed.address), "* * * * * *"))];
    let arrived = Arrived::default();
    let monitor = start(&sites, vec![http(gone), tcp(other.address)], &arrived, &Arc::default());
    arrived.wait_for(2);
    assert!(arrived.results().iter().any(|result| result.outcome == Outcome::Failure));
    drop(sentinel);
    let down_since = Timestamp::now();
    let later = |record: &Record| match record {
        Record::Result(result) => result.started_at.is_some_and(|started| started > down_since),
        Record::Gap(_) => false,
    };
    arrived.wait(|records| records.iter().filter(|record| later(record)).count() >= 3);
    monitor.stop(Duration::from_secs(5));
    let blamed: Vec<_> = arrived
        .results()
        .into_iter()
        .filter(|r| r.started_at.is_some_and(|at| at > down_since) && r.outcome == Outcome::Failure)
        .collect();
    assert!(blamed.is_empty(), "{blamed:?}");
}

// ---- Threads.

#[test]
fn a_panic_of_the_thread_that_asks_the_sentinels_is_missed_and_holds_up_no_stop() {
    let (closed, dead) = (ClosedPort::new(), ClosedPort::new());
    let alive = Server::answering(response("200 OK", &[], b""));
    let sites = [Arc::new(site_at("shop", &format!("http://{}/", closed.address), "* * * * * *"))];
    let sink = Arc::new(RecordSinkFn(|record| match record {
        Record::Result(result) if result.outcome == Outcome::Failure => panic!("out of order"),
        _ => {}
    }));
    let options = options(vec![tcp(dead.address), http(alive.address)]);
    let marks = Arc::<MemoryWatermarks>::default();
    let monitor = Monitor::start(sites.to_vec(), options, sink, marks).unwrap();
    assert!(monitor.is_running() && monitor.fault().is_none());
    let patience = Instant::now() + Duration::from_secs(30);
    while monitor.is_running() {
        assert!(Instant::now() < patience, "nobody misses it");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(monitor.fault().unwrap().to_string(), "thread sentinels panicked: out of order");
    monitor.stop(Duration::from_secs(5));
}

#[test]
fn the_threads_needed_are_what_all_sites_take_when_they_hang() {
    let site = |timeout: u64, expression: &str| {
        let mut site = Site::new("shop", "http://127.0.0.1:1/".parse().unwrap(), schedule(expression));
        site.timeout = Duration::from_secs(timeout);
        site
    };
    let sites = [site(9, "*/10 * * * * *"), site(30, "* * * * *"), site(6, "@every 1m")];
    assert!((threads_at_worst(&sites) - (0.9 + 0.5 + 0.1)).abs() < 1e-9);
}
