//! Ctrl-C, TERM and HUP: every wait of this package ends with an error when one has come, and what was started is
//! ended on the way out. A program that does not [`watch`], such as a test, is ended by them as usual.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks.
const PAUSE: Duration = Duration::from_millis(50);

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
static HANGUPS_IGNORED: AtomicBool = AtomicBool::new(false);
static SHIELDS: AtomicUsize = AtomicUsize::new(0);

/// The signal that has come.
#[derive(Debug)]
pub struct Interrupted(pub i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// From here on the signals are noted instead of ending the program.
pub fn watch() -> io::Result<()> {
    let signal = SIGNAL.get_or_init(Arc::default);
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(signal), number.unsigned_abs() as usize)?;
    }
    Ok(())
}

/// The signal that has come since the last [`forget`].
pub fn came() -> Option<i32> {
    let signal = SIGNAL.get()?.load(Ordering::SeqCst);
    let is_one = |signal: i32| signal != 0 && (signal != SIGHUP || !HANGUPS_IGNORED.load(Ordering::SeqCst));
    i32::try_from(signal).ok().filter(|&signal| is_one(signal))
}

pub fn forget() {
    if let Some(signal) = SIGNAL.get() {
        signal.store(0, Ordering::SeqCst);
    }
}

/// From here on a HUP is none: a terminal that closes may send several, and we are ending already.
pub fn ignore_hangups() {
    HANGUPS_IGNORED.store(true, Ordering::SeqCst);
}

/// An error when a signal has come and nothing shields from it.
pub fn check() -> Result<(), Interrupted> {
    match came() {
        Some(signal) if SHIELDS.load(Ordering::SeqCst) == 0 => Err(Interrupted(signal)),
        _ => Ok(()),
    }
}

/// For as long as it lives nothing is interrupted: what was started is being ended.
pub struct Shield(());

pub fn shield() -> Shield {
    SHIELDS.fetch_add(1, Ordering::SeqCst);
    Shield(())
}

impl Drop for Shield {
    fn drop(&mut self) {
        SHIELDS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until `done`, for at most `limit`; whether it came to that.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> Result<bool, Interrupted> {
    let deadline = Instant::now() + limit;
    loop {
        check()?;
        if done() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
}
