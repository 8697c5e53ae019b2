//! Bounded text, and the notation of durations.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::limits::MAX_TEXT;

/// Returns `text` cut to at most `max` bytes at a character boundary, with NUL characters replaced.
pub fn truncated(text: &str, max: usize) -> String {
    let mut cut = text[..text.floor_char_boundary(max)].to_owned();
    if cut.contains('\0') {
        // The replacement is longer than the NUL.
        cut = cut.replace('\0', "\u{fffd}");
        cut.truncate(cut.floor_char_boundary(max));
    }
    cut
}

/// Returns `text` in quotes and escaped. A long text is cut.
pub fn quoted(text: &str) -> String {
    let more = if text.len() > MAX_TEXT { "…" } else { "" };
    format!("{:?}{more}", truncated(text, MAX_TEXT))
}

/// Returns `text` with each character escaped that could control a terminal: control characters, and those that are
/// invisible or change the direction of the text around them. Quotes and apostrophes stay as they are.
///
/// ```
/// assert_eq!(webmon::text::printable("the site's\u{1b}[31m \u{202e}text"), r"the site's\u{1b}[31m \u{202e}text");
/// ```
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    shown
}

fn is_printable(c: char) -> bool {
    // Unicode's category Cf, as far as it is not Arabic or musical, and its line and paragraph separators.
    let invisible = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !invisible
}

/// Reads `250ms`, `10s`, `1h30m`, `90d`; a day has 24 hours.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// Writes a duration in its shortest usual form: `1m30s` for 90 s, `250ms`, `90d`.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut shown = String::new();
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= millis {
            shown.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    shown
}
