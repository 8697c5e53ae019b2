//! PagerDuty's Events API v2: one event for each notice.

use std::time::Instant;

use serde_json::{Value, json};

use super::http::{Request, ask};
use super::limits::Limits;
use super::outcome::Outcome;
use super::text::{error, one_line};
use crate::alerts::notice::{Action, Message, Notice};
use crate::config::{PagerDuty, Receiver};

/// The longest summary, in characters.
const MAX_SUMMARY: usize = 1_024;

/// Sends the notices in their order, up to the first that is not taken. PagerDuty recognizes those that it has by their
/// key, so all may be sent again.
pub(super) fn send(
    receiver: &Receiver,
    pagerduty: &PagerDuty,
    message: &Message,
    limits: &Limits,
) -> Outcome {
    let until = Instant::now() + receiver.timeout;
    let mut last = Outcome::Delivered("there was nothing to send".to_owned());
    for notice in &message.notices {
        let body = event(pagerduty, message, notice).to_string().into_bytes();
        let request = Request {
            method: "POST",
            url: pagerduty.url.reveal(),
            headers: Vec::new(),
            body: Some(("application/json", body)),
            ca: receiver.ca.as_ref(),
            timeout: receiver.timeout,
            until,
        };
        last = match ask(request, limits) {
            // A wrong key is refused as wrong content is. But it can be mended.
            Ok(answer) if answer.status == 400 && is_about_the_key(&answer.body) => {
                Outcome::retry(format!("HTTP 400: {}", answer.body))
            }
            Ok(answer) => answer.outcome(),
            Err(why) => Outcome::retry(why),
        };
        if !matches!(last, Outcome::Delivered(_)) {
            return last;
        }
    }
    last
}

fn is_about_the_key(answer: &str) -> bool {
    let answer = answer.to_ascii_lowercase();
    answer.contains("routing_key") || answer.contains("routing key")
}

fn event(pagerduty: &PagerDuty, message: &Message, notice: &Notice) -> Value {
    let (key, dedup_key) = (pagerduty.routing_key.reveal(), notice.dedup_key());
    if notice.action == Action::Resolved {
        return json!({ "routing_key": key, "event_action": "resolve", "dedup_key": dedup_key });
    }
    let links: Vec<Value> =
        notice.url.iter().map(|url| json!({ "href": url, "text": one_line(&notice.name, 200) })).collect();
    json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "webmon",
        "payload": {
            "summary": one_line(&notice.summary, MAX_SUMMARY),
            // Its words are the same as ours: critical, warning, info.
            "severity": notice.severity,
            "source": one_line(&notice.subject, 200),
            "component": one_line(&notice.name, 200),
            "class": notice.kind,
            "timestamp": notice.began_at,
            "custom_details": {
                "error": error(notice),
                "locations": notice.locations,
                "labels": notice.labels,
                "reminder": notice.reminder,
                "noticed_at": notice.noticed_at,
                "held": message.held,
            },
        },
        "links": links,
    })
}
