//! Badges: one figure of a site in a small picture, for a README or a dashboard.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use super::chosen::Shown;
use super::day::DAYS;
use super::hours::Recent;
use super::state::State;
use super::words;

/// Which figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BadgeKind {
    /// What the site is.
    State,
    /// The uptime of the last 90 days.
    Uptime,
    /// The time that 95 % of the checks of the last 24 hours did not exceed.
    P95,
}

impl FromStr for BadgeKind {
    type Err = ();

    fn from_str(text: &str) -> Result<BadgeKind, ()> {
        match text {
            "state" => Ok(BadgeKind::State),
            "uptime" => Ok(BadgeKind::Uptime),
            "p95" => Ok(BadgeKind::P95),
            _ => Err(()),
        }
    }
}

/// What a badge says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Badge {
    /// What it is about.
    pub label: String,
    /// The figure, with the coverage where less than 99 % was checked.
    pub value: String,
    /// The colour behind the figure.
    pub colour: String,
}

impl Badge {
    /// The badge of a site.
    pub(super) fn of(kind: BadgeKind, shown: &Shown<'_>, recent: Option<&Recent>) -> Badge {
        let site = shown.site;
        let (label, value, colour) = match kind {
            BadgeKind::State => ("status", site.state.label().to_lowercase(), of_state(site.state)),
            BadgeKind::Uptime => {
                let all = site.bar.sum(DAYS);
                let uptime = words::percent(all.uptime_percent());
                let value = match all.coverage_percent() {
                    Some(coverage) if coverage < 99.0 => {
                        format!("{uptime} of {} checked", words::percent(Some(coverage)))
                    }
                    _ => uptime,
                };
                let colour = match all.uptime_percent() {
                    None => "#6b7685",
                    Some(99.9..) => "#1f8a55",
                    Some(99.0..) => "#5d7d1c",
                    Some(95.0..) => "#a06a06",
                    Some(_) => "#c0392b",
                };
                ("uptime 90d", value, colour)
            }
            BadgeKind::P95 => {
                let p95 = recent.and_then(|recent| recent.p95_us);
                ("p95 24h", p95.map_or_else(|| "–".to_owned(), words::time), "#2f62b5")
            }
        };
        Badge { label: label.to_owned(), value, colour: colour.to_owned() }
    }
}

/// Dark enough for white letters.
fn of_state(state: State) -> &'static str {
    match state {
        State::Up => "#1f8a55",
        State::Down => "#c0392b",
        State::Partial => "#b4540a",
        State::Unchecked => "#6b7685",
        State::Slow => "#94660a",
        State::Planned => "#3867c9",
    }
}
