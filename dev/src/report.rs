//! What came of a run of many steps: the table at its end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use webmon_dev::interrupt::Interrupted;
use webmon_dev::{command, say};

/// The steps so far.
pub(crate) struct Report {
    lines: Vec<String>,
    pub(crate) has_failed: bool,
    began: Instant,
    /// Where tests note down that they could test nothing.
    skipped: PathBuf,
}

impl Report {
    pub(crate) fn new(skipped: PathBuf) -> Report {
        let _ = std::fs::remove_file(&skipped);
        Report { lines: Vec::new(), has_failed: false, began: Instant::now(), skipped }
    }

    pub(crate) fn skipped(&self) -> &PathBuf {
        &self.skipped
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn begin(&self, step: &str) {
        say::text(&format!("\n==> {step}\n"));
    }

    pub(crate) fn ok(&mut self, took: Duration, step: &str) {
        self.line("ok", &seconds(took), step);
    }

    pub(crate) fn failed(&mut self, took: Duration, step: &str) {
        self.has_failed = true;
        self.line("FAILED", &seconds(took), step);
    }

    pub(crate) fn skip(&mut self, step: &str) {
        self.line("SKIPPED", "-", step);
    }

    fn line(&mut self, result: &str, took: &str, step: &str) {
        self.lines.push(format!("{result:<8} {took:>6}  {step}\n"));
    }

    /// How many lines tests have noted down.
    pub(crate) fn skips(&self) -> usize {
        std::fs::read_to_string(&self.skipped).map_or(0, |text| text.lines().count())
    }

    /// Shows the table and what was not tested, and says how it ended.
    pub(crate) fn conclude(&self, result: &anyhow::Result<()>) -> u8 {
        if !self.lines.is_empty() {
            say::text(&format!("\n{}", self.lines.concat()));
        }
        let text = std::fs::read_to_string(&self.skipped).unwrap_or_default();
        let mut skipped: Vec<&str> = text.lines().collect();
        skipped.sort_unstable();
        skipped.dedup();
        if !skipped.is_empty() {
            let count = skipped.len();
            say::text(&format!("\nNOT TESTED: {count} tests passed without having tested anything:\n"));
            skipped.iter().for_each(|line| say::text(&format!("  {line}\n")));
        }
        let code = match result {
            Err(error) => crate::tell(error),
            Ok(()) => u8::from(self.has_failed),
        };
        let seconds = self.began.elapsed().as_secs();
        if code == 0 {
            say!("all passed, in {seconds} s");
        } else {
            say!("FAILED (exit status {code}), after {seconds} s");
        }
        code
    }
}

fn seconds(took: Duration) -> String {
    format!("{} s", took.as_secs())
}

/// Only a signal ends a run of steps; another error is that of one step.
pub(crate) fn interrupted(error: anyhow::Error) -> Result<String, Interrupted> {
    match error.downcast::<Interrupted>() {
        Ok(interrupted) => Err(interrupted),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// What a step's exit status says, when it has failed.
pub(crate) fn fault(status: std::process::ExitStatus) -> Option<String> {
    (!status.success()).then(|| format!("exit status {}", command::code(status)))
}
