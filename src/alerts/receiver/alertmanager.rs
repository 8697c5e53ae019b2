//! An Alertmanager of Prometheus, by version 2 of its API.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::http::{Request, ask};
use super::limits::Limits;
use super::outcome::Outcome;
use super::text::{details, one_line};
use crate::alerts::notice::{Action, Message, Notice};
use crate::config::{AlertKind, Alertmanager, Receiver};
use crate::site::Auth;

/// How long an alert stays without being told again. Without it, an Alertmanager ends an alert after its own
/// `resolve_timeout`, 5 min by default, because Prometheus tells it every minute.
const LASTS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

pub(super) fn send(
    receiver: &Receiver,
    alertmanager: &Alertmanager,
    message: &Message,
    limits: &Limits,
) -> Outcome {
    let mut url = alertmanager.url.reveal().clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "v2", "alerts"]);
    }
    let authorization = match &alertmanager.auth {
        Some(Auth::Bearer(token)) => Some(format!("Bearer {}", token.reveal())),
        Some(Auth::Basic { username, password }) => {
            Some(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
        }
        _ => None,
    };
    let alerts: Vec<Value> = message.notices.iter().map(alert).collect();
    let request = Request {
        method: "POST",
        url: &url,
        headers: authorization.map(|value| ("authorization", value)).into_iter().collect(),
        body: Some(("application/json", Value::from(alerts).to_string().into_bytes())),
        ca: receiver.ca.as_ref(),
        timeout: receiver.timeout,
        until: Instant::now() + receiver.timeout,
    };
    match ask(request, limits) {
        Ok(answer) => answer.outcome(),
        Err(why) => Outcome::retry(why),
    }
}

fn alert(notice: &Notice) -> Value {
    let mut annotations =
        json!({ "summary": one_line(&notice.summary, 1_024), "dedup_key": notice.dedup_key() });
    annotations["description"] =
        details(notice).iter().map(|line| one_line(line, 1_024)).collect::<Vec<_>>().join("\n").into();
    let far = notice.began_at.checked_add(LASTS).unwrap_or(Timestamp::MAX);
    let ends_at = match notice.action {
        Action::Firing => far,
        Action::Resolved => notice.ended_at.unwrap_or(notice.noticed_at),
    };
    let mut alert = json!({
        "labels": labels(notice),
        "annotations": annotations,
        "startsAt": notice.began_at.min(ends_at),
        "endsAt": ends_at,
    });
    if let Some(url) = &notice.url {
        alert["generatorURL"] = url.as_str().into();
    }
    alert
}

/// By its labels an Alertmanager recognizes an alert, so they are the same at both of its ends. The labels of the site
/// keep their names, so that routes for them work. Only where such a name is taken, or is none that Prometheus has, it is
/// changed.
fn labels(notice: &Notice) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), alertname(notice.kind)),
        ("kind".to_owned(), notice.kind.to_string()),
        ("severity".to_owned(), notice.severity.to_string()),
        ("site".to_owned(), one_line(&notice.subject, 200)),
    ]);
    for (name, value) in notice.labels.iter().filter(|(_, value)| !value.is_empty()) {
        let mut name = label_name(name);
        while labels.contains_key(&name) || name == "name" {
            name = format!("label_{name}");
        }
        labels.insert(name, one_line(value, 200));
    }
    labels
}

/// `dead_letters` as `WebmonDeadLetters`.
fn alertname(kind: AlertKind) -> String {
    let mut name = "Webmon".to_owned();
    for word in kind.as_str().split('_') {
        let (first, rest) = word.split_at(1.min(word.len()));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// A name that Prometheus has: `[a-zA-Z_][a-zA-Z0-9_]*`, and not with two underscores in front, which are its own.
fn label_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.starts_with("__") {
        format!("label_{}", name.trim_start_matches('_'))
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_a_name_that_prometheus_takes() {
        for (name, expected) in [
            ("team", "team"),
            ("cost-center.eu", "cost_center_eu"),
            ("7th", "label_7th"),
            ("__name__", "label_name__"),
            ("größe", "gr__e"),
            ("_", "_"),
        ] {
            assert_eq!(label_name(name), expected);
        }
        let names: Vec<String> = AlertKind::ALL.into_iter().map(alertname).collect();
        assert_eq!(names[0], "WebmonDown");
        assert!(names.contains(&"WebmonDeadLetters".to_owned()));
    }
}
