//! The accounting as a state machine: no clock, no thread, no I/O. What it is told, and when, decides everything.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::watermarks::Watermark;
use crate::record::{ErrorType, Gap, GapReason, GapRecord, Record, RecordVersion};
use crate::schedule::{BATCH, Backlog, Due, Entry, Planner, Schedule};
use crate::site::{Maintenance, Origin, Site};

/// What is overdue by no more than this is handed out, however many instants it is.
const OVERDUE: SignedDuration = SignedDuration::from_secs(10);
/// A clock set back by more makes the plan start anew where it now stands; until then nothing would be checked.
/// Instants that come by a second time are recorded a second time, and the better result is kept.
const SET_BACK: SignedDuration = SignedDuration::from_secs(60);
/// The most instants of a site that are recorded late, one by one.
const MAX_BACKLOG_OF_SITE: u64 = 3_600;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What is still recorded or checked late, and what is not.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long after its instant (and its site's spread) a check may start.
    pub max_lateness: Duration,
    /// Instants longer ago than this that were not handed out become one gap a site.
    pub backfill: Duration,
    /// The most instants made up for at once, of all sites; each has its share, 1 to 3,600, and what exceeds it is
    /// in the gap too.
    pub max_backlog: u64,
}

/// Something to be done. Whoever does it tells [`Account::settle`] when it is in the outbox.
#[derive(Clone, Debug)]
pub enum Step {
    /// Have the site checked; the result is to be appended and settled.
    Check(Due<Site>),
    /// Append this, and settle it.
    Record(Record),
    /// Settle this once everything before it is appended: the site's chain begins here.
    Begin {
        /// The site's key.
        site: String,
        /// Where it begins.
        at: Timestamp,
    },
    /// Forget the site's watermark once everything before this is appended: the site is gone, or begins anew.
    Retire {
        /// The site's key.
        site: String,
    },
}

impl Step {
    /// What to settle once this is done. None for a check, as its result is what gets settled, and for a site
    /// that is gone.
    pub fn settles(&self) -> Option<(&str, Timestamp)> {
        match self {
            Step::Check(_) | Step::Retire { .. } => None,
            Step::Record(Record::Result(result)) => Some((&result.site, result.scheduled_at)),
            Step::Record(Record::Gap(gap)) => Some((&gap.site, gap.gap.from)),
            Step::Begin { site, at } => Some((site, *at)),
        }
    }
}

/// What a reload came to, in sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Instants up to this one are demanded by the sites as they were, those after it by the sites as they are.
    pub at: Timestamp,
    /// New ones.
    pub added: usize,
    /// Those that are gone.
    pub retired: usize,
    /// Those with another schedule.
    pub rescheduled: usize,
    /// Those with the schedule they had; their other settings may have changed.
    pub kept: usize,
}

/// Sees to it that every instant of every site is recorded: as the row of a check, as a `missed` row, or within a
/// gap.
///
/// It hands out what is to be done as [`Step`]s. Of the instants that are overdue at once only a site's newest is
/// checked, and only if it is not too late; the others are `missed`: `checker_down` if they came before this
/// account was begun, `late` otherwise. What exceeds the [`Limits`] is one gap a site.
///
/// A site's rows form a chain: each says when the next instant is due (`next_at`), and there is a row, or a gap
/// that starts there. Where a schedule is changed or a site is gone, a gap of one instant, the one last announced,
/// joins or ends the chain. Should a later change bring that instant about after all, then its row counts.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use jiff::Timestamp;
/// use webmon::monitor::{Account, Limits, Step};
/// use webmon::schedule::Schedule;
/// use webmon::site::{Origin, Site};
///
/// let limits = Limits { max_lateness: Duration::from_secs(5), backfill: Duration::from_secs(3_600), max_backlog: 1_000_000 };
/// let origin = Origin { location: "berlin-1".into(), checker: "host-a".into() };
/// let site = Site::new("shop", "https://shop.example/".parse()?, Schedule::new("@every 10s", "UTC")?);
///
/// let at = |second| Timestamp::from_second(second).unwrap();
/// let mut account = Account::new(origin, limits, at(1_000));
/// account.reload([Arc::new(site)], Vec::new(), at(1_000));
/// assert!(account.take_due(at(1_009)).is_empty());
/// let steps = account.take_due(at(1_031)); // 20 s late
/// assert!(matches!(&steps[..], [Step::Record(_), Step::Record(_), Step::Check(due)] if due.scheduled_at == at(1_030)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Account {
    origin: Origin,
    limits: Limits,
    /// Instants up to here came while there was no checker.
    begun_at: Timestamp,
    /// The latest time seen, as far as it is believed.
    latest: Timestamp,
    planner: Planner<Site>,
    tracks: HashMap<String, Track>,
    /// What waits for its start, which the site's spread delays.
    delayed: BinaryHeap<Reverse<Delayed>>,
    windows: Vec<Window>,
}

/// Where a site stands.
#[derive(Debug)]
struct Track {
    site: Arc<Site>,
    /// The schedule in force; the site's own, except while what an earlier one demanded is made up for.
    schedule: Schedule,
    /// Everything up to here was handed out.
    handed_out_until: Timestamp,
    /// What is announced: the next instant to be handed out.
    next: Option<Timestamp>,
    /// Handed out and not settled, oldest first.
    open: VecDeque<Open>,
    noted: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Open {
    at: Timestamp,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// An instant, and the one after it.
    Row(Option<Timestamp>),
    Gap(Gap),
    Begin,
}

#[derive(Debug)]
struct Delayed {
    start_at: Timestamp,
    due: Due<Site>,
}

impl Track {
    fn new(site: Arc<Site>, schedule: Schedule, until: Timestamp) -> Track {
        let next = schedule.next_after(until);
        Track { site, schedule, handed_out_until: until, next, open: VecDeque::new(), noted: None }
    }

    fn open(&mut self, at: Timestamp, kind: Kind) {
        let place = self.open.partition_point(|open| open.at <= at);
        self.open.insert(place, Open { at, kind });
    }

    /// Whether the row of the instant `at` is still to come.
    fn awaits_row(&self, at: Timestamp) -> bool {
        self.open.iter().any(|open| open.at == at && matches!(open.kind, Kind::Row(_)))
    }

    /// The watermark, if it has moved.
    fn watermark(&mut self) -> Option<Watermark> {
        let until = match self.open.front() {
            Some(Open { kind: Kind::Begin, .. }) => return None,
            Some(open) => (open.at - SECOND).min(self.handed_out_until),
            None => self.handed_out_until,
        };
        if self.noted >= Some(until) {
            return None;
        }
        self.noted = Some(until);
        Some(Watermark::new(&self.site.key, until, &self.schedule))
    }
}

impl Account {
    /// An account of no sites, begun at `now`.
    pub fn new(origin: Origin, limits: Limits, now: Timestamp) -> Account {
        Account {
            origin,
            limits,
            begun_at: now,
            latest: now,
            planner: Planner::new([], now),
            tracks: HashMap::new(),
            delayed: BinaryHeap::new(),
            windows: Vec::new(),
        }
    }

    /// Takes up what a former account has left: the instants since each watermark, by the schedule then in force,
    /// are due. To be called on a new account; afterwards take what is due until there is nothing, and then
    /// [`reload`](Account::reload) the same sites: that is where what has changed meanwhile takes effect.
    ///
    /// A site that is gone has no row to offer: its instants since the watermark are a gap, and the chain ends.
    pub fn resume(
        &mut self,
        watermarks: impl IntoIterator<Item = Watermark>,
        sites: &[Arc<Site>],
        maintenance: Vec<Maintenance>,
    ) -> Vec<Step> {
        let believed = self.latest + SET_BACK;
        let watermarks: Vec<Watermark> = watermarks.into_iter().collect();
        let newest = watermarks.iter().map(|mark| mark.until).filter(|until| *until <= believed).max();
        // A clock set back a little: what was handed out is not handed out again.
        let now = newest.map_or(self.latest, |newest| self.latest.max(newest));
        self.latest = now;
        self.windows = maintenance.into_iter().map(Window::new).collect();
        let sites: HashMap<&str, &Arc<Site>> = sites.iter().map(|site| (site.key.as_str(), site)).collect();
        let mut parsed: HashMap<(String, String), Schedule> = HashMap::new();
        let (mut steps, mut entries) = (Vec::new(), Vec::new());
        for mark in watermarks {
            let site = sites.get(mark.site.as_str()).copied();
            let schedule = match site.map(|site| &site.schedule) {
                Some(same) if same.expression() == mark.expression && same.timezone() == mark.timezone => {
                    Some(same.clone())
                }
                _ => earlier_schedule(&mark, &mut parsed),
            };
            // The clock was set back while nobody looked: see `SET_BACK`.
            let until = if mark.until > believed { whole_second(now) } else { mark.until };
            match (site, schedule) {
                (Some(site), Some(schedule)) => {
                    let entry =
                        Entry { key: mark.site.clone(), schedule: schedule.clone(), item: Arc::clone(site) };
                    entries.push((entry, until));
                    let mut track = Track::new(Arc::clone(site), schedule, until);
                    track.noted = (until == mark.until).then_some(until);
                    self.tracks.insert(mark.site, track);
                }
                (None, Some(schedule)) => {
                    if let Some(from) = schedule.next_after(until) {
                        let to = schedule.next_after(now.max(until));
                        let instants = schedule
                            .count(from, now + SECOND)
                            .min(to.map_or(u64::MAX, |to| schedule.count(from, to)));
                        if instants > 0 {
                            let gap = Gap { from, to, instants, reason: GapReason::CheckerDown };
                            steps.push(self.gap(&mark.site, gap));
                        }
                        steps.extend(self.taken_back(&mark.site, to, None));
                    }
                    steps.push(Step::Retire { site: mark.site });
                }
                // It had no instant to come, or cannot be read any more: the site starts anew.
                (_, None) => steps.push(Step::Retire { site: mark.site }),
            }
        }
        self.planner.resume(entries);
        steps
    }

    /// Makes these the sites, at `now`; no two have the same key. A site known by its key and schedule goes on
    /// where it is, with its new settings, also for what its spread holds back. A new one starts at `now`. One with
    /// another schedule, and one that is gone, is handed out what is due up to `now`; what its spread holds back is
    /// `missed`, `cancelled`; and its chain is joined to the new one, or ended.
    ///
    /// What is due is among the steps: take it before, if it may be much.
    pub fn reload(
        &mut self,
        sites: impl IntoIterator<Item = Arc<Site>>,
        maintenance: Vec<Maintenance>,
        now: Timestamp,
    ) -> (Vec<Step>, Changes) {
        let mut steps = self.follow_clock(now);
        // With a clock set back a little: nothing is to be handed out a second time.
        let (now, clock) = (self.latest, now);
        loop {
            let due = self.take(now, clock);
            if due.is_empty() {
                break;
            }
            steps.extend(due);
        }
        self.windows = maintenance.into_iter().map(Window::new).collect();
        // What is open, but already among the steps.
        let recorded: HashSet<(String, Timestamp)> =
            steps.iter().filter_map(Step::settles).map(|(site, at)| (site.to_owned(), at)).collect();
        let unrecorded = |mut track: Track| {
            track.open.retain(|open| !recorded.contains(&(track.site.key.clone(), open.at)));
            track
        };

        let mut changes = Changes { at: now, added: 0, retired: 0, rescheduled: 0, kept: 0 };
        let mut before = std::mem::take(&mut self.tracks);
        let mut entries = Vec::new();
        for site in sites {
            let key = site.key.clone();
            entries.push(Entry {
                key: key.clone(),
                schedule: site.schedule.clone(),
                item: Arc::clone(&site),
            });
            let track = match before.remove(&key) {
                Some(track) if track.schedule == site.schedule => {
                    changes.kept += 1;
                    Track { site, ..track }
                }
                known => {
                    let schedule = site.schedule.clone();
                    let mut track = Track::new(site, schedule, whole_second(now));
                    match known {
                        Some(known) => {
                            changes.rescheduled += 1;
                            self.close(&unrecorded(known), track.next, &mut steps);
                        }
                        None => changes.added += 1,
                    }
                    track.open(now, Kind::Begin);
                    steps.push(Step::Begin { site: key.clone(), at: now });
                    track
                }
            };
            self.tracks.insert(key, track);
        }
        for (site, track) in before {
            changes.retired += 1;
            self.close(&unrecorded(track), None, &mut steps);
            steps.push(Step::Retire { site });
        }
        self.renew_delayed();
        self.planner.replace(entries, now);
        (steps, changes)
    }

    /// Has what the spread holds back checked as its site is now, at the time that was set. Where the chain was closed,
    /// the instant is recorded already, and nobody is asked.
    fn renew_delayed(&mut self) {
        for Reverse(Delayed { start_at, due }) in std::mem::take(&mut self.delayed) {
            let Some(track) =
                self.tracks.get(&due.item.key).filter(|track| track.awaits_row(due.scheduled_at))
            else {
                continue;
            };
            let mut item = Arc::clone(&track.site);
            if item.spread != due.item.spread {
                // The time that was set goes by the former spread, and so does how late it may be.
                item = Arc::new(Site { spread: due.item.spread, ..Site::clone(&item) });
            }
            self.delayed.push(Reverse(Delayed { start_at, due: Due { item, ..due } }));
        }
    }

    /// Ends a chain whose schedule is no longer in force; `next` is the first instant of the one that is.
    ///
    /// What is open is recorded here already: the watermark is about to move on to the new schedule, and what
    /// would then be lost with the process could not be told from it. The result that comes ranks no lower.
    fn close(&self, track: &Track, next: Option<Timestamp>, steps: &mut Vec<Step>) {
        for open in &track.open {
            match &open.kind {
                Kind::Row(next_at) => {
                    let due = Due { item: Arc::clone(&track.site), scheduled_at: open.at, next_at: *next_at };
                    let message = "the site's schedule was changed before the check ended";
                    steps.push(self.missed(&due, ErrorType::Cancelled, Some("rescheduled"), message));
                }
                Kind::Gap(gap) => steps.push(self.gap(&track.site.key, gap.clone())),
                Kind::Begin => {}
            }
        }
        steps.extend(self.taken_back(&track.site.key, track.next, next));
    }

    /// The gap for an instant that was announced and will not come; none where `next`, the first instant of the
    /// new schedule, is the one announced. Where the new one begins earlier no stretch joins the two: the old
    /// chain ends.
    fn taken_back(&self, site: &str, announced: Option<Timestamp>, next: Option<Timestamp>) -> Option<Step> {
        let from = announced.filter(|announced| next != Some(*announced))?;
        let to = next.filter(|next| *next > from);
        Some(self.gap(site, Gap { from, to, instants: 1, reason: GapReason::Rescheduled }))
    }

    /// Plans ahead, so that nothing is left to search for when an instant comes.
    pub fn plan(&mut self, now: Timestamp) {
        self.planner.plan(now);
    }

    /// When there is something to take next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let delayed = self.delayed.peek().map(|Reverse(delayed)| delayed.start_at);
        [self.planner.next_due(), delayed].into_iter().flatten().min()
    }

    /// Hands out what is due at `now`, some at a time: call it until it returns nothing.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = self.follow_clock(now);
        steps.extend(self.take(now, now));
        steps
    }

    /// Hands out instants up to `until`; what is to start later than `now` is delayed.
    fn take(&mut self, until: Timestamp, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < BATCH && self.delayed.peek().is_some_and(|Reverse(first)| first.start_at <= now) {
            if let Some(Reverse(Delayed { due, .. })) = self.delayed.pop() {
                steps.extend(self.decide(due, now));
            }
        }
        if self.planner.next_due().is_some_and(|next| now.duration_since(next) > OVERDUE) {
            self.skip_overdue(now, &mut steps);
        }
        while steps.is_empty() {
            let batch = self.planner.take_due(until);
            if batch.is_empty() {
                break;
            }
            for due in batch {
                if let Some(track) = self.tracks.get_mut(&due.item.key) {
                    track.open(due.scheduled_at, Kind::Row(due.next_at));
                    track.handed_out_until = due.scheduled_at;
                    track.next = due.next_at;
                }
                steps.extend(self.decide(due, now));
            }
        }
        steps
    }

    /// What the spread still holds back: to be cancelled when the checker stops.
    pub fn take_delayed(&mut self) -> Vec<Step> {
        self.delayed.drain().map(|Reverse(delayed)| Step::Check(delayed.due)).collect()
    }

    /// Notes that `site`'s instant `at`, or the gap from there on, is in the outbox. Returns the site's watermark
    /// if that has moved it.
    pub fn settle(&mut self, site: &str, at: Timestamp) -> Option<Watermark> {
        let track = self.tracks.get_mut(site)?;
        // What a reload has closed is settled already.
        let place = track.open.iter().position(|open| open.at == at)?;
        track.open.remove(place);
        track.watermark()
    }

    /// Checks, records as missed, or delays.
    fn decide(&mut self, due: Due<Site>, now: Timestamp) -> Option<Step> {
        if self.windows.iter_mut().any(|window| window.covers(&due.item, due.scheduled_at)) {
            return Some(self.missed(&due, ErrorType::Maintenance, None, "the site is under maintenance"));
        }
        let spread = SignedDuration::try_from(due.item.start_offset()).unwrap_or(SignedDuration::ZERO);
        let start_at = due.scheduled_at + spread;
        if due.next_at.is_some_and(|next_at| next_at + spread <= now) {
            return Some(self.overdue(&due, Some("superseded"), "the site's next instant had come as well"));
        }
        let lateness = now.duration_since(start_at);
        if lateness > SignedDuration::try_from(self.limits.max_lateness).unwrap_or(SignedDuration::MAX) {
            let allowed = self.limits.max_lateness.as_millis();
            let message = format!("{} ms late: allowed are {allowed} ms", lateness.as_millis());
            return Some(self.overdue(&due, None, &message));
        }
        if start_at > now {
            self.delayed.push(Reverse(Delayed { start_at, due }));
            return None;
        }
        Some(Step::Check(due))
    }

    fn overdue(&self, due: &Due<Site>, detail: Option<&str>, message: &str) -> Step {
        if due.scheduled_at <= self.begun_at {
            self.missed(due, ErrorType::CheckerDown, None, "the checker was not running")
        } else {
            self.missed(due, ErrorType::Late, detail, message)
        }
    }

    fn missed(&self, due: &Due<Site>, error_type: ErrorType, detail: Option<&str>, message: &str) -> Step {
        let mut result = self.origin.blank(&due.item, due.scheduled_at, due.next_at);
        result.set_error(error_type, detail, Some(message));
        Step::Record(Record::Result(Box::new(result)))
    }

    fn gap(&self, site: &str, gap: Gap) -> Step {
        let Origin { location, checker } = self.origin.clone();
        Step::Record(Record::Gap(GapRecord {
            v: RecordVersion,
            site: site.to_owned(),
            location,
            checker,
            gap,
        }))
    }

    fn skip_overdue(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let backfill = SignedDuration::try_from(self.limits.backfill).unwrap_or(SignedDuration::MAX);
        let sites = self.tracks.len().max(1) as u64;
        let backlog = Backlog {
            since: now.saturating_sub(backfill).unwrap_or(Timestamp::MIN),
            max: (self.limits.max_backlog / sites).clamp(1, MAX_BACKLOG_OF_SITE),
        };
        let skipped = self.planner.skip_overdue(now, backlog);
        if skipped.is_empty() {
            return;
        }
        log::warn!(
            sites = skipped.len(), instants = skipped.iter().map(|skipped| skipped.instants).sum::<u64>();
            "the checker was down or stood still for longer than is made up for: gaps are recorded"
        );
        for skipped in skipped {
            let gap = Gap {
                from: skipped.from,
                to: skipped.to,
                instants: skipped.instants,
                reason: GapReason::CheckerDown,
            };
            if let Some(track) = self.tracks.get_mut(&skipped.item.key) {
                track.open(gap.from, Kind::Gap(gap.clone()));
                // Later than anything left out, and earlier than what is handed out next.
                track.handed_out_until = gap.to.map_or(whole_second(now), |to| to - SECOND);
                track.next = gap.to;
            }
            steps.push(self.gap(&skipped.item.key, gap));
        }
    }

    /// Starts the plan anew if the clock was set back by much.
    fn follow_clock(&mut self, now: Timestamp) -> Vec<Step> {
        if self.latest.duration_since(now) <= SET_BACK {
            self.latest = self.latest.max(now);
            return Vec::new();
        }
        log::warn!(from = self.latest.to_string(), to = now.to_string(); "the clock was set back: planning anew");
        self.latest = now;
        let entries = self.tracks.iter().map(|(key, track)| Entry {
            key: key.clone(),
            schedule: track.schedule.clone(),
            item: Arc::clone(&track.site),
        });
        self.planner = Planner::new(entries, now);
        // What was to start at a time that is no longer near starts now.
        for Reverse(delayed) in std::mem::take(&mut self.delayed) {
            self.delayed.push(Reverse(Delayed { start_at: now, ..delayed }));
        }
        let mut steps = Vec::with_capacity(2 * self.tracks.len());
        for (site, track) in &mut self.tracks {
            track.handed_out_until = whole_second(now);
            track.next = track.schedule.next_after(now);
            track.noted = None;
            track.open(now, Kind::Begin);
            steps.push(Step::Retire { site: site.clone() });
            steps.push(Step::Begin { site: site.clone(), at: now });
        }
        steps
    }
}

/// The schedule a watermark speaks of. None when it has no instant after the mark, or cannot be read.
fn earlier_schedule(mark: &Watermark, parsed: &mut HashMap<(String, String), Schedule>) -> Option<Schedule> {
    let name = (mark.expression.clone(), mark.timezone.clone());
    if let Some(schedule) = parsed.get(&name) {
        return Some(schedule.clone());
    }
    match Schedule::new_at(&mark.expression, &mark.timezone, mark.until) {
        Ok(schedule) => {
            parsed.insert(name, schedule.clone());
            Some(schedule)
        }
        Err(error) => {
            log::warn!(site = mark.site, error = error.to_string(); "a site's former schedule cannot be followed up");
            None
        }
    }
}

/// The last whole second up to `instant`.
fn whole_second(instant: Timestamp) -> Timestamp {
    let second = instant.as_second() - i64::from(instant.subsec_nanosecond() < 0);
    Timestamp::from_second(second).unwrap_or(instant)
}

/// A maintenance, and the stretch of time asked about last.
#[derive(Debug)]
struct Window {
    maintenance: Maintenance,
    known: (Timestamp, Timestamp, bool),
}

impl Window {
    fn new(maintenance: Maintenance) -> Window {
        Window { maintenance, known: (Timestamp::MAX, Timestamp::MAX, false) }
    }

    fn covers(&mut self, site: &Site, instant: Timestamp) -> bool {
        if !(self.known.0..self.known.1).contains(&instant) {
            self.known = self.maintenance.stretch_at(instant);
        }
        self.known.2 && self.maintenance.applies_to(site)
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Delayed) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Delayed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Delayed) -> std::cmp::Ordering {
        (self.start_at, self.due.scheduled_at).cmp(&(other.start_at, other.due.scheduled_at))
    }
}
