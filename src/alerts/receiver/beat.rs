//! The heartbeat.

use std::time::Instant;

use super::http::{Request, ask};
use super::limits::Limits;
use super::outcome::Outcome;
use super::scrub::Scrub;
use crate::config::Heartbeat;

/// Asks the URL of `[heartbeat]` once, by GET. It takes at most the heartbeat's timeout.
///
/// Only [`Outcome::Delivered`] means that the beat was heard. Everything else is a reason to warn, and to go on.
pub fn beat(heartbeat: &Heartbeat, limits: &Limits) -> Outcome {
    let url = heartbeat.url.reveal();
    let request = Request {
        method: "GET",
        url,
        headers: Vec::new(),
        body: None,
        ca: None,
        timeout: heartbeat.timeout,
        until: Instant::now() + heartbeat.timeout,
    };
    let outcome = match ask(request, limits) {
        Ok(answer) => answer.outcome(),
        Err(why) => Outcome::retry(why),
    };
    let scrub = Scrub::of_url(url);
    outcome.map(|text| scrub.told(&text))
}
