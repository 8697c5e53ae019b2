//! How a program ends.

use std::fmt;
use std::process::ExitCode;

use webmon::config::ConfigError;

/// A run-time fault.
pub const FAULT: u8 = 1;
/// Bad usage or a bad configuration; clap exits with it too.
pub const USAGE: u8 = 2;

/// Arguments that cannot be used, a line each.
#[derive(Debug)]
pub struct WrongUsage(pub Vec<String>);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for WrongUsage {}

/// Runs a program: its error goes to stderr, a line a fault, and decides the exit code.
pub fn exit_with(program: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(WrongUsage(lines)) = error.downcast_ref() {
        for line in lines {
            eprintln!("{program}: {line}");
        }
        return ExitCode::from(USAGE);
    }
    match error.downcast_ref::<ConfigError>() {
        Some(ConfigError::Faults(faults)) => {
            for fault in faults {
                eprintln!("{program}: {fault}");
            }
            ExitCode::from(USAGE)
        }
        Some(_) => {
            eprintln!("{program}: {error:#}");
            ExitCode::from(USAGE)
        }
        None => {
            eprintln!("{program}: {error:#}");
            ExitCode::from(FAULT)
        }
    }
}
