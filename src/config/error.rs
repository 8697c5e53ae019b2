//! Why there is no configuration.

use super::fault::Fault;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file asked for.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, column and what was expected; never the line itself, which may hold a password.
        problem: String,
    },
    /// Values are wrong. All faults are listed, in the order of the file's sections.
    #[error("{}", one_a_line(.0))]
    Faults(Vec<Fault>),
}

impl ConfigError {
    /// All that is wrong, in the same form for each kind of error.
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            ConfigError::Unreadable { path, source } => {
                vec![Fault::new(path, "", format!("cannot be read: {source}"))]
            }
            ConfigError::Syntax { path, problem } => vec![Fault::of_file(path, "is not TOML", problem)],
            ConfigError::Faults(faults) => faults.clone(),
        }
    }
}

fn one_a_line(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}
