//! Figures and times as people read them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A percentage, rounded down, so that 100 % is never said of what is less: `99.98 %`.
pub(super) fn percent(percent: Option<f64>) -> String {
    match percent {
        // Floating point may fall short of a whole hundredth.
        Some(percent) => {
            let hundredths = (percent * 100.0 + 1e-6).floor();
            match hundredths >= 10_000.0 {
                true => "100\u{a0}%".to_owned(),
                false => format!("{:.2}\u{a0}%", hundredths / 100.0),
            }
        }
        None => "–".to_owned(),
    }
}

/// A time in microseconds: `0.84 ms`, `212 ms`, `1.24 s`.
pub(super) fn time(us: u32) -> String {
    match us {
        0..1_000 => format!("{:.2} ms", f64::from(us) / 1e3),
        1_000..10_000 => format!("{:.1} ms", f64::from(us) / 1e3),
        10_000..1_000_000 => format!("{} ms", (us + 500) / 1_000),
        _ => format!("{:.2} s", f64::from(us) / 1e6),
    }
}

/// A duration in its two greatest units: `42 s`, `3 min`, `2 h 5 min`, `4 d 2 h`.
pub(super) fn duration(duration: SignedDuration) -> String {
    let s = duration.as_secs().max(0);
    let two = |great: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{great} {unit}"),
        _ => format!("{great} {unit} {small} {small_unit}"),
    };
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

/// A time of day and its date: `25 Nov 2026, 18:42 UTC`.
pub(super) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()
}

/// As [`moment`], with seconds.
pub(super) fn exact(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M:%S %Z").to_string()
}

/// `1 site`, `12 sites`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number as u64), if number == 1 { one } else { many })
}

/// A whole number with its thousands apart: `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What an error class means.
pub(super) fn error(error_type: &str) -> &str {
    match error_type {
        "dns_error" => "name not found",
        "connect_error" => "no connection",
        "tls_error" => "no secure connection",
        "timeout" => "no answer in time",
        "protocol_error" => "broken answer",
        "redirect_error" => "wrong redirect",
        "body_error" => "page not read",
        "blocked_address" => "address not allowed",
        "expectation_failed" => "unexpected answer",
        "late" => "checked too late",
        "overlap" => "earlier check still ran",
        "saturated" => "checker overloaded",
        "cancelled" => "checker stopped",
        "network_down" => "checker without network",
        "checker_down" => "checker not running",
        "maintenance" => "maintenance",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_never_rounded_up() {
        let shown = |value| percent(Some(value)).replace('\u{a0}', " ");
        assert_eq!((shown(99.999_9).as_str(), shown(100.0).as_str()), ("99.99 %", "100 %"));
        assert_eq!((shown(99.98).as_str(), shown(0.0).as_str()), ("99.98 %", "0.00 %"));
        assert_eq!(percent(None), "–");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = |s| duration(SignedDuration::from_secs(s));
        assert_eq!([shown(0), shown(59), shown(3_599)], ["0 s", "59 s", "59 min"]);
        assert_eq!([shown(3_600), shown(7_500), shown(90_000)], ["1 h", "2 h 5 min", "1 d 1 h"]);
        assert_eq!(shown(-5), "0 s");
    }

    #[test]
    fn times_keep_three_figures() {
        assert_eq!([time(7), time(840), time(4_260)], ["0.01 ms", "0.84 ms", "4.3 ms"]);
        assert_eq!([time(211_700), time(1_240_000)], ["212 ms", "1.24 s"]);
        assert_eq!([thousands(0), thousands(999), thousands(1_234_567)], ["0", "999", "1,234,567"]);
    }
}
