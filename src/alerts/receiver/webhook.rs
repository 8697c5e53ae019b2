//! A webhook: a body of webmon's own or from a template, signed (Standard Webhooks 1.0).

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Serialize;
use sha2::Sha256;

use super::context::context;
use super::http::{Request, ask};
use super::limits::Limits;
use super::outcome::Outcome;
use crate::alerts::notice::Message;
use crate::config::{Receiver, SigningKey, Webhook};

/// The body without a template. Its `type` is the version too: fields are only added.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: &'a Message,
}

pub(super) fn send(receiver: &Receiver, webhook: &Webhook, message: &Message, limits: &Limits) -> Outcome {
    let (content_type, body) = match body(webhook, message) {
        Ok(body) => body,
        Err(problem) => return Outcome::Refused(problem),
    };
    let mut headers: Vec<(&str, String)> =
        webhook.headers.iter().map(|(name, value)| (name.as_str(), value.reveal().to_owned())).collect();
    if !webhook.keys.is_empty() || webhook.body.is_none() {
        // That of the try, not of the message: so a receiver may refuse what is old, which might be replayed.
        let timestamp = Timestamp::now().as_second();
        headers.push(("webhook-id", message.id.clone()));
        headers.push(("webhook-timestamp", timestamp.to_string()));
        let signatures: Vec<String> =
            webhook.keys.iter().map(|key| signature(key, &message.id, timestamp, &body)).collect();
        if !signatures.is_empty() {
            headers.push(("webhook-signature", signatures.join(" ")));
        }
    }
    let request = Request {
        method: webhook.method.as_str(),
        url: webhook.url.reveal(),
        headers,
        body: Some((content_type, body)),
        ca: receiver.ca.as_ref(),
        timeout: receiver.timeout,
        until: Instant::now() + receiver.timeout,
    };
    match ask(request, limits) {
        Ok(answer) if answer.status == 410 => Outcome::Gone(format!("HTTP 410: {}", answer.body)),
        Ok(answer) => answer.outcome(),
        Err(why) => Outcome::retry(why),
    }
}

/// The body with its type.
fn body<'a>(webhook: &'a Webhook, message: &Message) -> Result<(&'a str, Vec<u8>), String> {
    if let Some(template) = &webhook.body {
        return Ok((template.content_type(), template.render(&context(message))?));
    }
    let body = Body { r#type: "webmon.alerts", timestamp: message.created_at, data: message };
    match serde_json::to_vec(&body) {
        Ok(body) => Ok(("application/json", body)),
        Err(error) => Err(format!("the message has no form in JSON: {error}")),
    }
}

/// A signature of one key.
fn signature(key: &SigningKey, id: &str, timestamp: i64, body: &[u8]) -> String {
    // A key of any length will do for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.reveal()) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the test suites of github.com/standard-webhooks/standard-webhooks.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let key = SigningKey::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            signature(&key, id, 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        for changed in [
            signature(&key, id, 1_614_265_331, br#"{"test": 2432232314}"#),
            signature(&key, id, 1_614_265_330, br#"{"test": 2432232315}"#),
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJel", 1_614_265_330, br#"{"test": 2432232314}"#),
        ] {
            assert_ne!(changed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        }
    }
}
