//! A key as messages show it.

use std::borrow::Cow;

use crate::limits::MAX_TEXT;
use crate::text::quoted;

/// A key as TOML writes it: bare where it can be.
pub(super) fn show_key(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.len() <= MAX_TEXT && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(quoted(key))
    }
}
