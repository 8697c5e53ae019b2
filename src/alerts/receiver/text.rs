//! What people read of a message: its title, and its lines. Each is one line of plain text, without markup.

use crate::alerts::notice::{Action, Message, Notice};
use crate::text::printable;

/// The most notices of a message that are written out. Of further ones the number is told.
pub(super) const MAX_SHOWN: usize = 20;
/// The longest title, in characters.
pub(super) const MAX_TITLE: usize = 200;
/// The longest line, in characters.
const MAX_LINE: usize = 600;
/// The most names in the title.
const MAX_NAMES: usize = 3;

/// `text` on one line, of at most `max` characters, without characters that control anything.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(max).collect();
    let line = printable(&words.join(" "));
    match line.char_indices().nth(max) {
        Some(_) => line.chars().take(max - 1).chain(['…']).collect(),
        None => line,
    }
}

/// What a message is about, in one line.
pub(super) fn title(message: &Message) -> String {
    let title = match message.notices.as_slice() {
        [notice] => format!("{}: {}", state(notice), notice.summary),
        notices => {
            let firing = notices.iter().filter(|notice| notice.action == Action::Firing).count();
            let counts = [(firing, "firing"), (notices.len() - firing, "resolved")];
            let counts: Vec<String> =
                counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
            // Each name once, though there may be several alerts of it.
            let mut names: Vec<String> = Vec::new();
            for notice in notices {
                let name = one_line(&notice.name, 40);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let more = match names.len() {
                0..=MAX_NAMES => String::new(),
                all => format!(" and {} more", all - MAX_NAMES),
            };
            names.truncate(MAX_NAMES);
            format!("{}: {}{more}", counts.join(", "), names.join(", "))
        }
    };
    one_line(&title, MAX_TITLE)
}

/// Whether an alert began, still lasts or ended.
fn state(notice: &Notice) -> &'static str {
    match notice.action {
        Action::Firing if notice.reminder > 0 => "STILL FIRING",
        Action::Firing => "FIRING",
        Action::Resolved => "RESOLVED",
    }
}

/// The lines of a message: all that is known of its only notice, or a line for each of the first 20.
pub(super) fn lines(message: &Message) -> Vec<String> {
    let mut lines = match message.notices.as_slice() {
        [notice] => {
            let mut lines = vec![notice.summary.clone()];
            lines.extend(details(notice));
            lines
        }
        notices => {
            let mut lines: Vec<String> = notices.iter().take(MAX_SHOWN).map(entry).collect();
            if notices.len() > MAX_SHOWN {
                lines.push(format!("and {} more", notices.len() - MAX_SHOWN));
            }
            lines
        }
    };
    lines.extend(held(message));
    lines.iter().map(|line| one_line(line, MAX_LINE)).collect()
}

/// What is held back, a line for each of the first 20 of what it depends on.
fn held(message: &Message) -> Vec<String> {
    let alerts =
        |n: u64| if n == 1 { "1 alert that depends".to_owned() } else { format!("{n} alerts that depend") };
    let told = message.held.iter().take(MAX_SHOWN);
    let mut lines: Vec<String> =
        told.map(|held| format!("Held back: {} on {}", alerts(held.alerts), held.parent)).collect();
    let rest: u64 = message.held.iter().skip(MAX_SHOWN).map(|held| held.alerts).sum();
    if rest > 0 {
        lines.push(format!("Held back: {} on others", alerts(rest)));
    }
    lines
}

/// A notice among others, in one line.
fn entry(notice: &Notice) -> String {
    let url = notice.url.as_ref().map(|url| format!(" {url}")).unwrap_or_default();
    let since = match notice.ended_at {
        Some(ended) => format!("ended {ended}"),
        None => format!("since {}", notice.began_at),
    };
    // The summary may be long, and what follows it is worth more than its end.
    format!("{}: {} ({}, {since}){url}", state(notice), one_line(&notice.summary, 300), notice.severity)
}

/// All that is known of a notice, besides its summary.
pub(super) fn details(notice: &Notice) -> Vec<String> {
    let severity = notice.severity.as_str();
    let severity =
        severity.get(..1).unwrap_or_default().to_ascii_uppercase() + severity.get(1..).unwrap_or_default();
    let ended = notice.ended_at.map(|ended| format!(", ended {ended}")).unwrap_or_default();
    let mut lines = vec![format!("{severity}, since {}{ended}", notice.began_at)];
    if notice.reminder > 0 {
        lines.push(format!("Reminder {}", notice.reminder));
    }
    if !notice.locations.is_empty() {
        let shown: Vec<&str> = notice.locations.iter().take(MAX_SHOWN).map(String::as_str).collect();
        let more = notice.locations.len().saturating_sub(MAX_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("At: {}{more}", shown.join(", ")));
    }
    if let Some(error) = error(notice) {
        lines.push(format!("Error: {error}"));
    }
    if !notice.labels.is_empty() {
        let labels: Vec<String> =
            notice.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(format!("Labels: {}", labels.join(", ")));
    }
    lines.extend(notice.url.clone());
    lines
}

/// What went wrong, in one line.
pub(super) fn error(notice: &Notice) -> Option<String> {
    let class = match (&notice.error_type, &notice.error_detail) {
        (Some(class), Some(detail)) => Some(format!("{class} ({detail})")),
        (class, detail) => class.clone().or_else(|| detail.clone()),
    };
    match (class, &notice.error_message) {
        (Some(class), Some(message)) => Some(format!("{class}: {message}")),
        (class, message) => class.or_else(|| message.clone()),
    }
}
