//! The accounting over days of virtual time: reloads, pauses, clocks set back and forth, changes of summer time,
//! stops and crashes at any point, twins. What was demanded is found by walking each site's schedules; every
//! instant of it must be a row or lie in a gap, and every link of the chain must be met.
#![cfg(feature = "check")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use webmon::monitor::{Account, Limits, MemoryWatermarks, Step, Watermarks};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, Outcome, Record};
use webmon::schedule::{Due, Schedule};
use webmon::site::{Maintenance, Origin, Site};

/// Ones that often meet and ones that seldom do, around changes of the clock.
const SCHEDULES: [(&str, &str); 9] = [
    ("*/20 * * * * *", "UTC"),
    ("@every 7s", "UTC"),
    ("*/30 * * * * *", "Europe/Berlin"),
    ("15 * * * * *", "America/New_York"),
    ("*/5 * * * *", "Australia/Lord_Howe"),
    ("30 2 * * *", "Europe/Berlin"),
    ("10,40 1-3 * * *", "Europe/Berlin"),
    ("@hourly", "Asia/Kolkata"),
    ("0 0 12 1 1 * 2020-2026", "UTC"),
];
const SITES: u64 = 6;
const MAX_LATENESS: SignedDuration = SignedDuration::from_secs(5);

/// xorshift64 (Marsaglia, 2003)
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

type Sites = BTreeMap<String, Arc<Site>>;

/// The sites as configured: some of six, each with one of the schedules.
fn sites(random: &mut Random, schedules: &[Schedule]) -> Sites {
    let mut sites = Sites::new();
    for i in 0..SITES {
        if random.one_in(6) {
            continue;
        }
        let key = format!("site-{i}");
        let schedule = schedules[random.below(schedules.len() as u64) as usize].clone();
        sites.insert(key.clone(), site(random, &key, schedule));
    }
    sites
}

fn site(random: &mut Random, key: &str, schedule: Schedule) -> Arc<Site> {
    let mut site = Site::new(key, "https://shop.example/".parse().unwrap(), schedule);
    if random.one_in(3) {
        site.spread = Duration::from_secs(4);
    }
    Arc::new(site)
}

/// Another configuration: one site's schedule is another one, or it comes or goes, or all of it is another.
fn changed(random: &mut Random, sites_before: &Sites, schedules: &[Schedule]) -> Sites {
    if random.one_in(4) {
        return sites(random, schedules);
    }
    let mut sites = sites_before.clone();
    let key = format!("site-{}", random.below(SITES));
    if random.one_in(3) && sites.remove(&key).is_some() {
        return sites;
    }
    let schedule = schedules[random.below(schedules.len() as u64) as usize].clone();
    sites.insert(key.clone(), site(random, &key, schedule));
    sites
}

/// Instants that one schedule demanded of one site: those in `(start, end]`.
#[derive(Clone)]
struct Period {
    schedule: Schedule,
    start: Timestamp,
    end: Option<Timestamp>,
}

impl Period {
    fn instants(&self, until: Timestamp) -> Vec<Timestamp> {
        let end = self.end.unwrap_or(until);
        std::iter::successors(self.schedule.next_after(self.start), |last| self.schedule.next_after(*last))
            .take_while(|instant| *instant <= end)
            .collect()
    }
}

type Periods = BTreeMap<String, Vec<Period>>;

/// What has arrived in the outbox: nothing of it is lost any more.
#[derive(Default)]
struct Kept {
    rows: BTreeMap<(String, Timestamp), CheckResult>,
    gaps: Vec<(String, Gap)>,
    /// What a crash lets be recorded once more.
    again: BTreeSet<(String, Timestamp)>,
    gaps_again: BTreeSet<(String, Timestamp)>,
    provisional: BTreeSet<(String, Timestamp)>,
    /// What was recorded before a restart, by a clock that was then set back: the next life may not ask for it.
    ahead: BTreeSet<(String, Timestamp)>,
}

/// A checker, its disk, and what was demanded of it.
struct Checker {
    name: &'static str,
    seed: u64,
    account: Account,
    watermarks: MemoryWatermarks,
    kept: Kept,
    /// Checks under way, by when they end.
    running: Vec<(Timestamp, Due<Site>)>,
    periods: Periods,
    latest: Timestamp,
    crashes: usize,
}

fn account(name: &str, now: Timestamp) -> Account {
    let limits = Limits {
        max_lateness: Duration::try_from(MAX_LATENESS).unwrap(),
        backfill: Duration::from_secs(3_600),
        max_backlog: 600,
    };
    Account::new(Origin { location: "here".to_owned(), checker: name.to_owned() }, limits, now)
}

impl Checker {
    fn start(
        name: &'static str,
        seed: u64,
        now: Timestamp,
        sites: &Sites,
        maintenance: Option<&Planned>,
        random: &mut Random,
    ) -> Checker {
        let mut checker = Checker {
            name,
            seed,
            account: account(name, now),
            watermarks: MemoryWatermarks::default(),
            kept: Kept::default(),
            running: Vec::new(),
            periods: Periods::new(),
            latest: now,
            crashes: 0,
        };
        checker.begin(now, sites, maintenance, random);
        checker
    }

    /// What a monitor does at its start.
    fn begin(&mut self, now: Timestamp, sites: &Sites, maintenance: Option<&Planned>, random: &mut Random) {
        self.account = account(self.name, now);
        self.kept.ahead.extend(self.kept.rows.keys().filter(|(_, at)| *at > now).cloned());
        let list: Vec<Arc<Site>> = under(sites, maintenance);
        let steps = self.account.resume(self.watermarks.load(), &list);
        self.carry_out(steps, now, random);
        self.take_all(now, random);
        self.reload(now, sites, maintenance, random, false);
    }

    fn reload(
        &mut self,
        now: Timestamp,
        sites: &Sites,
        maintenance: Option<&Planned>,
        random: &mut Random,
        may_crash: bool,
    ) {
        let before = self.periods.clone();
        let (steps, changes) = self.account.reload(under(sites, maintenance), now);
        self.latest = self.latest.max(changes.at);
        for (key, periods) in &mut self.periods {
            if let Some(last) = periods.last_mut().filter(|last| last.end.is_none())
                && sites.get(key).is_none_or(|site| site.schedule != last.schedule)
            {
                last.end = Some(changes.at);
            }
        }
        for (key, site) in sites {
            let periods = self.periods.entry(key.clone()).or_default();
            if periods.last().is_none_or(|last| last.end.is_some()) {
                periods.push(Period { schedule: site.schedule.clone(), start: changes.at, end: None });
            }
        }
        if may_crash && random.one_in(8) {
            // Some of it is in the outbox and nothing is settled: the reload never was, for what comes after.
            let some = random.below(steps.len() as u64 + 1) as usize;
            for step in steps.into_iter().take(some) {
                if let Step::Record(record) = step {
                    self.keep(record);
                }
            }
            self.periods = before;
            self.crash();
            self.begin(now, sites, maintenance, random);
            return;
        }
        self.carry_out(steps, now, random);
    }

    fn keep(&mut self, record: Record) {
        // What the store is told must be valid.
        record.validate().unwrap_or_else(|error| panic!("seed {}: {error}: {record:?}", self.seed));
        match record {
            Record::Gap(gap) => self.kept.gaps.push((gap.site, gap.gap)),
            Record::Result(result) => {
                let identity = (result.site.clone(), result.scheduled_at);
                if result.error_detail.as_deref() == Some("rescheduled") {
                    self.kept.provisional.insert(identity.clone());
                }
                match self.kept.rows.get(&identity) {
                    None => {
                        self.kept.rows.insert(identity, *result);
                    }
                    Some(stored) => {
                        let may =
                            self.kept.again.contains(&identity) || self.kept.provisional.contains(&identity);
                        assert!(may, "seed {}: {identity:?} twice: {stored:?} and {result:?}", self.seed);
                        if result.supersedes(stored.outcome) {
                            self.kept.rows.insert(identity, *result);
                        }
                    }
                }
            }
        }
    }

    fn settle(&mut self, site: &str, at: Timestamp) {
        if let Some(watermark) = self.account.settle(site, at) {
            self.watermarks.note(&watermark);
        }
    }

    fn carry_out(&mut self, steps: Vec<Step>, now: Timestamp, random: &mut Random) {
        let mut done = Vec::new();
        for step in steps {
            done.extend(step.settles().map(|(site, at)| (site.to_owned(), Some(at))));
            match step {
                Step::Check(due) => {
                    let started_late = now.duration_since(due.scheduled_at);
                    let spread = SignedDuration::try_from(due.item.start_offset()).unwrap();
                    assert!(started_late >= spread && started_late <= spread + MAX_LATENESS);
                    if self.running.iter().any(|(_, running)| running.item.key == due.item.key) {
                        self.result(&due, Outcome::Missed, ErrorType::Overlap);
                    } else {
                        let ends_at = now + SignedDuration::from_millis(random.below(8_000) as i64);
                        self.running.push((ends_at, due));
                    }
                }
                Step::Record(record) => self.keep(record),
                Step::Begin { .. } => {}
                Step::Retire { site } => done.push((site, None)),
            }
        }
        for (site, at) in done {
            match at {
                Some(at) => self.settle(&site, at),
                None => self.watermarks.forget(&site),
            }
        }
    }

    /// The end of a check.
    fn result(&mut self, due: &Due<Site>, outcome: Outcome, error_type: ErrorType) {
        let origin = Origin { location: "here".to_owned(), checker: self.name.to_owned() };
        let mut result = origin.blank(&due.item, due.scheduled_at, due.next_at);
        if outcome == Outcome::Success {
            result.outcome = outcome;
        } else {
            result.set_error(error_type, None, None);
        }
        self.keep(Record::Result(Box::new(result)));
        self.settle(&due.item.key, due.scheduled_at);
    }

    fn end_checks(&mut self, now: Timestamp, random: &mut Random) {
        let (ended, running) = std::mem::take(&mut self.running).into_iter().partition(|(at, _)| *at <= now);
        self.running = running;
        let ended: Vec<(Timestamp, Due<Site>)> = ended;
        for (_, due) in ended {
            let outcome = if random.one_in(3) { Outcome::Failure } else { Outcome::Success };
            self.result(&due, outcome, ErrorType::Timeout);
        }
    }

    fn take_all(&mut self, now: Timestamp, random: &mut Random) {
        self.latest = self.latest.max(now);
        loop {
            let steps = self.account.take_due(now);
            if steps.is_empty() {
                break;
            }
            self.carry_out(steps, now, random);
        }
    }

    /// Up to `to` as a timer goes: from one due instant to the next.
    fn live(&mut self, from: Timestamp, to: Timestamp, random: &mut Random) {
        let mut now = from;
        for _ in 0..400 {
            self.end_checks(now, random);
            self.account.plan(now);
            self.take_all(now, random);
            match self.account.next_due().map(|next| next.max(now)) {
                Some(next) if next <= to => now = next + SignedDuration::from_millis(3),
                _ => break,
            }
        }
        self.end_checks(to, random);
        self.take_all(to, random);
    }

    /// The process is gone, from one moment to the next.
    fn crash(&mut self) {
        self.crashes += 1;
        self.running.clear();
        let marks: HashMap<String, Timestamp> =
            self.watermarks.load().into_iter().map(|mark| (mark.site, mark.until)).collect();
        let after_mark = |key: &str, at: Timestamp| marks.get(key).is_none_or(|mark| at > *mark);
        for (key, at) in self.kept.rows.keys().filter(|(key, at)| after_mark(key, *at)) {
            self.kept.again.insert((key.clone(), *at));
        }
        // What a gap stands for may be fewer instants the next time, and rows for the rest.
        for (key, gap) in self.kept.gaps.iter().filter(|(key, gap)| after_mark(key, gap.from)) {
            self.kept.gaps_again.insert((key.clone(), gap.from));
        }
    }

    fn stop(&mut self) {
        let mut running: Vec<Due<Site>> =
            std::mem::take(&mut self.running).into_iter().map(|(_, due)| due).collect();
        for step in self.account.take_delayed() {
            let Step::Check(due) = step else { panic!("{step:?}") };
            running.push(due);
        }
        for due in running {
            self.result(&due, Outcome::Missed, ErrorType::Cancelled);
        }
    }

    /// All that the promise says.
    fn verify(&self, until: Timestamp) {
        let seed = self.seed;
        let mut demanded: BTreeSet<(String, Timestamp)> = BTreeSet::new();
        let mut in_gaps: BTreeSet<(String, Timestamp)> = BTreeSet::new();
        let mut only_in_gaps: BTreeSet<(String, Timestamp)> = BTreeSet::new();
        let down = self.kept.gaps.iter().filter(|(_, gap)| gap.reason == GapReason::CheckerDown);
        let mut counted = 0;
        for (key, periods) in &self.periods {
            for period in periods {
                let instants = period.instants(until);
                // A gap speaks of the schedule then in force: where another one took over before `to` is another's.
                for (_, gap) in down.clone().filter(|(site, gap)| site == key && instants.contains(&gap.from))
                {
                    let within =
                        instants.iter().filter(|at| gap.from <= **at && gap.to.is_none_or(|to| **at < to));
                    assert_eq!(within.clone().count() as u64, gap.instants, "seed {seed}: {key} {gap:?}");
                    let within: Vec<_> = within.map(|at| (key.clone(), *at)).collect();
                    if !self.kept.gaps_again.contains(&(key.clone(), gap.from)) {
                        let fresh = within.iter().all(|identity| only_in_gaps.insert(identity.clone()));
                        assert!(fresh, "seed {seed}: {key} {gap:?} says again what another gap says");
                    }
                    in_gaps.extend(within);
                    counted += 1;
                }
                demanded.extend(instants.into_iter().map(|at| (key.clone(), at)));
            }
        }
        assert_eq!(counted, down.clone().count(), "seed {seed}: a gap begins where nothing was demanded");
        for identity in &demanded {
            let (row, gap) = (self.kept.rows.contains_key(identity), in_gaps.contains(identity));
            assert!(row || gap, "seed {seed}: {}: {identity:?} is not accounted for", self.name);
            let both = row && only_in_gaps.contains(identity) && !self.kept.again.contains(identity);
            assert!(!both, "seed {seed}: {identity:?} is a row and in a gap");
        }
        for identity in self.kept.rows.keys() {
            let asked_for = demanded.contains(identity) || self.kept.ahead.contains(identity);
            assert!(asked_for, "seed {seed}: nobody asked for {identity:?}");
        }
        let gaps = self.kept.gaps.iter().filter(|(_, gap)| gap.reason == GapReason::Rescheduled);
        assert!(gaps.clone().all(|(_, gap)| gap.instants == 1));
        assert_links(seed, &self.kept.rows, &self.kept.gaps, until);
    }
}

/// What is announced is a row, or lies in a gap, or is still to come.
fn assert_links(
    seed: u64,
    rows: &BTreeMap<(String, Timestamp), CheckResult>,
    gaps: &[(String, Gap)],
    until: Timestamp,
) {
    let met = |key: &str, at: Timestamp| {
        at > until
            || rows.contains_key(&(key.to_owned(), at))
            || gaps.iter().any(|(site, gap)| site == key && gap.from <= at && gap.to.is_none_or(|to| at < to))
    };
    for ((key, at), row) in rows {
        if let Some(next_at) = row.next_at {
            assert!(met(key, next_at), "seed {seed}: {key} at {at} says {next_at}, which never came");
        }
    }
    for (key, gap) in gaps {
        if let Some(to) = gap.to {
            assert!(met(key, to), "seed {seed}: {key}'s {gap:?} leads nowhere");
        }
    }
}

/// Windows, and the site that they are for. None: all sites.
#[derive(Clone)]
struct Planned(Maintenance, Option<&'static str>);

fn maintenance(random: &mut Random) -> Option<Planned> {
    if random.one_in(2) {
        return None;
    }
    let schedule = Schedule::new("0 2 * * *", "Europe/Berlin").unwrap();
    let maintenance = Maintenance::new(schedule, Duration::from_secs(2 * 3_600));
    Some(Planned(maintenance, random.one_in(2).then_some("site-1")))
}

/// The sites with their windows.
fn under(sites: &Sites, planned: Option<&Planned>) -> Vec<Arc<Site>> {
    let mut sites: Vec<Arc<Site>> = sites.values().cloned().collect();
    if let Some(Planned(maintenance, only)) = planned {
        for site in sites.iter_mut().filter(|site| only.is_none_or(|only| site.key == only)) {
            Arc::make_mut(site).maintenance = [maintenance.clone()].into();
        }
    }
    sites
}

/// What was met on the way, to see that the simulation simulates.
#[derive(Default, Debug)]
struct Seen {
    errors: BTreeMap<&'static str, usize>,
    gaps: BTreeMap<String, usize>,
    crashes: usize,
}

fn simulate(seed: u64, seen: &mut Seen) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // Summer time ends in Europe and America, and begins on Lord Howe, within these weeks of 2026.
    let starts = [
        "2026-10-24T21:00:00.2Z",
        "2026-03-28T22:00:00.7Z",
        "2026-11-01T03:00:00.1Z",
        "2026-12-31T20:00:00.5Z",
    ];
    let mut now: Timestamp = starts[random.below(4) as usize].parse().unwrap();
    let schedules: Vec<Schedule> = SCHEDULES
        .iter()
        .map(|(expression, zone)| {
            Schedule::new_at(expression, zone, "2019-01-01T00:00:00Z".parse().unwrap()).unwrap()
        })
        .collect();
    let mut sites = sites(&mut random, &schedules);
    let mut windows = maintenance(&mut random);
    let mut twins: Vec<Checker> =
        ["a", "b"].map(|name| Checker::start(name, seed, now, &sites, windows.as_ref(), &mut random)).into();
    // A twin that is behind has not seen the newest configuration.
    let mut current = [(sites.clone(), windows.clone()), (sites.clone(), windows.clone())];
    for _ in 0..120 {
        if random.one_in(4) {
            sites = changed(&mut random, &sites, &schedules);
            windows = maintenance(&mut random);
        }
        let step = match random.below(20) {
            0 => -(random.below(50) as i64),
            1..=11 => random.below(120) as i64,
            12..=17 => random.below(1_800) as i64,
            18 => random.below(4 * 3_600) as i64,
            _ => random.below(30 * 3_600) as i64,
        };
        let to = now + SignedDuration::from_millis(step * 1_000 + random.below(999) as i64);
        // Set back by more than a minute, the clock makes a checker begin anew: that is another test.
        let latest = twins.iter().map(|twin| twin.latest).max().unwrap_or(now);
        let to = to.max(latest - SignedDuration::from_secs(50));
        for (twin, (known, known_windows)) in twins.iter_mut().zip(&mut current) {
            if step > 0 && !random.one_in(3) {
                twin.live(now, to, &mut random);
            } else {
                // It stood still, or its clock jumped.
                twin.end_checks(to, &mut random);
            }
            match random.below(12) {
                0..=3 => {
                    (*known, *known_windows) = (sites.clone(), windows.clone());
                    twin.reload(to, known, known_windows.as_ref(), &mut random, true);
                }
                4 => {
                    twin.stop();
                    // Down until the end of the next step, at times.
                    (*known, *known_windows) = (sites.clone(), windows.clone());
                    twin.begin(to, known, known_windows.as_ref(), &mut random);
                }
                5 => {
                    twin.crash();
                    (*known, *known_windows) = (sites.clone(), windows.clone());
                    twin.begin(to, known, known_windows.as_ref(), &mut random);
                }
                6 => {} // stays behind
                _ => twin.take_all(to, &mut random),
            }
        }
        now = to;
    }
    let end = twins.iter().map(|twin| twin.latest).max().unwrap() + SignedDuration::from_secs(90);
    for twin in &mut twins {
        twin.take_all(end, &mut random);
        twin.end_checks(end + SignedDuration::from_secs(10), &mut random);
        twin.stop();
        twin.verify(end);
    }

    // What a store makes of both: of each instant the better row.
    let mut rows = std::mem::take(&mut twins[0].kept.rows);
    for (identity, row) in std::mem::take(&mut twins[1].kept.rows) {
        if rows.get(&identity).is_none_or(|stored| row.supersedes(stored.outcome)) {
            rows.insert(identity, row);
        }
    }
    let gaps: Vec<(String, Gap)> = twins.iter().flat_map(|twin| twin.kept.gaps.clone()).collect();
    assert_links(seed, &rows, &gaps, end);

    for row in rows.values() {
        *seen.errors.entry(row.error_type.map_or("success", ErrorType::as_str)).or_default() += 1;
    }
    for (_, gap) in &gaps {
        let end = if gap.to.is_some() { "joined" } else { "ended" };
        *seen.gaps.entry(format!("{} {end}", gap.reason)).or_default() += 1;
    }
    seen.crashes += twins.iter().map(|twin| twin.crashes).sum::<usize>();
}

#[test]
fn every_instant_demanded_is_a_row_or_in_a_gap_whatever_happens() {
    // Further ones, or a certain one: WEBMON_SIMULATIONS="1000 500" means 500 seeds from 1000 on.
    let given = std::env::var("WEBMON_SIMULATIONS").unwrap_or_else(|_| "1 30".to_owned());
    let (first, count) = given.split_once(' ').unwrap_or((&given, "1"));
    let (first, count): (u64, u64) = (first.parse().unwrap(), count.parse().unwrap());
    let mut seen = Seen::default();
    for seed in first..first + count {
        simulate(seed, &mut seen);
    }
    eprintln!("{seen:?}");
    if count >= 30 {
        for word in ["success", "timeout", "overlap", "late", "checker_down", "cancelled", "maintenance"] {
            assert!(seen.errors.get(word).is_some_and(|count| *count > 20), "hardly any {word}: {seen:?}");
        }
        for word in ["checker_down joined", "rescheduled joined", "rescheduled ended"] {
            assert!(seen.gaps.get(word).is_some_and(|count| *count > 5), "hardly any {word}: {seen:?}");
        }
        assert!(seen.crashes > 100);
    }
}
