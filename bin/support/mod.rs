//! What both programs share: logging, exit codes, and the signals that end them.

pub mod logging;
pub mod progress;

use std::process::ExitCode;

use webmon::config::ConfigError;
use webmon::shutdown::Shutdown;

/// A run-time fault.
const FAULT: u8 = 1;
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

/// Turns SIGTERM and SIGINT into a request to stop; a second one ends the process at once.
pub fn stop_on_signals(shutdown: &Shutdown) -> anyhow::Result<()> {
    use anyhow::Context;
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    let shutdown = shutdown.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if shutdown.is_requested() {
                    // Whoever asks twice does not want to wait: 128 + the signal's number, as a shell reports it.
                    std::process::exit(128 + signal);
                }
                log::info!(signal; "stopping");
                shutdown.request();
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Ends the process, with an error, when it has not ended `grace` after a stop was asked for.
pub fn end_after(shutdown: &Shutdown, grace: std::time::Duration) -> anyhow::Result<()> {
    use anyhow::Context;

    let shutdown = shutdown.clone();
    std::thread::Builder::new()
        .name("last-resort".to_owned())
        .spawn(move || {
            while !shutdown.wait(std::time::Duration::from_secs(3_600)) {}
            std::thread::sleep(grace);
            log::error!(grace_s = grace.as_secs(); "something does not come to an end: ending the process");
            std::process::exit(FAULT.into());
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// A flag that SIGHUP sets.
#[allow(dead_code, reason = "webmon-store has nothing to reload")]
pub fn flag_on_hangup() -> anyhow::Result<std::sync::Arc<std::sync::atomic::AtomicBool>> {
    use anyhow::Context;

    let flag = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGHUP, std::sync::Arc::clone(&flag))
        .context("cannot handle signals")?;
    Ok(flag)
}
