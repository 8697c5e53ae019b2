//! Small pieces that several pages have.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::chosen::ShownReason;
use super::super::state::State;
use super::super::words;

/// The sign of a state. It has a shape of its own for each, so colour is not needed.
pub(super) fn icon(state: State) -> Markup {
    html! {
        svg class={ "i t-" (state) } role="img" aria-label=(state.label()) { use href={ "#i-" (state) } {} }
    }
}

/// A time, exact in its attribute and where the pointer rests on it.
pub(super) fn time(at: Timestamp, zone: &TimeZone) -> Markup {
    html! { time class="nowrap" datetime=(at) title=(words::exact(at, zone)) { (words::moment(at, zone)) } }
}

/// How long something lasts, from `from` to `to`.
pub(super) fn lasting(from: Timestamp, to: Timestamp) -> String {
    words::duration(to.duration_since(from).max(SignedDuration::ZERO))
}

/// Why something failed.
pub(super) fn reason(reason: &ShownReason) -> Markup {
    html! {
        (reason.words)
        @if let Some(detail) = &reason.detail { span class="soft" { " (" (detail) ")" } }
    }
}

/// A text in a path.
pub(super) fn segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN).to_string()
}

/// `1 day`, `12 days`, `3 years`, or that they have passed.
pub(super) fn days_left(days: i64) -> String {
    match days {
        ..=-1 => "expired".to_owned(),
        1 => "1 day".to_owned(),
        1_000.. => format!("{} years", days / 365),
        days => format!("{days} days"),
    }
}
