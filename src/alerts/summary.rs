//! One line for people about a transition.

use jiff::{SignedDuration, Timestamp};

use super::judge::Change;
use super::known::{Failure, Known};
use crate::config::AlertKind;
use crate::text::show_duration;

/// What happened to `site`.
pub(super) fn summary(site: &Known, change: &Change) -> String {
    let name = &site.name;
    let lasted = || {
        let began_at = site.alerts.get(&change.kind).map_or(change.at, |fires| fires.began_at);
        lasted(began_at, change.at)
    };
    match (change.kind, change.fires) {
        (AlertKind::Down, true) => format!("{name} is down{}{}", because(site), places(site)),
        (AlertKind::Down, false) if site.places.iter().all(|place| place.voice.is_retired()) => {
            format!("{name} is not checked any more; it was down for {}", lasted())
        }
        (AlertKind::Down, false) => format!("{name} is up again after {}", lasted()),
        (AlertKind::Advisory, true) => {
            format!("{name} fails{}{}, which is too few to call it down", because(site), places(site))
        }
        (AlertKind::Advisory, false) => {
            format!("{name}: the failures at single locations are over, or it is down as a whole")
        }
        (AlertKind::Stale, true) => {
            format!("nobody watches {name}: its last result is of {}", change.at.strftime("%F %T UTC"))
        }
        (AlertKind::Stale, false) => format!("{name} is watched again"),
        (AlertKind::Degraded, true) => format!("{name} is slow"),
        (AlertKind::Degraded, false) => format!("{name} is as fast as before"),
        (kind, true) => format!("{name}: {kind}"),
        (kind, false) => format!("{name}: {kind} is over"),
    }
}

fn because(site: &Known) -> String {
    match &site.failure {
        Some(Failure { error_type: Some(error), error_detail: Some(detail), .. }) => {
            format!(": {error} ({detail})")
        }
        Some(Failure { error_type: Some(error), .. }) => format!(": {error}"),
        _ => String::new(),
    }
}

fn places(site: &Known) -> String {
    let in_use = site.places.iter().filter(|place| !place.voice.is_retired()).count();
    match &site.down_locations()[..] {
        [] => String::new(),
        [only] if in_use <= 1 => format!(" at {only}"),
        [only] => format!(" at {only}, 1 of {in_use} locations"),
        down => format!(" at {} of {in_use} locations", down.len()),
    }
}

/// The time from one instant to another, to the second.
pub(super) fn lasted(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).max(SignedDuration::ZERO).as_secs().unsigned_abs();
    show_duration(std::time::Duration::from_secs(seconds))
}
