//! The accounting as a state machine: no clock, no thread, no I/O. What it is told, and when, decides everything.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::changes::Changes;
use super::delayed::Delayed;
use super::former::FormerSchedules;
use super::limits::Limits;
use super::records::Records;
use super::step::Step;
use super::track::{Owed, Track};
use super::watermark::Watermark;
use super::window::Windows;
use crate::record::{ErrorType, Gap, GapReason};
use crate::schedule::{BATCH, Backlog, Due, Entry, Planner, whole_second};
use crate::site::{Origin, Site};

/// What is overdue by no more than this is handed out, however many instants it is.
const OVERDUE: SignedDuration = SignedDuration::from_secs(10);
/// A clock set back by more makes the plan start again at the time that it now shows; else nothing would be checked for
/// as long. Instants that come by a second time are recorded a second time, and the better result is kept.
const SET_BACK: SignedDuration = SignedDuration::from_secs(60);
/// The most instants of a site that are recorded late, one by one.
const MAX_BACKLOG_OF_SITE: u64 = 3_600;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

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
/// account.reload([Arc::new(site)], at(1_000));
/// assert!(account.take_due(at(1_009)).is_empty());
/// let steps = account.take_due(at(1_031)); // 20 s late
/// assert!(matches!(&steps[..], [Step::Record(_), Step::Record(_), Step::Check(due)] if due.scheduled_at == at(1_030)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Account {
    records: Records,
    limits: Limits,
    /// Instants up to here came while there was no checker.
    begun_at: Timestamp,
    /// The latest time seen, as far as it is believed.
    latest: Timestamp,
    planner: Planner<Site>,
    tracks: HashMap<String, Track>,
    /// What waits for its start, which the site's spread delays.
    delayed: BinaryHeap<Reverse<Delayed>>,
    windows: Windows,
}

impl Account {
    /// An account of no sites, begun at `now`.
    pub fn new(origin: Origin, limits: Limits, now: Timestamp) -> Account {
        Account {
            records: Records(origin),
            limits,
            begun_at: now,
            latest: now,
            planner: Planner::new([], now),
            tracks: HashMap::new(),
            delayed: BinaryHeap::new(),
            windows: Windows::default(),
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
    ) -> Vec<Step> {
        let believed = self.latest + SET_BACK;
        let watermarks: Vec<Watermark> = watermarks.into_iter().collect();
        let newest = watermarks.iter().map(|mark| mark.until).filter(|until| *until <= believed).max();
        // A clock set back a little: what was handed out is not handed out again.
        let now = newest.map_or(self.latest, |newest| self.latest.max(newest));
        self.latest = now;
        let sites: HashMap<&str, &Arc<Site>> = sites.iter().map(|site| (site.key.as_str(), site)).collect();
        let mut former = FormerSchedules::default();
        let (mut steps, mut entries) = (Vec::new(), Vec::new());
        for mark in watermarks {
            let site = sites.get(mark.site.as_str()).copied();
            let schedule = former.of(&mark, site.map(AsRef::as_ref));
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
                            steps.push(self.records.gap(&mark.site, gap));
                        }
                        steps.extend(self.records.taken_back(&mark.site, to, None));
                    }
                    steps.push(Step::Retire { site: mark.site });
                }
                // It had no instant to come, or cannot be read any more: the site starts again.
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
        self.windows = Windows::default();
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
                    track.open(now, Owed::Begin);
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
            match &open.owed {
                Owed::Row(next_at) => {
                    let due = Due { item: Arc::clone(&track.site), scheduled_at: open.at, next_at: *next_at };
                    let message = "the site's schedule was changed before the check ended";
                    steps.push(self.records.missed(&due, ErrorType::Cancelled, Some("rescheduled"), message));
                }
                Owed::Gap(gap) => steps.push(self.records.gap(&track.site.key, gap.clone())),
                Owed::Begin => {}
            }
        }
        steps.extend(self.records.taken_back(&track.site.key, track.next, next));
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
                    track.open(due.scheduled_at, Owed::Row(due.next_at));
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
        self.tracks.get_mut(site)?.settle(at)
    }

    /// Checks, records as missed, or delays.
    fn decide(&mut self, due: Due<Site>, now: Timestamp) -> Option<Step> {
        if self.windows.cover(&due.item, due.scheduled_at) {
            return Some(self.records.missed(
                &due,
                ErrorType::Maintenance,
                None,
                "the site is under maintenance",
            ));
        }
        let spread = SignedDuration::try_from(due.item.start_offset()).unwrap_or(SignedDuration::ZERO);
        let start_at = due.scheduled_at + spread;
        if due.next_at.is_some_and(|next_at| next_at + spread <= now) {
            return Some(self.overdue(&due, Some("superseded"), "the site's next instant had come as well"));
        }
        let lateness = now.duration_since(start_at);
        if lateness > SignedDuration::try_from(self.limits.max_lateness).unwrap_or(SignedDuration::MAX) {
            let allowed = self.limits.max_lateness.as_millis();
            let message = format!("{} ms late: at most {allowed} ms are allowed", lateness.as_millis());
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
            self.records.missed(due, ErrorType::CheckerDown, None, "the checker was not running")
        } else {
            self.records.missed(due, ErrorType::Late, detail, message)
        }
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
                track.open(gap.from, Owed::Gap(gap.clone()));
                // Later than anything left out, and earlier than what is handed out next.
                track.handed_out_until = gap.to.map_or(whole_second(now), |to| to - SECOND);
                track.next = gap.to;
            }
            steps.push(self.records.gap(&skipped.item.key, gap));
        }
    }

    /// Starts the plan again if the clock was set back by much.
    fn follow_clock(&mut self, now: Timestamp) -> Vec<Step> {
        if self.latest.duration_since(now) <= SET_BACK {
            self.latest = self.latest.max(now);
            return Vec::new();
        }
        log::warn!(from = self.latest.to_string(), to = now.to_string(); "the clock was set back: the plan starts again");
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
            track.open(now, Owed::Begin);
            steps.push(Step::Retire { site: site.clone() });
            steps.push(Step::Begin { site: site.clone(), at: now });
        }
        steps
    }
}
