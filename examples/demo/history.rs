//! A week of records about the made-up sites, as checkers would have sent them.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use webmon::record::{
    CheckResult, DecodeError, ErrorType, Expectation, Gap, GapReason, GapRecord, Record, RecordVersion,
    Sample,
};

use super::made_up::{Fault, LABEL, LOCATIONS, MadeUp, Phases, SITES, Seen};

/// How far the history goes back, in seconds.
pub const LENGTH: i64 = 7 * 86_400;
/// Between two instants of a site, in seconds.
pub const STEP: i64 = 300;
/// The longest time for a try.
const TIMEOUT_US: u32 = 10_000_000;

/// A record with its key.
pub struct Made {
    pub site: &'static str,
    pub record: Record,
}

/// All records of the week before `now`, in seconds since 1970.
///
/// The newest come first. So whoever judges the sites while the records arrive knows the newest instant from the
/// beginning, and is not taken in by what was once the newest.
///
/// # Errors
/// [`DecodeError`]: a record is not as a record must be, which is a fault of this file.
pub fn records(now: i64) -> Result<Vec<Made>, DecodeError> {
    let last = now.div_euclid(STEP) * STEP;
    let mut records = Vec::new();
    for site in &SITES {
        for place in 0..site.places {
            let plain = plain(site, place, now)?;
            // The end of the gap that the walk backwards is in.
            let mut gap_to = None;
            let mut next_at = None;
            for at in (0..LENGTH / STEP).map(|number| last - number * STEP) {
                let seen = site.seen(place, at, now);
                if seen == Seen::Nothing {
                    gap_to = gap_to.or(next_at);
                } else {
                    if let Some(to) = gap_to.take() {
                        let record = gap(&plain, at + STEP, to).into();
                        records.push(Made { site: site.name, record });
                    }
                    let mut result = CheckResult { next_at, ..plain.clone() };
                    set(&mut result, site, place, at, seen);
                    records.push(Made { site: site.name, record: result.into() });
                }
                next_at = Some(time(at));
            }
        }
    }
    records.sort_by_key(|made| std::cmp::Reverse(instant(&made.record)));
    Ok(records)
}

fn instant(record: &Record) -> Timestamp {
    match record {
        Record::Result(result) => result.scheduled_at,
        Record::Gap(gap) => gap.gap.from,
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

fn gap(plain: &CheckResult, from: i64, to: Timestamp) -> GapRecord {
    let instants = (to.as_second() - from) / STEP;
    GapRecord {
        v: RecordVersion,
        site: plain.site.clone(),
        location: plain.location.clone(),
        checker: plain.checker.clone(),
        gap: Gap {
            from: time(from),
            to: Some(to),
            instants: instants.unsigned_abs(),
            reason: GapReason::CheckerDown,
        },
    }
}

/// What all results of a site at a place have in common: a success, without its times.
fn plain(site: &MadeUp, place: usize, now: i64) -> Result<CheckResult, DecodeError> {
    // At midnight, so that it is the same certificate all week.
    let not_after = time((now.div_euclid(86_400) + site.certificate_days) * 86_400);
    let digit = site.name.bytes().map(u32::from).sum::<u32>() % 16;
    let record = json!({
        "v": 1,
        "site": site.name,
        "name": site.name,
        "location": LOCATIONS[place],
        "checker": "made-up",
        "labels": {LABEL.0: LABEL.1, "team": site.team},
        "url": format!("https://{}.example/", site.name),
        "schedule": format!("0 */{} * * * * in UTC", STEP / 60),
        "time_budget_ms": TIMEOUT_US / 1_000 + 5_000,
        "incident_locations": (site.places > 1).then_some(2),
        // A service level objective has its place here.
        "method": "GET",
        "scheduled_at": time(now),
        "outcome": "success",
        "http_status": 200,
        "attempts": 1,
        "remote_ip": format!("192.0.2.{}", 10 + place),
        "http_version": "HTTP/1.1",
        "tls_version": "TLSv1.3",
        "cert_not_after": not_after,
        "certificate": {
            "sha256": format!("{digit:x}").repeat(64),
            "issuer": "O=made up for the demo",
            "subject_names": [format!("{}.example", site.name)],
            "chain_not_after": not_after,
        },
    });
    match Record::decode(record.to_string().as_bytes())? {
        Record::Result(result) => Ok(*result),
        Record::Gap(_) => Err(DecodeError::Empty),
    }
}

/// Makes a plain result that of an instant.
fn set(result: &mut CheckResult, site: &MadeUp, place: usize, at: i64, seen: Seen) {
    result.scheduled_at = time(at);
    if let Seen::Missed(reason) = seen {
        result.set_error(reason, None, None);
        result.attempts = 0;
        forget_connection(result);
        return;
    }
    result.started_at = Some(time(at) + SignedDuration::from_micros(1_900));
    let slower = if let Seen::Slow(factor) = seen { factor } else { 1.0 };
    let mut phases = site.phases(place, at, slower);
    result.degraded = phases.total() > site.degraded_ms * 1_000;
    result.body_bytes = u32::try_from(4_000 + at.rem_euclid(977)).ok();
    if let Seen::Failed(fault) = seen {
        phases = fail(result, fault, phases);
    }
    let measured = |time: u32| (time > 0).then_some(time);
    result.dns_us = measured(phases.dns);
    result.connect_us = measured(phases.connect);
    result.tls_us = measured(phases.tls);
    result.ttfb_us = measured(phases.wait);
    result.download_us = measured(phases.download);
    result.total_us = Some(phases.total().min(TIMEOUT_US));
}

/// Turns a success into a failure. Returns which phases there were.
fn fail(result: &mut CheckResult, fault: Fault, mut phases: Phases) -> Phases {
    result.set_error(fault.error, Some(fault.detail), Some(fault.message));
    if fault.error == ErrorType::ExpectationFailed {
        result.http_status = fault.status;
        let expectation = Expectation::ALL.iter().find(|expectation| expectation.as_str() == fault.detail);
        result.failed_expectations = expectation.copied().into_iter().collect();
        result.sample = Some(Sample {
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: "We are working on it.\n".to_owned(),
        });
        return phases;
    }
    let (remote_ip, tls) =
        (result.remote_ip, (result.tls_version, result.cert_not_after, result.certificate.take()));
    forget_connection(result);
    (phases.wait, phases.download) = (0, 0);
    match fault.error {
        ErrorType::Dns => (phases.connect, phases.tls) = (0, 0),
        ErrorType::Connect => {
            result.remote_ip = remote_ip;
            phases.tls = 0;
        }
        _ => {
            result.remote_ip = remote_ip;
            (result.tls_version, result.cert_not_after, result.certificate) = tls;
        }
    }
    if fault.error == ErrorType::Timeout {
        phases.wait = TIMEOUT_US - phases.total();
    }
    phases
}

/// Takes away what only an answer brings.
fn forget_connection(result: &mut CheckResult) {
    result.http_status = None;
    result.body_bytes = None;
    result.remote_ip = None;
    result.http_version = None;
    result.tls_version = None;
    result.cert_not_after = None;
    result.certificate = None;
}
