//! Sites to check, and what their checks must come to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use webmon::check::{Checker, Resolve, ResolveError, Settings};
use webmon::record::CheckResult;
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;
use webmon::site::{Origin, Site};

pub use crate::checked::{assert_error, valid};
use crate::sites::{Server, response};

pub const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The timeout of checks that are to run into it.
pub const SHORT: Duration = Duration::from_millis(300);

/// Names as a test wants them; never a real look-up.
#[derive(Default)]
pub struct Names(pub HashMap<&'static str, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve(&self, host: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        match host {
            "servfail.example" => Err(ResolveError::ServFail),
            "refused.example" => Err(ResolveError::Refused),
            "no-address.example" => Ok(Vec::new()),
            "panic.example" => panic!("a resolver with a bug"),
            _ => self.0.get(host).cloned().ok_or(ResolveError::NxDomain),
        }
    }
}

/// Settings in which every name in `names` is 127.0.0.1.
pub fn settings(names: &[&'static str]) -> Settings {
    let names = names.iter().map(|name| (*name, vec![LOCALHOST])).collect();
    Settings::with_resolver(Arc::new(Names(names)))
}

pub fn site(url: &str) -> Site {
    Site { timeout: Duration::from_secs(10), ..Site::new("shop", url.parse().unwrap(), a_schedule()) }
}

pub fn a_schedule() -> Schedule {
    Schedule::new("@hourly", "UTC").unwrap()
}

pub fn origin() -> Origin {
    Origin { location: "test-1".to_owned(), checker: "test".to_owned() }
}

/// The present, in whole seconds: an instant as schedules have them.
pub fn due() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

pub fn after(instant: Timestamp, seconds: i64) -> Timestamp {
    instant + SignedDuration::from_secs(seconds)
}

pub fn check_with(settings: &Settings, site: &Site) -> CheckResult {
    let mut checker = Checker::new(settings).unwrap();
    let due = due();
    valid(checker.check(site, &origin(), due, Some(after(due, 60)), &Shutdown::new()))
}

pub fn check(site: &Site) -> CheckResult {
    check_with(&settings(&[]), site)
}

pub fn regex(pattern: &str) -> Arc<Regex> {
    Arc::new(Regex::new(pattern).unwrap())
}

pub fn https(config: &Arc<rustls::ServerConfig>) -> Server {
    Server::https(0, Arc::clone(config), response("200 OK", &[], b"a secure page")).unwrap()
}
