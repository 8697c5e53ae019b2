//! Bars of days, and sparklines.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::day::{Day, Shares};
use super::super::words;

/// The height of a bar.
const HEIGHT: u32 = 20;
/// The width of a day.
const DAY: usize = 3;

/// The heights of the parts of a day, from below: failed, not checked, planned, up. Of what is there at all something is
/// seen.
fn heights(shares: &Shares) -> [u32; 4] {
    let total = shares.total();
    if total == 0 {
        return [0; 4];
    }
    let part = |count: u32, least: u32| match count {
        0 => 0,
        _ => ((u64::from(count) * u64::from(HEIGHT) / u64::from(total)) as u32).max(least),
    };
    let failed = part(shares.failure, 4);
    let unchecked = part(shares.unchecked, 3).min(HEIGHT - failed);
    let planned = part(shares.planned, 3).min(HEIGHT - failed - unchecked);
    let up = if shares.success == 0 { 0 } else { HEIGHT - failed - unchecked - planned };
    // Without successes rounding may leave a rest.
    let rest = HEIGHT - failed - unchecked - planned - up;
    match (shares.failure > 0, shares.unchecked > 0) {
        (true, _) => [failed + rest, unchecked, planned, up],
        (_, true) => [failed, unchecked + rest, planned, up],
        _ => [failed, unchecked, planned + rest, up],
    }
}

/// The paths of the four parts. Days beside each other that look the same are drawn as one.
fn paths(days: &[Day]) -> [String; 4] {
    let mut paths: [String; 4] = Default::default();
    let mut from = 0;
    while from < days.len() {
        let same = heights(&days[from].shares);
        let to = (from..days.len()).find(|i| heights(&days[*i].shares) != same).unwrap_or(days.len());
        let (x, width) = (from * DAY, (to - from) * DAY);
        let mut bottom = HEIGHT;
        for (path, height) in paths.iter_mut().zip(same) {
            if height > 0 {
                bottom -= height;
                let _ = write!(path, "M{x} {bottom}h{width}v{height}h-{width}z");
            }
        }
        from = to;
    }
    paths
}

/// The counts of the days for the script: `success.failure.unchecked.planned`, without zeros at the end; `*n` after what
/// comes n times.
fn counts(days: &[Day]) -> String {
    let mut text = String::new();
    let mut from = 0;
    while from < days.len() {
        let same = days[from].shares;
        let to = (from..days.len()).find(|i| days[*i].shares != same).unwrap_or(days.len());
        let counts = [same.success, same.failure, same.unchecked, same.planned];
        let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        if from > 0 {
            text.push(',');
        }
        for (i, count) in counts[..=last].iter().enumerate() {
            let _ = if i > 0 { write!(text, ".{count}") } else { write!(text, "{count}") };
        }
        if to - from > 1 {
            let _ = write!(text, "*{}", to - from);
        }
        from = to;
    }
    text
}

/// The bar of the last days. The arrow keys move over its days, if there is the script. Without it, the text says all
/// days together.
pub(super) fn days(id: &str, name: &str, days: &[Day]) -> Markup {
    let [failed, unchecked, planned, up] = paths(days);
    let mut sum = Shares::default();
    days.iter().for_each(|day| sum += day.shares);
    let bad = days.iter().filter(|day| day.shares.failure > 0).count();
    let label = match sum.total() {
        0 => format!("{name}, {} days: nothing was scheduled", days.len()),
        _ => format!(
            "{name}, {} days: {} up, {} checked, failures on {}",
            days.len(),
            words::percent(sum.uptime_percent()),
            words::percent(sum.coverage_percent()),
            words::count(bad, "day", "days"),
        ),
    };
    let from = days.first().map(|day| day.day.to_string()).unwrap_or_default();
    html! {
        svg class="bar" id=(id) viewBox={ "0 0 " (days.len() * DAY) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            tabindex="0" aria-label=(label) data-from=(from) data-days=(counts(days)) {
            @for (class, path) in [("b-up", up), ("b-planned", planned), ("b-un", unchecked), ("b-failed", failed)] {
                @if !path.is_empty() { path class=(class) d=(path) {} }
            }
            rect class="b-lines" width=(days.len() * DAY) height=(HEIGHT) {}
        }
    }
}

/// What the four parts of a bar are.
pub(super) fn key() -> Markup {
    html! {
        p class="key" aria-hidden="true" {
            @for (class, words) in [("b-up", "up"), ("b-failed", "failed"), ("b-un", "not checked"), ("b-planned", "planned maintenance")] {
                span { svg viewBox="0 0 24 16" { rect class=(class) width="24" height="16" {} } (words) }
            }
        }
    }
}

/// A line through `values`, from 0 to the greatest. It breaks where there is none.
pub(super) fn sparkline(label: &str, values: &[Option<u32>]) -> Markup {
    let greatest = values.iter().flatten().max().copied().unwrap_or(0).max(1);
    let mut path = String::new();
    let mut before: Option<usize> = None;
    for (x, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let y = HEIGHT - (u64::from(*value) * u64::from(HEIGHT - 2) / u64::from(greatest)) as u32;
        let follows = before.is_some_and(|before| before + 1 == x);
        let _ = write!(path, "{}{x} {y}", if follows { 'L' } else { 'M' });
        // A point alone would not be seen.
        if !follows && values.get(x + 1).copied().flatten().is_none() {
            path.push_str("m-.5 0h.5");
        }
        before = Some(x);
    }
    html! {
        svg class="spark" viewBox={ "0 0 " (values.len().max(2) - 1) " " (HEIGHT + 1) } preserveAspectRatio="none" role="img" aria-label=(label) {
            path d=(path) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(success: u32, failure: u32, unchecked: u32, planned: u32) -> Day {
        Day { day: jiff::civil::date(2026, 11, 1), shares: Shares { success, failure, unchecked, planned } }
    }

    #[test]
    fn a_single_failure_is_seen_and_every_day_is_full() {
        assert_eq!(heights(&day(86_399, 1, 0, 0).shares), [4, 0, 0, 16]);
        assert_eq!(heights(&day(1_440, 0, 0, 0).shares), [0, 0, 0, 20]);
        assert_eq!(heights(&day(0, 0, 3, 0).shares), [0, 20, 0, 0]);
        assert_eq!(heights(&day(0, 0, 0, 0).shares), [0, 0, 0, 0]);
        for (a, b, c, d) in
            [(1, 1, 1, 1), (0, 7, 11, 13), (1, 100_000, 1, 1), (5, 0, 0, 1), (0, 0, 1, 1_000_000)]
        {
            assert_eq!(heights(&day(a, b, c, d).shares).iter().sum::<u32>(), HEIGHT, "{a} {b} {c} {d}");
        }
    }

    #[test]
    fn days_that_look_the_same_are_one_piece() {
        let days = [day(1_440, 0, 0, 0), day(1_440, 0, 0, 0), day(720, 720, 0, 0)];
        let [failed, unchecked, planned, up] = paths(&days);
        assert_eq!((failed.as_str(), up.as_str()), ("M6 10h3v10h-3z", "M0 0h6v20h-6zM6 0h3v10h-3z"));
        assert!(unchecked.is_empty() && planned.is_empty());
        assert_eq!(counts(&days), "1440*2,720.720");
        assert_eq!(counts(&[day(0, 0, 0, 0), day(0, 0, 3, 0)]), "0,0.0.3");
    }
}
