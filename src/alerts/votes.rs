//! What the locations of a site come to. Nothing here has a clock or does I/O.
//!
//! A location has a state of its own, `Since`: it is down from the first of `failures` consecutive failures, until there
//! are `recoveries` consecutive successes. It votes with its newest instant. If that was missed or is overdue, it
//! abstains: its state stays, and it is not counted.
//!
//! Locations vote about the same time. One that is late, because others have gone on and it is not overdue yet, does not vote
//! with what it said before. What it would say is unknown, so nothing begins or ends that it could prevent.

use jiff::Timestamp;

use crate::site::Incident;

/// An instant of a location that ended in success or failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub at: Timestamp,
    pub failed: bool,
    /// A success that was slow.
    pub degraded: bool,
}

/// Since when something is so at a location, by the instant with which it began. None if it is not so.
pub(super) type Since = Option<Timestamp>;

/// What is known of one location.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Voice {
    pub location_id: i32,
    /// The newest instant, and whether it was missed.
    pub newest: Option<(Timestamp, bool)>,
    /// Its newest verdicts, the newest first: at least as many as the thresholds ask for, if there are as many.
    pub verdicts: Vec<Verdict>,
    /// Nothing is due from it any more, since this time.
    pub retired_at: Option<Timestamp>,
    /// Its next result is overdue.
    pub overdue: bool,
    /// Its next result is not overdue, but other locations have newer ones by which it should have been there.
    pub late: bool,
    /// For long no instant has come to a verdict, and not because of maintenance.
    pub mute: bool,
    pub down_since: Since,
    pub slow_since: Since,
}

impl Voice {
    pub(super) fn is_retired(&self) -> bool {
        self.retired_at.is_some()
    }

    /// Whether it votes.
    pub(super) fn votes(&self) -> bool {
        !self.is_late() && self.counts()
    }

    /// Whether it may still vote, and what it will say is unknown.
    fn is_late(&self) -> bool {
        self.late && self.counts()
    }

    fn counts(&self) -> bool {
        !self.is_retired() && !self.overdue && matches!(self.newest, Some((_, false)))
    }

    /// Whether nobody watches the site from here, though somebody should.
    fn is_stale(&self) -> bool {
        !self.is_retired() && (self.overdue || self.mute)
    }

    /// The first success of those that no failure has followed, if there is one.
    fn up_since(&self) -> Since {
        self.verdicts.iter().take_while(|verdict| !verdict.failed).last().map(|verdict| verdict.at)
    }

    /// Counts anew: which state the newest verdicts lead to.
    pub(super) fn count(&mut self, thresholds: Incident) {
        self.down_since = state(self.down_since, self.verdicts.iter().map(|v| (v.at, v.failed)), thresholds);
        let successes = self.verdicts.iter().filter(|verdict| !verdict.failed);
        self.slow_since = state(self.slow_since, successes.map(|v| (v.at, v.degraded)), thresholds);
        if self.is_retired() {
            (self.down_since, self.slow_since) = (None, None);
        }
    }

    /// Whether a success can change nothing: there is no state, and nothing that may become one.
    fn is_settled(&self) -> bool {
        let newest = self.verdicts.first();
        self.down_since.is_none()
            && self.slow_since.is_none()
            && !newest.is_some_and(|verdict| verdict.failed || verdict.degraded)
            && !(self.is_stale())
    }
}

/// The state after `events`, the newest first, each bad or good.
fn state(
    so_far: Since,
    events: impl Iterator<Item = (Timestamp, bool)> + Clone,
    thresholds: Incident,
) -> Since {
    let Some((_, bad)) = events.clone().next() else { return so_far };
    let run = events.take_while(|(_, also)| *also == bad);
    match (so_far, bad) {
        (None, true) if run.clone().count() >= usize::from(thresholds.failures) => {
            run.last().map(|(at, _)| at)
        }
        (Some(_), false) if run.count() >= usize::from(thresholds.recoveries) => None,
        _ => so_far,
    }
}

/// What the locations come to together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Nobody is left to vote: the site was retired, at this time.
    pub retired_at: Option<Timestamp>,
    /// There are enough votes for a decision.
    pub quorum: bool,
    /// Whether somebody votes that the site is up.
    pub any_up: bool,
    /// Whether somebody votes that it is down.
    pub any_down: bool,
    /// Whether a location is late that could say that it is down or slow.
    pub any_late: bool,
    /// Whether it is down at enough locations, or would be if all that are late said so.
    pub may_be_down: bool,
    /// Whether it is slow at enough locations, or would be if all that are late said so.
    pub may_be_slow: bool,
    /// Since when it is down at enough locations. Only with a quorum.
    pub down_since: Since,
    /// Since when too few are down. Only with a quorum, and if somebody votes that it is up.
    pub up_since: Since,
    /// Since when it is slow at enough locations. Only with a quorum.
    pub slow_since: Since,
    /// Since when nobody watches it.
    pub stale_since: Since,
    /// Whether somebody watches it.
    pub watched: bool,
    /// Whether a success can change nothing any more.
    pub settled: bool,
}

/// Counts the votes. The states of `voices` must be counted already.
pub(super) fn tally(voices: &[Voice], thresholds: Incident) -> Tally {
    let in_use = || voices.iter().filter(|voice| !voice.is_retired());
    let voters: Vec<&Voice> = voices.iter().filter(|voice| voice.votes()).collect();
    let late = voices.iter().filter(|voice| voice.is_late()).count();
    let needed_of =
        |count: usize| usize::from(thresholds.locations.needed(u16::try_from(count).unwrap_or(u16::MAX)));
    // If those that are late say that it is up, more are needed. If they abstain, there are fewer voters.
    let count = voters.len() + late;
    let needed = needed_of(count);
    let quorum = voters.len() >= usize::from(thresholds.min_voters).max(needed_of(voters.len())).max(1);
    // The instants at which the locations came to it, the earliest first. The n-th one made it so.
    let nth = |mut instants: Vec<Timestamp>, n: usize| {
        instants.sort_unstable();
        instants.get(n).copied()
    };
    let down: Vec<Timestamp> = voters.iter().filter_map(|voice| voice.down_since).collect();
    let slow: Vec<Timestamp> = voters.iter().filter_map(|voice| voice.slow_since).collect();
    let up: Vec<Timestamp> =
        voters.iter().filter(|v| v.down_since.is_none()).filter_map(|voice| voice.up_since()).collect();
    let (any_up, any_down) = (!up.is_empty(), !down.is_empty());
    let may_be = |instants: &[Timestamp]| {
        count >= usize::from(thresholds.min_voters) && instants.len() + late >= needed
    };
    let (may_be_down, may_be_slow) = (may_be(&down), may_be(&slow));
    let enough = |instants: Vec<Timestamp>| if quorum { nth(instants, needed - 1) } else { None };
    let down_since = enough(down);
    let up_since = match quorum && !may_be_down && any_up {
        true => {
            let last = up.len() - 1;
            nth(up, last.min(count - needed))
        }
        false => None,
    };
    let retired_at = voices.iter().filter_map(|voice| voice.retired_at).max();
    let stale = in_use().next().is_some() && in_use().all(Voice::is_stale);
    Tally {
        retired_at: retired_at.filter(|_| in_use().next().is_none()),
        quorum,
        any_up,
        any_down,
        any_late: late > 0,
        may_be_down,
        may_be_slow,
        down_since,
        up_since,
        slow_since: enough(slow),
        stale_since: in_use().filter_map(|voice| voice.newest).map(|(at, _)| at).max().filter(|_| stale),
        watched: in_use().any(Voice::votes),
        settled: voices.iter().all(Voice::is_settled),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::site::Locations;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A location that is down, or up, or abstains.
    fn voice(says: Option<bool>) -> Voice {
        Voice {
            newest: Some((at(10), says.is_none())),
            verdicts: vec![Verdict { at: at(10), failed: says == Some(true), degraded: false }],
            down_since: says.filter(|down| *down).map(|_| at(10)),
            ..Voice::default()
        }
    }

    fn says() -> impl Strategy<Value = Option<bool>> {
        prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)]
    }

    /// Everything that those who are late may say.
    fn completions(late: usize) -> Vec<Vec<Option<bool>>> {
        (0..late).fold(vec![Vec::new()], |so_far, _| {
            let with = |says| so_far.iter().map(move |one| [one.as_slice(), &[says]].concat());
            [Some(true), Some(false), None].into_iter().flat_map(with).collect()
        })
    }

    proptest! {
        /// So a location that lags behind neither takes a site down nor keeps it up by what it said before, and nothing has
        /// to be taken back when it says something else.
        #[test]
        fn nothing_begins_or_ends_that_a_late_location_could_prevent(
            voters in prop::collection::vec(says(), 0..4),
            late in prop::collection::vec(says(), 0..4),
            locations in prop_oneof![(1..4u16).prop_map(Locations::Count), (1..=100u16).prop_map(Locations::Percent)],
            min_voters in 1..4u16,
        ) {
            let thresholds = Incident { locations, min_voters, ..Incident::default() };
            let on_time: Vec<Voice> = voters.iter().copied().map(voice).collect();
            // What was missed is no vote, whenever it is late.
            let late: Vec<Voice> = late.iter().flatten().map(|says| Voice { late: true, ..voice(Some(*says)) }).collect();
            let now = tally(&[on_time.clone(), late.clone()].concat(), thresholds);
            let then: Vec<Tally> = completions(late.len())
                .into_iter()
                .map(|says| tally(&[on_time.clone(), says.into_iter().map(voice).collect()].concat(), thresholds))
                .collect();
            prop_assert_eq!(now.down_since.is_some(), then.iter().all(|tally| tally.down_since.is_some()));
            prop_assert_eq!(now.may_be_down, then.iter().any(|tally| tally.down_since.is_some()));
            let goes_up = on_time.iter().any(Voice::votes) && then.iter().all(|tally| tally.up_since.is_some());
            prop_assert_eq!(now.up_since.is_some(), goes_up);
        }
    }

    /// As webmon.incidents has it: the verdicts of both are about the same time.
    #[test]
    fn a_site_is_not_down_because_one_location_was_down_before_another() {
        let both = Incident { locations: Locations::Count(2), ..Incident::default() };
        let was_down = Voice { late: true, ..voice(Some(true)) };
        assert_eq!(tally(&[voice(Some(true)), was_down.clone()], both).down_since, None);
        assert!(tally(&[voice(Some(true)), voice(Some(true))], both).down_since.is_some());
        // Nor is it up because one location that is down is late.
        let any = Incident { locations: Locations::Count(1), ..Incident::default() };
        assert_eq!(tally(&[voice(Some(false)), was_down], any).up_since, None);
    }
}
