//! A line with a cron expression, one with a time zone, one with a second of 1970 to 2105. The next instants are later
//! and later, and are as many as are counted.

#![no_main]

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use webmon::schedule::Schedule;

fuzz_target!(|input: &str| {
    let mut lines = input.split('\n');
    let (Some(expression), Some(timezone), second) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let second: u32 = second.and_then(|second| second.parse().ok()).unwrap_or(1_800_000_000);
    let from = Timestamp::from_second(second.into()).expect("in range");
    let Ok(schedule) = Schedule::new_at(expression, timezone, from) else { return };
    let mut instants = vec![from];
    while instants.len() <= 50
        && let Some(next) = schedule.next_after(instants[instants.len() - 1])
    {
        assert!(next > instants[instants.len() - 1], "{next} is not later");
        assert_eq!(next.subsec_nanosecond(), 0);
        instants.push(next);
    }
    // Counting goes month by month, so that a distant instant takes long.
    let last = instants[instants.len() - 1];
    if last.duration_since(from) < SignedDuration::from_hours(24 * 366 * 10) {
        let second = SignedDuration::from_secs(1);
        assert_eq!(schedule.count(from + second, last + second), instants.len() as u64 - 1, "up to {last}");
    }
});
