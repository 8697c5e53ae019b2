//! The signals that end a program, and what ends it when nothing else does.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use webmon::shutdown::Shutdown;

use super::exit::FAULT;

/// Turns SIGTERM and SIGINT into a request to stop; a second one ends the process at once.
pub fn stop_on_signals(shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    let shutdown = shutdown.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if shutdown.is_requested() {
                    // The second signal means "do not wait": 128 + the signal's number, as a shell reports it.
                    std::process::exit(128 + signal);
                }
                log::info!(signal; "stopping");
                shutdown.request();
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Ends the process with an error if it has not ended by itself `grace` after a stop was requested.
pub fn end_after(shutdown: &Shutdown, grace: Duration) -> anyhow::Result<()> {
    let shutdown = shutdown.clone();
    std::thread::Builder::new()
        .name("last-resort".to_owned())
        .spawn(move || {
            while !shutdown.wait(Duration::from_secs(3_600)) {}
            std::thread::sleep(grace);
            log::error!(grace_s = grace.as_secs(); "the program has not stopped in time: ending the process");
            std::process::exit(FAULT.into());
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// A flag that SIGHUP sets.
#[allow(dead_code, reason = "webmon-store has nothing to reload")]
pub fn flag_on_hangup() -> anyhow::Result<Arc<AtomicBool>> {
    let hung_up = Arc::default();
    flag::register(SIGHUP, Arc::clone(&hung_up)).context("cannot handle signals")?;
    Ok(hung_up)
}
