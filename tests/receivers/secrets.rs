//! No secret of a receiver is told, though the receiver answers with all that it was asked.

use std::io::Write;

use webmon::alerts::{Outcome, send};

use crate::listener::Asked;
use crate::messages::{limits, message, notice, receiver};
use crate::sites::{Server, response};

/// Answers with one part of the request, because not all fits into what is told.
fn echo(status: &'static str, part: usize) -> Server {
    Server::start(move |mut stream| {
        let Some(asked) = Asked::read(&mut stream) else { return };
        let said = match part {
            0 => format!("Cannot {}", asked.line),
            1 => asked.header("authorization").unwrap_or_default().to_owned(),
            2 => asked.header("x-key").unwrap_or_default().to_owned(),
            _ => asked.json().get("routing_key").map(ToString::to_string).unwrap_or_default(),
        };
        let _ = stream.write_all(&response(status, &[], said.as_bytes()));
    })
}

#[test]
fn no_outcome_holds_a_secret() {
    for status in ["200 OK", "400 Bad Request", "404 Not Found", "410 Gone", "500 Oops"] {
        for part in 0..4 {
            let server = echo(status, part);
            let path = "/services/T-hunter2/B-hunter2?token=hunter2hunter2";
            for toml in [
                "type = \"slack\"",
                "type = \"webhook\"\nheaders = { Authorization = \"Bearer hunter2\", X-Key = \"hunter2\" }",
                "type = \"pagerduty\"\nrouting_key = \"hunter2\"",
                "type = \"alertmanager\"\nauth = { bearer = \"hunter2\" }",
                "type = \"alertmanager\"\nauth = { basic = { username = \"u\", password = \"hunter2\" } }",
            ] {
                let receiver = receiver(&format!("{toml}\nurl = \"{}\"", server.url(path)));
                let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
                let shown = format!("{outcome:?} {receiver:?}");
                assert!(!shown.contains("hunter2") && !shown.contains("dTpodW50ZXIy"), "{shown}");
                let (Outcome::Delivered(text)
                | Outcome::Refused(text)
                | Outcome::Gone(text)
                | Outcome::Retry { why: text, .. }) = outcome;
                assert!(part != 0 || text.contains("Cannot POST ***"), "{text}");
            }
        }
    }
}
