//! How long this process did not run: stopped by a signal, suspended with its machine, or starved of CPU.
//!
//! A thread looks at the clock ten times a second. If it comes late, the process did nothing meanwhile, and no site can
//! be blamed for a missing answer.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::mutex::lock;
use rustix::time::{ClockId, clock_gettime};

/// How often the thread looks.
const TICK: Duration = Duration::from_millis(100);
/// How long after the last look the next one may come. Any busy machine may be that late.
const USUAL: Duration = Duration::from_millis(200);
/// A stall of this length spoils any attempt, however long its timeout is.
const LONG: Duration = Duration::from_secs(5);
/// A stall of this length is logged.
const LOGGED: Duration = Duration::from_secs(1);

/// The time lost in stalls since the process began to look.
pub(crate) struct Stalls {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    looked: Mutex<Looked>,
}

/// The last look at the clock.
struct Looked {
    at: Duration,
    /// The time lost before it.
    lost: Duration,
}

impl Stalls {
    /// The stalls of this process. The first call starts the thread, which lasts as long as the process.
    pub(crate) fn of_this_process() -> io::Result<Arc<Stalls>> {
        static STALLS: Mutex<Option<Arc<Stalls>>> = Mutex::new(None);
        let mut started = lock(&STALLS);
        if let Some(stalls) = &*started {
            return Ok(Arc::clone(stalls));
        }
        let stalls = Arc::new(Stalls::by(since_boot));
        let looking = Arc::clone(&stalls);
        thread::Builder::new().name("check-stalls".to_owned()).spawn(move || {
            loop {
                thread::sleep(TICK);
                looking.look();
            }
        })?;
        Ok(Arc::clone(started.insert(stalls)))
    }

    /// Stalls by another clock, which must go on during a stall. The caller must call [`Stalls::look`].
    pub(crate) fn by(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Stalls {
        let looked = Mutex::new(Looked { at: clock(), lost: Duration::ZERO });
        Stalls { clock: Box::new(clock), looked }
    }

    pub(super) fn look(&self) {
        let mut looked = lock(&self.looked);
        let now = (self.clock)();
        let late = late_by(looked.at, now);
        looked.at = now;
        looked.lost += late;
        drop(looked);
        if late >= LOGGED {
            log::warn!(ms = late.as_millis() as u64; "this process stood still: checks under way are repeated, or missed");
        }
    }

    /// The time lost so far, including a stall that the thread has not noticed yet: a check may come out of it before
    /// the thread does.
    pub(crate) fn lost(&self) -> Duration {
        let looked = lock(&self.looked);
        looked.lost + late_by(looked.at, (self.clock)())
    }
}

/// Whether an attempt with this `timeout` says nothing about its site because so much time was `lost`: a quarter of it,
/// or 5 s.
pub(crate) fn spoils(lost: Duration, timeout: Duration) -> bool {
    !lost.is_zero() && lost >= (timeout / 4).min(LONG)
}

fn late_by(last: Duration, now: Duration) -> Duration {
    now.saturating_sub(last).saturating_sub(USUAL)
}

/// Reads CLOCK_BOOTTIME: CLOCK_MONOTONIC plus the time that the machine was suspended (clock_gettime(2)).
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Stalls by a clock that shows the milliseconds of an atomic.
    fn stalls() -> (Arc<AtomicU64>, Stalls) {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let shown = Arc::clone(&clock);
        (clock, Stalls::by(move || ms(shown.load(Ordering::SeqCst))))
    }

    #[test]
    fn a_look_that_is_late_is_time_lost_whoever_asks_first() {
        let (clock, stalls) = stalls();
        let pass = |ms| clock.fetch_add(ms, Ordering::SeqCst);
        for _ in 0..10 {
            pass(190);
            stalls.look();
        }
        assert_eq!(stalls.lost(), ms(0));
        // As it is after SIGCONT, or as CLOCK_BOOTTIME jumps when a machine wakes: a check asks before the thread looks.
        pass(30_100);
        assert_eq!(stalls.lost(), ms(29_900));
        stalls.look();
        assert_eq!(stalls.lost(), ms(29_900));
        // A starved process: each look a little late.
        for _ in 0..10 {
            pass(350);
            stalls.look();
        }
        assert_eq!(stalls.lost(), ms(31_400));
        // A clock that goes back, as none should, takes nothing back.
        clock.fetch_sub(5_000, Ordering::SeqCst);
        stalls.look();
        assert_eq!(stalls.lost(), ms(31_400));
    }

    #[test]
    fn a_stall_of_a_quarter_of_the_timeout_or_of_5_s_spoils_an_attempt() {
        for (lost, timeout, expected) in [
            (0, 1, false),
            (150, 300, true),
            (1_200, 5_000, false),
            (1_250, 5_000, true),
            (4_900, 600_000, false),
            (5_000, 600_000, true),
        ] {
            assert_eq!(spoils(ms(lost), ms(timeout)), expected, "{lost} of {timeout}");
        }
    }

    #[test]
    fn the_process_has_one_thread_that_looks() {
        let (first, second) = (Stalls::of_this_process().unwrap(), Stalls::of_this_process().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        let looked = || first.looked.lock().unwrap().at;
        let before = looked();
        while looked() == before {
            thread::yield_now();
        }
    }
}
