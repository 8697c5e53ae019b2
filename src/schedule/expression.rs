//! A schedule: a cron expression in a time zone, and its instants.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use croner::errors::CronError;
use croner::parser::CronParser;
use croner::{Cron, JobType};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{count, interval};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 200;
/// The longest period of `@every`.
pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 86_400);

/// When to check: a cron expression in a time zone. It is cheap to clone. Two schedules are equal if expression and
/// zone are.
///
/// See the [module](super) for the syntax and for what happens when the clock changes.
///
/// ```
/// use jiff::Timestamp;
/// use webmon::schedule::Schedule;
///
/// let schedule = Schedule::new("30 9 * * MON-FRI", "Europe/Berlin")?;
/// let friday: Timestamp = "2026-03-27T12:00:00Z".parse()?;
/// // The clock changed on Sunday: 9:30 is an hour earlier in UTC.
/// assert_eq!(schedule.next_after(friday), Some("2026-03-30T07:30:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Schedule(Arc<Inner>);

struct Inner {
    expression: String,
    timezone: String,
    zone: TimeZone,
    rhythm: Rhythm,
    /// The time from which on `shortest_interval` looks.
    since: Timestamp,
    shortest_interval: OnceLock<Duration>,
}

enum Rhythm {
    /// Every so many seconds since the Unix epoch.
    Every(i64),
    Cron {
        cron: Box<Cron>,
        /// Whether it is one time of day and not a rhythm. This decides what a change of the clock does.
        time_of_day: bool,
    },
}

/// Why an expression and a zone are not a schedule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The expression is longer than [`MAX_EXPRESSION`].
    #[error("schedule is {length} bytes long: expected at most {MAX_EXPRESSION}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The expression has neither 5 nor 6 nor 7 fields.
    #[error(
        "schedule {expression:?} has {fields} fields: expected 5 (minute hour day month weekday), 6 (second first) \
         or 7 (year last), or one such as \"@hourly\" or \"@every 90s\""
    )]
    Fields {
        /// The expression.
        expression: String,
        /// The number of its fields.
        fields: usize,
    },
    /// A field of the expression cannot be read.
    #[error("schedule {expression:?}: {field} {value:?} is not valid: expected {expected}")]
    Field {
        /// The expression.
        expression: String,
        /// The field's name.
        field: &'static str,
        /// The field as written.
        value: String,
        /// What the field may hold.
        expected: &'static str,
        /// What the parser says; none for a name in the wrong field.
        source: Option<CronError>,
    },
    /// The expression starts with `@` and a word that is not known.
    #[error(
        "schedule {expression:?} is not known: expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, \
         @annually, or @every with a period"
    )]
    ShortForm {
        /// The expression.
        expression: String,
    },
    /// The period of `@every` cannot be read or is out of range.
    #[error(
        "schedule {expression:?}: expected a period from 1s to 366d in the units d, h, m, s, the larger first, \
         such as \"@every 90s\" or \"@every 1h30m\""
    )]
    Period {
        /// The expression.
        expression: String,
    },
    /// The zone is not in the IANA time zone database.
    #[error(
        "timezone {timezone:?} is not known: expected an IANA name such as \"Europe/Berlin\", or \"UTC\""
    )]
    Timezone {
        /// The zone.
        timezone: String,
    },
    /// The schedule has no instant after the one it was parsed for.
    #[error(
        "schedule {expression:?} never fires after {after}: expected a date that exists and a year to come"
    )]
    NeverFires {
        /// The expression.
        expression: String,
        /// The instant after which there is none.
        after: Timestamp,
    },
}

impl Schedule {
    /// Reads `expression` in `timezone`, an IANA name or `UTC`. The parsed form takes about 6 KB, so many sites with
    /// few expressions should share schedules through [`Schedules`].
    ///
    /// # Errors
    ///
    /// Any [`ScheduleError`]. A schedule without a future instant is an error too.
    pub fn new(expression: &str, timezone: &str) -> Result<Schedule, ScheduleError> {
        Schedule::new_at(expression, timezone, Timestamp::now())
    }

    /// Like [`Schedule::new`], but for a schedule that must fire after `now`, such as one in force in the past.
    ///
    /// # Errors
    ///
    /// As [`Schedule::new`].
    pub fn new_at(expression: &str, timezone: &str, now: Timestamp) -> Result<Schedule, ScheduleError> {
        if expression.len() > MAX_EXPRESSION {
            return Err(ScheduleError::TooLong { length: expression.len() });
        }
        let words: Vec<&str> = expression.split_whitespace().collect();
        let expression = words.join(" ");
        let rhythm = Rhythm::parse(&expression, &words)?;
        let unknown = || ScheduleError::Timezone { timezone: timezone.to_owned() };
        let zone = TimeZone::get(timezone).map_err(|_| unknown())?;
        let timezone = zone.iana_name().ok_or_else(unknown)?.to_owned();
        let shortest_interval = OnceLock::new();
        let inner = Inner { expression, timezone, zone, rhythm, since: now, shortest_interval };
        let schedule = Schedule(Arc::new(inner));
        if schedule.next_after(now).is_none() {
            let expression = schedule.0.expression.clone();
            return Err(ScheduleError::NeverFires { expression, after: whole_second(now) });
        }
        Ok(schedule)
    }

    /// The expression as written, with single spaces.
    pub fn expression(&self) -> &str {
        &self.0.expression
    }

    /// The zone's IANA name.
    pub fn timezone(&self) -> &str {
        &self.0.timezone
    }

    /// The first instant strictly after `after`, a whole second. None if the schedule has ended because its years are
    /// over.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = whole_second(after);
        match &self.0.rhythm {
            Rhythm::Every(period) => {
                Timestamp::from_second((after.as_second().div_euclid(*period) + 1) * period).ok()
            }
            Rhythm::Cron { cron, time_of_day } => next_on_the_clock(cron, *time_of_day, &self.0.zone, after),
        }
    }

    /// How many instants are in `[from, to)`; 0 if `to` is not later. They are counted by the calendar, in some
    /// microseconds for each month, however many there are.
    ///
    /// ```
    /// use jiff::Timestamp;
    /// use webmon::schedule::Schedule;
    ///
    /// let schedule = Schedule::new("* * * * * *", "Europe/Berlin")?;
    /// let (from, to): (Timestamp, Timestamp) = ("2026-01-01T00:00:00Z".parse()?, "2027-01-01T00:00:00Z".parse()?);
    /// assert_eq!(schedule.count(from, to), 365 * 86_400);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self, from: Timestamp, to: Timestamp) -> u64 {
        // The first whole second at or after the instant.
        let ceil = |instant: Timestamp| {
            let second = whole_second(instant);
            if second == instant {
                second
            } else {
                Timestamp::from_second(second.as_second() + 1).unwrap_or(instant)
            }
        };
        let (from, to) = (ceil(from), ceil(to));
        if from >= to {
            return 0;
        }
        match &self.0.rhythm {
            Rhythm::Every(period) => {
                let before = |instant: Timestamp| (instant.as_second() - 1).div_euclid(*period);
                (before(to) - before(from)).unsigned_abs()
            }
            Rhythm::Cron { cron, time_of_day: false } => count::rhythm(cron, &self.0.zone, from, to),
            Rhythm::Cron { time_of_day: true, .. } => {
                // There is at most one per day.
                let first =
                    self.next_after(from.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(from));
                std::iter::successors(first, |last| self.next_after(*last))
                    .take_while(|instant| *instant < to)
                    .count() as u64
            }
        }
    }

    /// The shortest elapsed time between two successive instants.
    ///
    /// It is exact for `@every`. For a cron expression, no two instants of the 28 years after it was parsed are closer,
    /// changes of the clock included (in that time every date meets every weekday). It is exact too, unless only dates
    /// that are days apart *and* have the end of summer time between them come that close. Then it may be shorter by
    /// that shift. [`Duration::MAX`] if there are no two instants.
    ///
    /// The first call takes up to some milliseconds; the clones of a schedule share the answer.
    pub fn shortest_interval(&self) -> Duration {
        *self.0.shortest_interval.get_or_init(|| match &self.0.rhythm {
            Rhythm::Every(period) => Duration::from_secs(period.unsigned_abs()),
            Rhythm::Cron { cron, .. } => {
                interval::shortest(&|after| self.next_after(after), cron, &self.0.zone, self.0.since)
            }
        })
    }
}

/// The last whole second up to `instant`, before 1970 too.
pub(crate) fn whole_second(instant: Timestamp) -> Timestamp {
    let second = instant.as_second() - i64::from(instant.subsec_nanosecond() < 0);
    Timestamp::from_second(second).unwrap_or(Timestamp::MIN)
}

/// At any instant, wall clocks differ by less than this. So no change moves a clock further.
const WIDEST_CHANGE: SignedDuration = SignedDuration::from_hours(72);

/// The first instant after `after`.
///
/// Between two changes of a zone's offset its wall clock runs evenly, so there croner searches a plain calendar. What a
/// change means is decided here. Croner's own search through a zone gives up in a gap of more than two hours (Samoa
/// skipped a day) and tries every second of a gap.
fn next_on_the_clock(cron: &Cron, time_of_day: bool, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let (mut from, mut inclusive) = (after, false);
    loop {
        let offset = zone.to_offset(from);
        let wall = cron.find_next_occurrence(&offset.to_datetime(from), inclusive).ok();
        let instant = wall.and_then(|wall| offset.to_timestamp(wall).ok());
        let Some(change) = zone.following(from).next() else { return instant };
        let change_at = change.timestamp();
        match (wall, instant) {
            (Some(wall), Some(instant)) if instant < change_at => {
                if !time_of_day || is_first_showing(zone, wall, instant) {
                    return Some(instant);
                }
                (from, inclusive) = (instant, false);
                continue;
            }
            (_, Some(instant)) if time_of_day && instant < change_at + skipped(offset, change.offset()) => {
                return Some(change_at);
            }
            _ => {}
        }
        // Goes on to the next offset. A change that is further away than any clock is set back shows no time before
        // `instant` again. Without such a time there is no instant; else the years until then can be skipped.
        let mut next = change_at;
        if change_at.duration_since(from) > WIDEST_CHANGE {
            next = next.max(instant? - WIDEST_CHANGE);
        }
        (from, inclusive) = (next, true);
    }
}

/// Whether `instant` is the first at which the zone's clock shows `wall`.
fn is_first_showing(zone: &TimeZone, wall: DateTime, instant: Timestamp) -> bool {
    zone.to_ambiguous_timestamp(wall).earlier().is_ok_and(|earlier| earlier == instant)
}

/// How much of the wall clock a change from one offset to another leaves out; zero if the clock goes back.
fn skipped(from: Offset, to: Offset) -> SignedDuration {
    SignedDuration::from_secs(i64::from(to.seconds() - from.seconds()).max(0))
}

/// A field of an expression: its name, what it may hold, and the words it knows.
struct Field {
    name: &'static str,
    expected: &'static str,
    words: &'static [&'static str],
}

const FIELDS: [Field; 7] = [
    Field { name: "second", expected: "0-59 with * , - /", words: &[] },
    Field { name: "minute", expected: "0-59 with * , - /", words: &[] },
    Field { name: "hour", expected: "0-23 with * , - /", words: &[] },
    Field { name: "day of month", expected: "1-31 with * , - / L W", words: &["L", "W", "LW"] },
    Field {
        name: "month",
        expected: "1-12 or JAN-DEC with * , - /",
        words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field {
        name: "day of week",
        expected: "0-7 or SUN-SAT with * , - / L # +",
        words: &[
            "L", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUNL", "MONL", "TUEL", "WEDL", "THUL",
            "FRIL", "SATL",
        ],
    },
    Field { name: "year", expected: "1-5000 with * , - /", words: &[] },
];

impl Field {
    /// Whether `value` is a list without empty elements whose words are this field's. The parser accepts names in any
    /// field (`0 0 * MON *` would mean January) and drops empty elements.
    fn admits(&self, value: &str) -> bool {
        let mut words = value.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        words.all(|word| self.words.iter().any(|known| known.eq_ignore_ascii_case(word)))
            && value.trim_start_matches('+').split(',').all(|element| !element.is_empty())
    }
}

impl Rhythm {
    /// Reads an expression given as a whole and as its words.
    fn parse(expression: &str, words: &[&str]) -> Result<Rhythm, ScheduleError> {
        match words {
            [every, period] if every.eq_ignore_ascii_case("@every") => period_seconds(period)
                .map(Rhythm::Every)
                .ok_or_else(|| ScheduleError::Period { expression: expression.to_owned() }),
            [short, ..] if short.starts_with('@') => match expression.to_ascii_lowercase().as_str() {
                "@hourly" => Rhythm::cron(expression, &["0", "0", "*", "*", "*", "*", "*"]),
                "@daily" | "@midnight" => Rhythm::cron(expression, &["0", "0", "0", "*", "*", "*", "*"]),
                "@weekly" => Rhythm::cron(expression, &["0", "0", "0", "*", "*", "0", "*"]),
                "@monthly" => Rhythm::cron(expression, &["0", "0", "0", "1", "*", "*", "*"]),
                "@yearly" | "@annually" => Rhythm::cron(expression, &["0", "0", "0", "1", "1", "*", "*"]),
                every if every.starts_with("@every") => {
                    Err(ScheduleError::Period { expression: expression.to_owned() })
                }
                _ => Err(ScheduleError::ShortForm { expression: expression.to_owned() }),
            },
            [_, _, _, _, _] => Rhythm::cron(expression, &[&["0"], words, &["*"]].concat()),
            [_, _, _, _, _, _] => Rhythm::cron(expression, &[words, &["*"]].concat()),
            [_, _, _, _, _, _, _] => Rhythm::cron(expression, words),
            _ => Err(ScheduleError::Fields { expression: expression.to_owned(), fields: words.len() }),
        }
    }

    /// Reads all seven fields of an expression.
    fn cron(expression: &str, fields: &[&str]) -> Result<Rhythm, ScheduleError> {
        let invalid = |i: usize, source| ScheduleError::Field {
            expression: expression.to_owned(),
            field: FIELDS[i].name,
            value: fields[i].to_owned(),
            expected: FIELDS[i].expected,
            source,
        };
        if let Some(i) = (0..FIELDS.len()).find(|&i| !FIELDS[i].admits(fields[i])) {
            return Err(invalid(i, None));
        }
        let parser = CronParser::new();
        let cron = parser.parse(&fields.join(" ")).map_err(|error| {
            // The parser does not say which field it is, so try each with the others open.
            let refused = |&i: &usize| {
                let mut open = ["*"; FIELDS.len()];
                open[i] = fields[i];
                parser.parse(&open.join(" ")).is_err()
            };
            invalid((0..FIELDS.len()).find(refused).unwrap_or(0), Some(error))
        })?;
        let time_of_day = cron.determine_job_type() == JobType::FixedTime;
        Ok(Rhythm::Cron { cron: Box::new(cron), time_of_day })
    }
}

/// The period of `@every` in seconds: numbers with the units d, h, m and s, each at most once, the larger first.
fn period_seconds(period: &str) -> Option<i64> {
    let mut rest = period;
    let mut total: u64 = 0;
    let mut larger = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        if unit >= larger {
            return None;
        }
        larger = unit;
        total = total.checked_add(rest[..digits].parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    i64::try_from(total).ok().filter(|_| (1..=MAX_PERIOD.as_secs()).contains(&total))
}

/// Parses each schedule once: equal expressions in the same zone share one [`Schedule`]. Errors are not kept, and it
/// may take 25 ms to find that an expression never fires.
///
/// ```
/// use webmon::schedule::Schedules;
///
/// let mut schedules = Schedules::default();
/// let (a, b) = (schedules.get("@every 30s", "UTC")?, schedules.get("@every 30s", "UTC")?);
/// assert_eq!(a, b);
/// # Ok::<(), webmon::schedule::ScheduleError>(())
/// ```
#[derive(Debug, Default)]
pub struct Schedules(HashMap<String, HashMap<String, Schedule>>);

impl Schedules {
    /// The schedule of `expression` in `timezone`, which is parsed if it is new.
    ///
    /// # Errors
    ///
    /// As [`Schedule::new`].
    pub fn get(&mut self, expression: &str, timezone: &str) -> Result<Schedule, ScheduleError> {
        if let Some(schedule) = self.0.get(timezone).and_then(|zone| zone.get(expression)) {
            return Ok(schedule.clone());
        }
        let schedule = Schedule::new(expression, timezone)?;
        self.0.entry(timezone.to_owned()).or_default().insert(expression.to_owned(), schedule.clone());
        Ok(schedule)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.expression == other.0.expression && self.0.timezone == other.0.timezone)
    }
}

impl Eq for Schedule {}

impl Hash for Schedule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expression.hash(state);
        self.0.timezone.hash(state);
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.0.expression, self.0.timezone)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?}, {:?})", self.0.expression, self.0.timezone)
    }
}
