//! Decides about what waits for a receiver: what goes into a message, what goes on waiting, and what is of no interest
//! any more. Nothing here does I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::notice::{Action, Notice};
use super::routing::route_to;
use super::silence::Silence;
use crate::config::{AlertKind, Route};

/// How often it is looked whether what an alert depends on is up again, or maintenance is over.
const HELD: SignedDuration = SignedDuration::from_secs(10);

/// A notification that waits.
pub(super) struct Pending {
    pub transition_id: i64,
    pub reminder: i32,
    pub notice: Notice,
    /// Whether the alert has ended.
    pub is_over: bool,
    /// Of an end: what became of the beginning. `told` if the receiver has heard of it.
    pub beginning: Option<String>,
    /// Whether an earlier one of the same kind and subject goes on waiting.
    pub is_out_of_turn: bool,
    /// Whether the site is under planned maintenance now. Known of reminders only.
    pub in_maintenance: bool,
}

/// What is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes into the message.
    Send,
    /// It waits until then.
    Wait(Timestamp, String),
    Superseded(String),
    Silenced(String),
}

/// A site that is down.
pub(super) struct Down {
    pub key: String,
    pub labels: BTreeMap<String, String>,
}

/// What decides.
pub(super) struct Rules<'a> {
    pub routes: &'a [Route],
    pub receiver: &'a str,
    pub silences: &'a [Silence],
    pub down: &'a [Down],
    pub now: Timestamp,
}

/// The reason of what is held back because of `parent`.
pub(super) fn held_by(parent: &str) -> String {
    format!("held back: {parent} is down")
}

/// Decides about `pending`, which is in the order of the transitions.
pub(super) fn decide(pending: &[Pending], rules: &Rules<'_>) -> Vec<Fate> {
    let mut beginnings: HashMap<i64, Fate> = HashMap::new();
    let mut waiting: HashSet<(AlertKind, &str)> = HashSet::new();
    let mut fates = Vec::with_capacity(pending.len());
    for one in pending {
        let subject = (one.notice.kind, one.notice.subject.as_str());
        let fate = match one.notice.action {
            Action::Firing => beginning(one, rules),
            Action::Resolved => end(one, rules, beginnings.get(&one.notice.alert_id)),
        };
        // Of one alert nothing overtakes what goes on waiting.
        let fate = match fate {
            Fate::Send if one.is_out_of_turn || waiting.contains(&subject) => {
                Fate::Wait(after(rules.now, HELD), "waits for its turn".to_owned())
            }
            fate => fate,
        };
        if matches!(fate, Fate::Wait(..)) {
            waiting.insert(subject);
        }
        if one.notice.action == Action::Firing && one.reminder == 0 {
            beginnings.insert(one.transition_id, fate.clone());
        }
        fates.push(fate);
    }
    fates
}

fn beginning(one: &Pending, rules: &Rules<'_>) -> Fate {
    let Pending { notice, .. } = one;
    if one.reminder > 0 && one.is_over {
        return Fate::Superseded("the alert has ended".to_owned());
    }
    if let Some(silence) = rules.silences.iter().find(|silence| silence.covers(notice)) {
        return Fate::Silenced(format!("silence {} of {}", silence.silence_id, silence.created_by));
    }
    if one.reminder > 0 && one.in_maintenance {
        return Fate::Wait(after(rules.now, HELD), "waits for the end of the maintenance".to_owned());
    }
    let wait = waits(notice, rules, true);
    match wait {
        Some(Fate::Wait(_, reason)) if one.is_over => {
            Fate::Superseded(format!("it ended while it was {reason}"))
        }
        Some(wait) => wait,
        None => Fate::Send,
    }
}

fn end(one: &Pending, rules: &Rules<'_>, decided: Option<&Fate>) -> Fate {
    let unheard = |why: &str| Fate::Superseded(format!("its beginning was not told: {why}"));
    match (decided, one.beginning.as_deref()) {
        (Some(Fate::Superseded(why) | Fate::Silenced(why)), _) => return unheard(why),
        // It is decided when its time comes, and then it is over already.
        (Some(Fate::Wait(until, reason)), _) => return Fate::Wait(*until, reason.clone()),
        (None, Some("superseded" | "silenced")) => return unheard("it was superseded or silenced"),
        (None, Some("pending")) => {
            return Fate::Wait(after(rules.now, HELD), "waits for its beginning".to_owned());
        }
        _ => {}
    }
    waits(&one.notice, rules, false).unwrap_or(Fate::Send)
}

/// Whether the route makes it wait. Ends are not held back because of what else is down.
fn waits(notice: &Notice, rules: &Rules<'_>, begins: bool) -> Option<Fate> {
    let route = route_to(rules.routes, rules.receiver, notice)?;
    // What others depend on is never held back itself. Otherwise two of them could wait for each other.
    let depends =
        begins && !route.depends_on.is_empty() && !route.depends_on.contains(&notice.subject, &notice.labels);
    let parent = |down: &&Down| route.depends_on.contains(&down.key, &down.labels);
    if let Some(parent) = rules.down.iter().filter(|_| depends).find(parent) {
        return Some(Fate::Wait(after(rules.now, HELD), held_by(&parent.key)));
    }
    let (_, until, within) = route.hours.as_ref()?.stretch_at(rules.now);
    if within { None } else { Some(Fate::Wait(until, "waits for its hours".to_owned())) }
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
