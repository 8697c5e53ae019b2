//! A fault of a configuration.

use std::fmt::{self, Display};

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where the value comes from: the file, or the environment variable.
    pub origin: String,
    /// The line of the file, from 1, of the key or the table at fault. None for a variable, for the file as a whole, and
    /// for a file that is not TOML.
    pub line: Option<usize>,
    /// The key's path, such as `kafka.brokers` or `site[2] "shop": timeout`; empty for the file as a whole. A number
    /// counts within the file.
    pub path: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Fault {
    /// A fault whose line is not known yet.
    pub(super) fn new(
        origin: impl Into<String>,
        path: impl Into<String>,
        problem: impl Into<String>,
    ) -> Fault {
        Fault { origin: origin.into(), line: None, path: path.into(), problem: problem.into() }
    }

    /// A fault of a file as a whole. If `problem` begins with `line` and a number, that is its line.
    pub(super) fn of_file(file: &str, what: &str, problem: &str) -> Fault {
        let line = problem.strip_prefix("line ").map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default()
        });
        let fault = Fault::new(file, "", format!("{what}: {problem}"));
        Fault { line: line.and_then(|line| line.parse().ok()), ..fault }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let separator = if self.path.is_empty() { "" } else { " " };
        write!(f, ": {}{separator}{}", self.path, self.problem)
    }
}
