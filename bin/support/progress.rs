//! A progress bar on stderr, where that is a terminal.

#![allow(dead_code, reason = "not every program has long work")]

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for `length` of `what`.
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}, {eta} to go") {
        bar.set_style(style);
    }
    bar
}
