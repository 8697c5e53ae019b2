//! A webhook is signed as Standard Webhooks 1.0 says, and what a template makes arrives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use webmon::alerts::{Message, Outcome, send};

use crate::listener::{Asked, listening};
use crate::messages::{hostile, limits, message, messages, notice, receiver};
use crate::sites::response;

/// That of the specification's test suites, and one more.
const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"];

/// What a receiver does: it computes the signatures anew.
fn verify(asked: &Asked, secrets: &[&str]) {
    let (id, timestamp) = (asked.header("webhook-id").unwrap(), asked.header("webhook-timestamp").unwrap());
    let age = Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age}");
    assert!(!id.contains('.'));
    let expected: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(format!("{id}.{timestamp}.{}", asked.body).as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    assert_eq!(asked.header("webhook-signature"), Some(expected.join(" ").as_str()));
}

#[test]
fn a_message_is_signed_with_each_secret() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    for secrets in [&SECRETS[..1], &SECRETS[..]] {
        for body in [
            "",
            "body = '{\"text\": {{ text }}}'",
            "body = \"{{ text }}\"\ncontent_type = \"text/plain\"\nmethod = \"PUT\"",
        ] {
            let toml =
                format!("type = \"webhook\"\nurl = \"{}\"\nsecrets = {secrets:?}\n{body}", server.url("/"));
            let receiver = receiver(&toml);
            for (_, message) in messages() {
                assert!(matches!(send(&receiver, &message, &limits()), Outcome::Delivered(_)));
                let asked = heard.take().pop().unwrap();
                verify(&asked, secrets);
                assert_eq!(asked.header("webhook-id"), Some("msg_webmon_17"));
                assert_eq!(asked.line.starts_with("PUT"), body.contains("PUT"));
            }
        }
    }
}

/// So a receiver in another language can rely on it.
#[test]
fn the_body_is_the_message() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    let toml =
        format!("type = \"webhook\"\nurl = \"{}\"\nheaders = {{ X-Key = \"a key\" }}", server.url("/"));
    let receiver = receiver(&toml);
    for (_, message) in messages() {
        send(&receiver, &message, &limits());
        let asked = heard.take().pop().unwrap();
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!((asked.header("x-key"), asked.header("webhook-signature")), (Some("a key"), None));
        let body = asked.json();
        assert_eq!(body["type"], "webmon.alerts");
        assert_eq!(body["timestamp"], "2026-03-01T12:00:05Z");
        assert_eq!(serde_json::from_value::<Message>(body["data"].clone()).unwrap(), message);
    }
}

#[test]
fn a_template_makes_json_of_whatever_a_site_says() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    let template = r#"{"all": {{ notices | tojson }}, "title": {{ title }}, "names": [
        {%- for notice in notices %}{{ notice.name }}{% if not loop.last %}, {% endif %}{% endfor -%}
    ], "error": {{ "Error: " ~ notices[0].error_message }}}"#;
    let toml = format!("type = \"webhook\"\nurl = \"{}\"\nbody = '''{template}'''", server.url("/"));
    send(&receiver(&toml), &message(vec![hostile(), notice(1)]), &limits());
    let body = heard.take().pop().unwrap().json();
    assert_eq!(body["names"], serde_json::json!([hostile().name, "Shop 1"]));
    assert_eq!(body["all"][0]["summary"], hostile().summary.as_str());
    assert_eq!(body["error"], format!("Error: {}", hostile().error_message.unwrap()));
}

/// The configuration tries a template on two samples, which cannot show everything.
#[test]
fn a_template_that_fails_on_a_message_refuses_it() {
    let template = "{% if notices | length > 1 %}{{ nothing }}{% endif %}";
    let receiver = receiver(&format!(
        "type = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\nbody = '{template}'\ncontent_type = \"text/plain\""
    ));
    let outcome = send(&receiver, &message(vec![notice(1), notice(2)]), &limits());
    let Outcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("line 1 of the template") && why.contains("nothing"), "{why}");
}
