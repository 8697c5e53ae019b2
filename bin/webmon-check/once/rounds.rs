//! Makes the checks, several at the same time.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use webmon::check::{Checker, SetupError};
use webmon::monitor::Arbiter;
use webmon::shutdown::Shutdown;
use webmon::site::{Origin, Site};

use super::checked::Checked;
use super::plan::Plan;
use crate::settings::{origin, settings};
use crate::support::exit::WrongUsage;

/// How many checks may be ahead of the first one that still runs. Their results wait in memory.
const AHEAD: usize = 1_024;
/// How soon a stop is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// Everything that a round needs.
pub struct Rounds {
    sites: Arc<[Arc<Site>]>,
    checker: Checker,
    /// Judges failures without an answer, if there are sentinels.
    arbiter: Option<Arc<Arbiter>>,
    origin: Origin,
    parallel: usize,
}

/// How far a round is.
struct Round {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next site to check.
    next: usize,
    /// The first site whose check has not ended.
    first_open: usize,
    ended: Vec<bool>,
}

impl Rounds {
    pub fn new(plan: Plan, parallel: usize) -> anyhow::Result<Rounds> {
        let settings = settings(&plan.check).map_err(usage)?;
        let checker = Checker::new(&settings).map_err(|error| usage(error.into()))?;
        let origin = origin(&plan.check);
        let arbiter = match plan.check.sentinels {
            none if none.is_empty() => None,
            sentinels => Some(Arc::new(Arbiter::new(sentinels, &settings, origin.clone())?)),
        };
        Ok(Rounds { sites: plan.sites.into(), checker, arbiter, origin, parallel })
    }

    pub fn sites(&self) -> &[Arc<Site>] {
        &self.sites
    }

    /// Checks every site once and calls `each` with its place and result as they come, and with `None` now and then while
    /// none comes. An error of `each` ends the round. When `stop` is requested, it does not wait for the checks that
    /// still run.
    pub fn round(
        &self,
        stop: &Shutdown,
        mut each: impl FnMut(Option<(usize, Checked)>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let state = State { next: 0, first_open: 0, ended: vec![false; self.sites.len()] };
        let round = Arc::new(Round { state: Mutex::new(state), changed: Condvar::new() });
        let (sender, results) = mpsc::channel();
        for index in 0..self.parallel.min(self.sites.len()) {
            let (round, sites, sender) = (Arc::clone(&round), Arc::clone(&self.sites), sender.clone());
            let (mut checker, origin, stop) = (self.checker.clone(), self.origin.clone(), stop.clone());
            let arbiter = self.arbiter.clone();
            let work = move || {
                while let Some(index) = round.take(&stop) {
                    let site = Arc::clone(&sites[index]);
                    let mut observed = checker.check_now_observed(&site, &origin, &stop);
                    if let Some(arbiter) = &arbiter {
                        observed.result = arbiter.judge(observed.result);
                    }
                    // Whoever stops does not wait for the last results.
                    let _ = sender.send((index, Checked { site, observed }));
                    round.end(index);
                }
            };
            match thread::Builder::new().name("check".to_owned()).spawn(work) {
                Ok(_) => {}
                // Those that run do all of the work.
                Err(_) if index > 0 => break,
                Err(error) => return Err(error).context("cannot start a thread"),
            }
        }
        drop(sender);
        for _ in 0..self.sites.len() {
            let result = loop {
                if stop.is_requested() {
                    return Ok(());
                }
                match results.recv_timeout(LOOK) {
                    Ok(result) => break result,
                    Err(RecvTimeoutError::Timeout) => each(None)?,
                    Err(RecvTimeoutError::Disconnected) => bail!("a thread that checks ended by itself"),
                }
            };
            each(Some(result))?;
        }
        Ok(())
    }
}

/// A setting that cannot be used is a fault of the configuration.
fn usage(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        None | Some(SetupError::Thread(_) | SetupError::Resolver(_)) => error,
        Some(_) => WrongUsage(vec![format!("{error:#}")]).into(),
    }
}

impl Round {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next site to check, when it is not too far ahead.
    fn take(&self, stop: &Shutdown) -> Option<usize> {
        let mut state = self.lock();
        while state.next < state.ended.len() && state.next >= state.first_open + AHEAD {
            if stop.is_requested() {
                return None;
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.next == state.ended.len() || stop.is_requested() {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn end(&self, index: usize) {
        let mut state = self.lock();
        state.ended[index] = true;
        while state.ended.get(state.first_open) == Some(&true) {
            state.first_open += 1;
        }
        self.changed.notify_all();
    }
}
