//! How a program ends.

use std::process::ExitCode;

use webmon::config::ConfigError;

/// A run-time fault.
pub const FAULT: u8 = 1;
/// Bad usage or a bad configuration; clap exits with it too.
const USAGE: u8 = 2;

/// Runs a program: its error goes to stderr, a line a fault, and decides the exit code.
pub fn exit_with(program: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
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
