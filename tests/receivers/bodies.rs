//! What each receiver is sent is what is in `golden/`: `WEBMON_BLESS=1` writes it again.

use std::path::Path;

use webmon::alerts::{Outcome, max_notices, send};

use crate::listener::{Asked, listening};
use crate::messages::{all_by_http, hostile, limits, message, messages, notice};
use crate::sites::response;

pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers/golden").join(name);
    if std::env::var("WEBMON_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}: WEBMON_BLESS=1 writes what is right now:\n{found}");
}

/// The request without what is different each time. A message of many notices is not spread out over lines.
fn shown(asked: &Asked) -> String {
    let mut shown = format!("{}\n", asked.line);
    for (name, value) in &asked.headers {
        match name.as_str() {
            "host" | "content-length" => {}
            "webhook-timestamp" => shown.push_str("webhook-timestamp: ...\n"),
            _ => shown.push_str(&format!("{name}: {value}\n")),
        }
    }
    let json = asked.json();
    let is_long = asked.body.len() > 5_000;
    let body = if is_long { json.to_string() } else { serde_json::to_string_pretty(&json).unwrap() };
    format!("{shown}\n{body}\n")
}

#[test]
fn each_receiver_is_sent_what_it_understands() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    for (kind, receiver) in all_by_http(&server.url("/some/where")) {
        for (name, message) in messages() {
            let outcome = send(&receiver, &message, &limits());
            assert_eq!(outcome, Outcome::Delivered("HTTP 200: ok".to_owned()), "{kind} {name}");
            let asked = heard.take();
            assert_eq!(asked.len(), if kind == "pagerduty" { message.notices.len() } else { 1 });
            // Of many requests, the last two.
            let shown: Vec<String> = asked.iter().map(shown).collect();
            golden(&format!("{kind}-{name}.txt"), &shown[shown.len().saturating_sub(2)..].join("\n"));
        }
    }
}

#[test]
fn the_same_message_has_the_same_body_and_keys_each_time() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    for (kind, receiver) in all_by_http(&server.url("/")) {
        let message = message(vec![notice(1)]);
        let asked = [(); 2].map(|()| {
            send(&receiver, &message, &limits());
            heard.take().pop().unwrap()
        });
        assert_eq!(asked[0].body, asked[1].body, "{kind}");
        assert_eq!(asked[0].header("webhook-id"), asked[1].header("webhook-id"));
    }
}

#[test]
fn the_largest_message_that_may_be_is_bounded() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    for (kind, receiver) in all_by_http(&server.url("/")) {
        let most = max_notices(&receiver.channel).min(10_000);
        let message = message((0..most).map(|_| hostile()).collect());
        assert!(matches!(send(&receiver, &message, &limits()), Outcome::Delivered(_)));
        let size = heard.take().iter().map(|asked| asked.body.len()).max().unwrap();
        let expected = match kind {
            "slack" | "pagerduty" => 8 << 10,
            "alertmanager" => 512 << 10,
            _ => 2 << 20,
        };
        assert!(size < expected, "{kind}: {size}");
    }
}

/// A chat shows it as text: no mention, no link, no markup of its own.
#[test]
fn what_a_site_says_is_only_text_in_a_chat() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    let (_, receiver) = all_by_http(&server.url("/")).remove(1);
    send(&receiver, &message(vec![hostile()]), &limits());
    let body = heard.take()[0].body.clone();
    for markup in ["<", ">", "@everyone", "@here", "](", "\u{202e}", "\u{1b}"] {
        assert!(!body.contains(markup), "{markup}: {body}");
    }
}
