//! Plans instants ahead and hands out each one once. It has no clock: the caller says what time it is.

use std::cmp::Reverse;
use std::collections::hash_map;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Schedule;

/// How far ahead [`Planner::plan`] plans: two planning ticks of 5 s and some more, so that one may fail.
pub const HORIZON: SignedDuration = SignedDuration::from_secs(12);
/// The most instants that [`Planner::take_due`] hands out at once.
pub const BATCH: usize = 4_096;
/// The most instants of a schedule planned at once, even if the clock has jumped: [`HORIZON`] with one per second.
const MAX_PLANNED: usize = 14;

/// Something to do at the instants of a schedule.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// Identifies the entry when the entries are replaced. It should be unique among them.
    pub key: String,
    /// When it is due.
    pub schedule: Schedule,
    /// What is handed out.
    pub item: Arc<T>,
}

/// An entry's instant that has come.
#[derive(Debug)]
pub struct Due<T> {
    /// The entry's item.
    pub item: Arc<T>,
    /// The instant, a whole second. The receiver judges how late it is.
    pub scheduled_at: Timestamp,
    /// The schedule's next instant. None if it has ended.
    pub next_at: Option<Timestamp>,
}

impl<T> Clone for Due<T> {
    fn clone(&self) -> Self {
        Due { item: Arc::clone(&self.item), ..*self }
    }
}

/// A stretch of instants of an entry that were not handed out, because there were too many to make up for.
#[derive(Debug)]
pub struct Skipped<T> {
    /// The entry's item.
    pub item: Arc<T>,
    /// The first of them.
    pub from: Timestamp,
    /// The first instant after them, which will be handed out. None if the schedule has ended.
    pub to: Option<Timestamp>,
    /// How many there are; at least 1.
    pub instants: u64,
}

/// How much may be made up for. Instants before `since`, and more than `max` instants per entry, are skipped, the
/// oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// The oldest instant to hand out.
    pub since: Timestamp,
    /// The most instants of one entry that are handed out late. It may be fewer, because the stretch is halved until it
    /// holds no more than this.
    pub max: u64,
}

/// Hands out each instant of each entry exactly once and in order of time, whichever way the clock jumps. It hands out
/// the instants that the clock jumped over, and repeats none that the clock passes a second time.
///
/// Entries with the same schedule at the same point share one cursor, so thousands of them need only one search for an
/// instant.
///
/// ```
/// use std::sync::Arc;
/// use jiff::Timestamp;
/// use webmon::schedule::{Entry, Planner, Schedule};
///
/// let at = |second| Timestamp::from_second(second).unwrap();
/// let schedule = Schedule::new("@every 10s", "UTC")?;
/// let mut planner = Planner::new([Entry { key: "shop".into(), schedule, item: Arc::new("shop") }], at(5));
/// planner.plan(at(5));
/// assert!(planner.take_due(at(9)).is_empty());
/// let due = planner.take_due(at(21));
/// assert_eq!(due.iter().map(|due| due.scheduled_at).collect::<Vec<_>>(), [at(10), at(20)]);
/// assert_eq!(due[1].next_at, Some(at(30)));
/// # Ok::<(), webmon::schedule::ScheduleError>(())
/// ```
#[derive(Debug)]
pub struct Planner<T> {
    cursors: Vec<Cursor<T>>,
    /// The next instant of each cursor that has one, as an index into `cursors`.
    queue: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

/// A schedule's place in time, shared by the entries that are there.
#[derive(Debug)]
struct Cursor<T> {
    schedule: Schedule,
    /// The last instant to hand out, for entries that were removed after it.
    until: Timestamp,
    /// Successive instants. The first is the next to hand out. Empty if there are no more.
    planned: VecDeque<Timestamp>,
    entries: Vec<(String, Arc<T>)>,
    /// For how many of the entries the first planned instant was handed out already.
    handed_out: usize,
}

impl<T> Cursor<T> {
    fn new(schedule: Schedule, next: Option<Timestamp>, until: Timestamp) -> Cursor<T> {
        Cursor { schedule, until, planned: next.into_iter().collect(), entries: Vec::new(), handed_out: 0 }
    }

    /// The next instant to hand out.
    fn next(&self) -> Option<Timestamp> {
        self.planned.front().copied().filter(|next| *next <= self.until)
    }

    /// The instant after the next.
    fn second_next(&mut self) -> Option<Timestamp> {
        if self.planned.len() == 1 {
            self.extend();
        }
        self.planned.get(1).copied()
    }

    /// Moves on to the first instant that `backlog` allows. Returns the stretch that was left out, and how many
    /// instants it has.
    fn skip_overdue(
        &mut self,
        now: Timestamp,
        backlog: Backlog,
    ) -> Option<(Timestamp, Option<Timestamp>, u64)> {
        let from = self.next().filter(|next| *next <= now)?;
        let last = now.min(self.until).as_second();
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        let since = backlog.since.max(from);
        let since = since.as_second() + i64::from(since.subsec_nanosecond() > 0);
        // The instants in `(last - window, last]` are kept.
        let mut window = (last - since + 1).max(0);
        while window > 0 && self.schedule.count(at(last - window + 1), at(last + 1)) > backlog.max {
            window /= 2;
        }
        let to = self.schedule.next_after(at(last - window));
        if to == Some(from) {
            return None;
        }
        let instants = self.schedule.count(from, to.unwrap_or(at(last + 1)));
        self.planned = to.into_iter().collect();
        Some((from, to, instants))
    }

    /// Plans one more instant. Returns false if there is none.
    fn extend(&mut self) -> bool {
        let next = self.planned.back().and_then(|last| self.schedule.next_after(*last));
        self.planned.extend(next);
        next.is_some()
    }
}

impl<T> Planner<T> {
    /// Plans the instants of `entries` strictly after `start`.
    pub fn new(entries: impl IntoIterator<Item = Entry<T>>, start: Timestamp) -> Planner<T> {
        let mut planner = Planner { cursors: Vec::new(), queue: BinaryHeap::new() };
        planner.replace(entries, start);
        planner
    }

    /// Plans ahead up to `now` + [`HORIZON`], so that no search is needed when an instant comes. Nothing is lost
    /// without it: what is not planned is found when it is asked for.
    pub fn plan(&mut self, now: Timestamp) {
        let horizon = now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
        for cursor in &mut self.cursors {
            while cursor.planned.len() < MAX_PLANNED
                && cursor.planned.back().is_some_and(|last| *last < horizon.min(cursor.until))
                && cursor.extend()
            {}
        }
    }

    /// The last instant planned so far, of all schedules.
    #[cfg(test)]
    pub(super) fn planned_until(&self) -> Option<Timestamp> {
        self.cursors.iter().filter_map(|cursor| cursor.planned.back().copied()).max()
    }

    /// The next instant to hand out.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse((next, _))| *next)
    }

    /// Hands out what is due at `now`, in order of time, at most [`BATCH`] instants at once. Call it until it returns
    /// nothing.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Due<T>> {
        let mut due = Vec::new();
        while let Some(&Reverse((scheduled_at, index))) = self.queue.peek() {
            if scheduled_at > now || due.len() == BATCH {
                break;
            }
            let cursor = &mut self.cursors[index];
            let next_at = cursor.second_next();
            let rest = &cursor.entries[cursor.handed_out..];
            let taken = rest.len().min(BATCH - due.len());
            due.extend(rest[..taken].iter().map(|(_, item)| Due {
                item: Arc::clone(item),
                scheduled_at,
                next_at,
            }));
            cursor.handed_out += taken;
            if cursor.handed_out == cursor.entries.len() {
                cursor.handed_out = 0;
                cursor.planned.pop_front();
                self.queue.pop();
                self.queue.extend(cursor.next().map(|next| Reverse((next, index))));
            }
        }
        due
    }

    /// Adds entries that were planned before, each with the instants strictly after its own time. Instants since then
    /// are overdue. Use it only if the planner has no entries with these keys.
    #[allow(clippy::mutable_key_type)] // a schedule's cached interval is no part of its hash
    pub fn resume(&mut self, entries: impl IntoIterator<Item = (Entry<T>, Timestamp)>) {
        let mut places = Places::default();
        let mut nexts: HashMap<(Schedule, Timestamp), Option<Timestamp>> = HashMap::new();
        for (Entry { key, schedule, item }, after) in entries {
            let next = nexts.entry((schedule.clone(), after)).or_insert_with(|| schedule.next_after(after));
            places.put(&schedule, *next, Timestamp::MAX, key, item);
        }
        self.cursors.extend(places.cursors);
        self.queue_all();
    }

    /// Skips, for each entry, overdue instants at `now` that are more than `backlog` allows. So hours of a stopped
    /// clock cost some steps per schedule, not one per instant. Cursors whose next instant is partly handed out are
    /// left for the next call.
    pub fn skip_overdue(&mut self, now: Timestamp, backlog: Backlog) -> Vec<Skipped<T>> {
        let mut skipped = Vec::new();
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.handed_out == 0) {
            let Some((from, to, instants)) = cursor.skip_overdue(now, backlog) else { continue };
            let items = cursor.entries.iter().map(|(_, item)| Arc::clone(item));
            skipped.extend(items.map(|item| Skipped { item, from, to, instants }));
        }
        if !skipped.is_empty() {
            self.queue_all();
        }
        skipped
    }

    fn queue_all(&mut self) {
        self.queue.clear();
        let next = |(index, cursor): (usize, &Cursor<T>)| cursor.next().map(|next| Reverse((next, index)));
        self.queue.extend(self.cursors.iter().enumerate().filter_map(next));
    }

    /// Replaces the entries at `now`. An entry whose key and schedule stay the same goes on where it is. A new or
    /// rescheduled entry gets the instants after `now`. An entry that is gone, or had another schedule, still gets
    /// those up to `now` that were not handed out yet. So nothing is lost or handed out twice, whatever is still due.
    /// (An entry that is removed and added again later is a new one.)
    #[allow(clippy::mutable_key_type)] // a schedule's cached interval is no part of its hash
    pub fn replace(&mut self, entries: impl IntoIterator<Item = Entry<T>>, now: Timestamp) {
        let mut places = Places::default();
        let mut known: HashMap<String, (Schedule, Option<Timestamp>, Arc<T>)> = HashMap::new();
        for mut cursor in std::mem::take(&mut self.cursors) {
            let (next, second_next) = (cursor.next(), cursor.second_next());
            for (i, (key, item)) in cursor.entries.into_iter().enumerate() {
                let next = if i < cursor.handed_out { second_next } else { next };
                if cursor.until < Timestamp::MAX {
                    places.put(&cursor.schedule, next, cursor.until, key, item);
                } else {
                    known.insert(key, (cursor.schedule.clone(), next, item));
                }
            }
        }
        let mut first_after_now: HashMap<Schedule, Option<Timestamp>> = HashMap::new();
        for Entry { key, schedule, item } in entries {
            let next = match known.get(&key) {
                Some((same, next, _)) if *same == schedule => {
                    let next = *next;
                    known.remove(&key);
                    next
                }
                _ => *first_after_now.entry(schedule.clone()).or_insert_with(|| schedule.next_after(now)),
            };
            places.put(&schedule, next, Timestamp::MAX, key, item);
        }
        for (key, (schedule, next, item)) in known {
            places.put(&schedule, next, now, key, item);
        }
        self.cursors = places.cursors;
        self.queue_all();
    }
}

/// Groups entries into cursors by schedule, next instant and last instant.
struct Places<T> {
    cursors: Vec<Cursor<T>>,
    index: HashMap<(Schedule, Option<Timestamp>, Timestamp), usize>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Places { cursors: Vec::new(), index: HashMap::new() }
    }
}

impl<T> Places<T> {
    fn put(
        &mut self,
        schedule: &Schedule,
        next: Option<Timestamp>,
        until: Timestamp,
        key: String,
        item: Arc<T>,
    ) {
        if until < Timestamp::MAX && next.is_none_or(|next| next > until) {
            return; // gone, and given all it is due
        }
        let index = match self.index.entry((schedule.clone(), next, until)) {
            hash_map::Entry::Occupied(known) => *known.get(),
            hash_map::Entry::Vacant(new) => {
                self.cursors.push(Cursor::new(schedule.clone(), next, until));
                *new.insert(self.cursors.len() - 1)
            }
        };
        self.cursors[index].entries.push((key, item));
    }
}
