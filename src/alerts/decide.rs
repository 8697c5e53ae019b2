//! Judges one site: from what is known of it to what changes, and when to look again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::judge::{Change, judge};
use super::known::{Known, Place};
use super::read::{GRACE, Stored};
use super::votes::tally;

/// How long a site waits that cannot be judged, because what is known of it is old.
const BEHIND: SignedDuration = SignedDuration::from_secs(10);
/// A partition that is stored up to so little ago has been caught up, as far as one can know.
const FRESH: SignedDuration = SignedDuration::from_secs(15);
/// When to look again for a result that seems overdue, where the partition is stored up to its end, and where it is not.
const SOON: SignedDuration = SignedDuration::from_secs(2);
const LATER: SignedDuration = SignedDuration::from_secs(30);
/// When to look again at a location that is silent. A result of it makes a note.
const SILENT: SignedDuration = SignedDuration::from_hours(1);

/// What a look at a site came to.
pub(super) struct Decision {
    pub changes: Vec<Change>,
    /// Whether a success can change nothing.
    pub settled: bool,
}

/// Judges `site`, and notes in it what its locations came to and when to look again.
pub(super) fn decide(site: &mut Known, stored: &Stored, max_lag: Duration) -> Decision {
    let now = stored.now;
    let after = |wait: SignedDuration| now.checked_add(wait).ok();
    // Sites that wait for the same thing do not all come back at once.
    let apart = SignedDuration::from_millis(i64::from(site.site_id.rem_euclid(100)) * 100);
    if stored.is_behind(&site.key, max_lag) {
        site.places.iter_mut().for_each(|place| place.look_at = after(BEHIND + apart));
        return Decision { changes: Vec::new(), settled: false };
    }
    let as_of = stored.as_of(&site.key);
    let fresh = now.duration_since(as_of) < FRESH;
    for place in &mut site.places {
        place.voice.overdue = place.overdue_at.is_some_and(|overdue_at| overdue_at < as_of);
        place.look_at = match place.overdue_at {
            _ if place.voice.is_retired() => None,
            _ if place.voice.overdue => after(SILENT + apart),
            Some(overdue_at) if overdue_at > now => Some(overdue_at),
            Some(_) if fresh => after(SOON),
            Some(_) => after(LATER + apart),
            None => None,
        };
        if !place.is_listed && place.version.is_some() {
            // History is told after this transaction, and may be busy then.
            place.look_at = place.look_at.into_iter().chain(after(SOON)).min();
        }
        place.voice.count(site.thresholds);
    }
    find_late(&mut site.places, now);
    let tally = tally(&site.voices(), site.thresholds);
    let changes = judge(site.firing, &tally, now);
    let mut firing = site.firing;
    for change in &changes {
        firing.set(change.kind, change.fires);
    }
    Decision { changes, settled: tally.settled && !firing.any() }
}

/// Marks the places whose next result should have been there by the newest instant of another place. All records of a site
/// are in one partition, so whoever is behind the others there is behind by its own fault, whatever the writer has stored.
fn find_late(places: &mut [Place], now: Timestamp) {
    let in_use = places.iter().filter(|place| !place.voice.is_retired());
    // A clock that is ahead makes nobody late.
    let Some(reached) = in_use.filter_map(newest).max().map(|at| at.min(now)) else { return };
    for place in places {
        let due_by = place.overdue_at.and_then(|overdue_at| overdue_at.checked_sub(GRACE).ok());
        place.voice.late = !place.voice.overdue && due_by.is_some_and(|due_by| due_by < reached);
    }
}

/// The newest instant of `place` that was seen.
pub(super) fn newest(place: &Place) -> Option<Timestamp> {
    place.voice.newest.filter(|_| place.version.is_some()).map(|(at, _)| at)
}
