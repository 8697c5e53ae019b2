//! Where the account's steps are carried out.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use super::account::Account;
use super::sink::RecordSink;
use super::step::Step;
use super::watermark::Watermarks;
use crate::check::Pool;
use crate::mutex::lock;
use crate::record::{CheckResult, Outcome, Record};
use crate::schedule::Agenda;

/// The account, for the timer and for those who settle.
#[derive(Clone)]
pub(super) struct SharedAccount(Arc<Mutex<Account>>);

impl SharedAccount {
    pub(super) fn new(account: Account) -> SharedAccount {
        SharedAccount(Arc::new(Mutex::new(account)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
        lock(&self.0)
    }
}

impl Agenda for SharedAccount {
    type Due = Step;

    fn plan(&mut self, now: Timestamp) {
        self.lock().plan(now);
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.lock().next_due()
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<Step> {
        self.lock().take_due(now)
    }
}

/// Where steps are carried out and records handed over.
pub(super) struct Desk {
    pub account: SharedAccount,
    pub sink: Arc<dyn RecordSink>,
    pub watermarks: Arc<dyn Watermarks>,
}

impl Desk {
    /// Appends the results of checks, durable together, and only then settles their instants.
    pub(super) fn keep(&self, results: Vec<CheckResult>) {
        let instants: Vec<(String, Timestamp)> =
            results.iter().map(|result| (result.site.clone(), result.scheduled_at)).collect();
        let (seen, missed): (Vec<_>, Vec<_>) =
            results.into_iter().partition(|result| result.outcome != Outcome::Missed);
        for result in missed {
            self.sink.enqueue(Record::Result(Box::new(result)));
        }
        if !seen.is_empty() {
            self.sink.append_all(seen.into_iter().map(|result| Record::Result(Box::new(result))).collect());
        }
        let mut account = self.account.lock();
        for (site, at) in instants {
            self.settle(&mut account, &site, at);
        }
    }

    /// Watermarks are noted under the account's lock, so that none overtakes a later one.
    fn settle(&self, account: &mut Account, site: &str, at: Timestamp) {
        if let Some(watermark) = account.settle(site, at) {
            self.watermarks.note(&watermark);
        }
    }

    pub(super) fn carry_out(&self, pool: &Pool, steps: Vec<Step>) {
        enum Done {
            Settled(String, Timestamp),
            Retired(String),
        }
        let mut done = Vec::new();
        for step in steps {
            if let Some((site, at)) = step.settles() {
                done.push(Done::Settled(site.to_owned(), at));
            }
            match step {
                Step::Check(due) => pool.submit(due.item, due.scheduled_at, due.next_at),
                Step::Record(record) => self.sink.enqueue(record),
                Step::Begin { .. } => {}
                Step::Retire { site } => done.push(Done::Retired(site)),
            }
        }
        // Not before all of them are in the sink.
        let mut account = self.account.lock();
        for done in done {
            match done {
                Done::Settled(site, at) => self.settle(&mut account, &site, at),
                Done::Retired(site) => self.watermarks.forget(&site),
            }
        }
    }

    /// Carries out everything that is due, some at a time.
    pub(super) fn catch_up(&self, pool: &Pool) {
        loop {
            let steps = self.account.lock().take_due(Timestamp::now());
            if steps.is_empty() {
                return;
            }
            self.carry_out(pool, steps);
        }
    }
}
