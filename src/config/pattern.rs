//! Regular expressions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use regex::{Regex, RegexBuilder};

use super::entry::Entry;
use crate::mutex::lock;
use crate::text::quoted;

/// The longest pattern, in characters.
const MAX_PATTERN: usize = 4_096;
/// The largest compiled pattern, in bytes. It bounds the memory of each thread.
const MAX_PATTERN_SIZE: usize = 1 << 20;
/// The most patterns where there may be several.
const MAX_PATTERNS: usize = 16;

/// A pattern, or an array of them.
pub(super) fn patterns(entry: Entry) -> Vec<Arc<Regex>> {
    entry.one_or_more(MAX_PATTERNS).iter().filter_map(pattern).collect()
}

pub(super) fn pattern(entry: &Entry) -> Option<Arc<Regex>> {
    match compile(&entry.text(MAX_PATTERN)?) {
        Ok(regex) => Some(regex),
        Err(problem) => entry.refuse(problem),
    }
}

/// Compiles the pattern once for all sites that have it, and for those of a reload. An automaton takes some ten
/// kilobytes, and as much again for each thread that uses it.
fn compile(text: &str) -> Result<Arc<Regex>, String> {
    static COMPILED: Mutex<BTreeMap<String, Weak<Regex>>> = Mutex::new(BTreeMap::new());
    let mut compiled = lock(&COMPILED);
    if let Some(regex) = compiled.get(text).and_then(Weak::upgrade) {
        return Ok(regex);
    }
    let built = RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).build();
    let regex = built.map(Arc::new).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("{} compiles to more than {limit} bytes", quoted(text))
        }
        // The parser's message has several lines. The last one says what is wrong.
        error => {
            let shown = error.to_string();
            let reason = shown.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{} is not a regular expression: {reason}", quoted(text))
        }
    })?;
    // Patterns that no site has any more are removed only now and then: looking through all for each new one would take
    // quadratic time.
    if compiled.len().is_power_of_two() {
        compiled.retain(|_, regex| regex.strong_count() > 0);
    }
    compiled.insert(text.to_owned(), Arc::downgrade(&regex));
    Ok(regex)
}
