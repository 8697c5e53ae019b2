//! What the output looks like: its signs and colours.

use anstyle::{AnsiColor, Style};
use webmon::record::{CheckResult, Outcome};

use super::phases::Phase;

pub const PLAIN: Style = Style::new();
pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const WARNING: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();

pub fn of_outcome(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Success => GOOD,
        Outcome::Failure => BAD,
        Outcome::Missed => WARNING,
    }
}

/// As [`of_outcome`], but a success that was slow is a warning.
pub fn of_result(result: &CheckResult) -> Style {
    if result.degraded { WARNING } else { of_outcome(result.outcome) }
}

pub fn of_phase(phase: Phase) -> Style {
    match phase {
        Phase::Dns => AnsiColor::Cyan.on_default(),
        Phase::Connect => AnsiColor::Yellow.on_default(),
        Phase::Tls => AnsiColor::Magenta.on_default(),
        Phase::Wait => AnsiColor::Green.on_default(),
        Phase::Download => AnsiColor::Blue.on_default(),
        Phase::Other => DIM,
    }
}

/// The signs that the locale has.
#[derive(Debug, PartialEq, Eq)]
pub struct Signs {
    pub success: &'static str,
    pub failure: &'static str,
    pub missed: &'static str,
    /// At the end of what was cut.
    pub more: &'static str,
    /// Columns of a bar: whole, its right half, its left half, and less than half.
    pub full: &'static str,
    pub right: &'static str,
    pub left: &'static str,
    pub thin: &'static str,
    /// The bar of the total.
    pub total: &'static str,
    /// At the left of a quoted body.
    pub quote: &'static str,
    /// From low to high.
    pub levels: &'static [&'static str],
}

const UNICODE: Signs = Signs {
    success: "✔",
    failure: "✘",
    missed: "-",
    more: "…",
    full: "█",
    right: "▐",
    left: "▌",
    thin: "▏",
    total: "─",
    quote: "│",
    levels: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
};

const ASCII: Signs = Signs {
    success: "+",
    failure: "x",
    missed: "-",
    more: ">",
    full: "#",
    right: "#",
    left: "#",
    thin: "|",
    total: "-",
    quote: "|",
    levels: &["_", ".", ":", "!", "|"],
};

impl Signs {
    /// ASCII if the locale asks for another encoding than UTF-8, Unicode if it asks for none.
    pub fn of_locale() -> &'static Signs {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
        Signs::of(locale.into_iter().find(|value| !value.is_empty()).as_deref())
    }

    fn of(locale: Option<&str>) -> &'static Signs {
        let utf_8 = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.ends_with("utf-8") || locale.ends_with("utf8") || locale.contains("utf-8@")
        });
        if utf_8 { &UNICODE } else { &ASCII }
    }

    pub fn outcome(&self, outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Success => self.success,
            Outcome::Failure => self.failure,
            Outcome::Missed => self.missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signs_are_those_that_the_locale_has() {
        for (locale, expected) in [
            (None, &UNICODE),
            (Some("en_US.UTF-8"), &UNICODE),
            (Some("C.utf8"), &UNICODE),
            (Some("C"), &ASCII),
            (Some("de_DE@euro"), &ASCII),
        ] {
            assert_eq!(Signs::of(locale), expected, "{locale:?}");
        }
    }
}
