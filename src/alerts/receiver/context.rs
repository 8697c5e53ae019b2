//! A message as templates see it.

use serde_json::{Value, json};

use super::text::{lines, title};
use crate::alerts::notice::{Action, Message};
use crate::config::Severity;

/// The fields of the message, and what is worth not computing in every template.
pub(super) fn context(message: &Message) -> Value {
    let is_firing = message.notices.iter().any(|notice| notice.action == Action::Firing);
    let severity = message.notices.iter().map(|notice| notice.severity).max().unwrap_or(Severity::Info);
    let notices: Vec<Value> = message
        .notices
        .iter()
        .map(|notice| {
            let mut value = json!(notice);
            value["dedup_key"] = notice.dedup_key().into();
            value
        })
        .collect();
    json!({
        "id": message.id,
        "created_at": message.created_at,
        "status": if is_firing { Action::Firing } else { Action::Resolved },
        "severity": severity,
        "title": title(message),
        "text": lines(message).join("\n"),
        "notices": notices,
        "held": message.held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So a template that the configuration accepts does not fail on a message.
    #[test]
    fn the_samples_of_the_configuration_are_what_templates_get() {
        for sample in [
            include_str!("../../config/sample_message.json"),
            include_str!("../../config/sample_message_bare.json"),
        ] {
            let sample: Value = serde_json::from_str(sample).unwrap();
            let mut message: Message = serde_json::from_value(sample.clone()).unwrap();
            assert_eq!(context(&message), sample);
            message.notices[0].reminder = 2;
            assert_ne!(context(&message), sample);
        }
    }
}
