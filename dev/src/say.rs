//! Messages on stderr, each with the name of the command that speaks.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

/// How much of a log's end is shown.
const LINES: usize = 30;
/// The most of a log that is read for it.
const MAX_READ: u64 = 64 << 10;

static NAME: Mutex<&str> = Mutex::new("dev");
static OUTPUT: OnceLock<fn(&str)> = OnceLock::new();

/// Says a line on stderr.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::say::line(&format!($($argument)*)) };
}

/// Speaks as a command for as long as this lives.
pub struct Speaker {
    before: &'static str,
}

pub fn speak_as(name: &'static str) -> Speaker {
    let mut current = NAME.lock().unwrap_or_else(PoisonError::into_inner);
    Speaker { before: std::mem::replace(&mut current, name) }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = self.before;
    }
}

/// From here on a terminal that is gone is no reason to panic. Without it messages are what a test captures.
pub fn to_stderr() {
    let _ = OUTPUT.set(|text| {
        let _ = io::stderr().write_all(text.as_bytes());
    });
}

pub fn line(message: &str) {
    let name = *NAME.lock().unwrap_or_else(PoisonError::into_inner);
    text(&format!("{name}: {message}\n"));
}

/// Without a name before it.
pub fn text(text: &str) {
    OUTPUT.get().copied().unwrap_or(|text| eprint!("{text}"))(text);
}

/// What was asked for, on stdout; whoever has stopped reading is no fault.
pub fn answer(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Shows the end of a log, for whoever reads a failure message.
pub fn show_log(path: &Path) {
    show_lines_of_log(path, LINES);
}

pub fn show_lines_of_log(path: &Path, lines: usize) {
    let end = end_of(path, lines);
    if end.is_empty() {
        return say!("({} is empty)", path.display());
    }
    say!("the last lines of {}:", path.display());
    for line in end {
        text(&format!("  | {line}\n"));
    }
}

fn end_of(path: &Path, lines: usize) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_READ)))?;
        let mut bytes = Vec::new();
        file.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<String> = (0..50_000).map(|n| format!("line {n}")).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        assert_eq!(end_of(file.path(), 2), ["line 49998", "line 49999"]);
        assert!(end_of(Path::new("/no/such/log"), 2).is_empty());
    }
}
