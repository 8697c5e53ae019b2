//! When to check: cron schedules, the planner that turns them into instants, and the scheduler that fires them.
//!
//! # Expressions
//!
//! | expression | meaning |
//! |---|---|
//! | `*/5 * * * *` | 5 fields: minute, hour, day of month, month, day of week |
//! | `*/30 * * * * *` | 6 fields: the second comes first |
//! | `0 0 9 1 1 * 2030-2035` | 7 fields: the year comes last, 1 to 5000 |
//! | `@hourly` `@daily` `@midnight` `@weekly` `@monthly` `@yearly` `@annually` | the usual short forms |
//! | `@every 90s`, `@every 1h30m` | a fixed period from 1 s to 366 d, counted from the Unix epoch, in any zone |
//!
//! Fields take `*`, lists, ranges, steps (`*/n`, `a-b/n`) and names (`MON`, `JAN`). Days of the week count from
//! Sunday, 0 or 7. Days of the month also take `L` (the last), `15W` (the weekday closest to the 15th) and `LW`
//! (the last weekday); days of the week take `5L` (the last Friday) and `5#2` (the second Friday). `?` is `*`.
//!
//! **Day of month and day of week**: if both are restricted, a day that matches *either* matches, as in Vixie cron. A
//! `+` before the day of week requires both (`0 9 13 * +FRI`). Only a plain `*` or `?` is unrestricted; `*/2` is a
//! restriction.
//!
//! # Changes of the clock
//!
//! A schedule follows the wall clock of its zone. An expression with *one* second, *one* minute and *one* hour, each
//! written as a plain number (`30 2 * * *`), is a time of day. Every other expression (`*/30 2 * * *`, `30 2,14 * * *`)
//! is a rhythm.
//!
//! | the clock | a time of day | a rhythm |
//! |---|---|---|
//! | jumps over it (spring) | fires once, at the first instant after the gap, whatever the date there | skips it |
//! | shows it twice (autumn) | fires once, the first time | fires both times |
//!
//! If two instants of a time of day fall together (a skipped day), they are one. The same holds for shifts of any size
//! and for a zone's change of its standard offset. `@every` counts elapsed time, so nothing changes for it.
//!
//! Instants are whole seconds. They depend only on the expression and the zone, never on when they are asked for. So a
//! program that restarts finds the same ones.

mod count;
mod expression;
mod interval;
mod planner;
#[cfg(feature = "schedule")]
mod scheduler;
#[cfg(feature = "schedule")]
mod timer;

#[cfg(feature = "check")]
pub(crate) use expression::whole_second;
pub use expression::{MAX_EXPRESSION, MAX_PERIOD, Schedule, ScheduleError, Schedules};
pub use planner::{BATCH, Backlog, Due, Entry, HORIZON, Planner, Skipped};
#[cfg(feature = "schedule")]
pub use scheduler::Scheduler;
#[cfg(feature = "schedule")]
pub use timer::SchedulerError;
#[cfg(feature = "check")]
pub(crate) use timer::{Agenda, Timer};
