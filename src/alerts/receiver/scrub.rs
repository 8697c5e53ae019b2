//! Keeps the secrets of a receiver out of what is told of it. A receiver may answer with what it was asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::config::{Channel, Receiver};
use crate::limits::MAX_TEXT;
use crate::site::Auth;
use crate::text::printable;

/// Shorter texts are not looked for: they would be found everywhere.
const SHORTEST: usize = 4;
/// A part of a URL that is shorter is a word of its interface, not a token.
const SHORTEST_PART: usize = 8;

/// What must not be told.
pub(super) struct Scrub(Vec<String>);

impl Scrub {
    pub(super) fn of(receiver: &Receiver) -> Scrub {
        let mut scrub = Scrub(Vec::new());
        match &receiver.channel {
            Channel::Webhook(webhook) => {
                scrub.add_url(webhook.url.reveal());
                for (_, value) in &webhook.headers {
                    scrub.add(value.reveal());
                    value.reveal().split_whitespace().for_each(|part| scrub.add_part(part));
                }
                for key in &webhook.keys {
                    scrub.add(STANDARD.encode(key.reveal()).trim_end_matches('='));
                }
            }
            Channel::Slack(slack) => scrub.add_url(slack.url.reveal()),
            Channel::PagerDuty(pagerduty) => {
                scrub.add_url(pagerduty.url.reveal());
                scrub.add(pagerduty.routing_key.reveal());
            }
            Channel::Alertmanager(alertmanager) => {
                scrub.add_url(alertmanager.url.reveal());
                match &alertmanager.auth {
                    Some(Auth::Bearer(token)) => scrub.add(token.reveal()),
                    Some(Auth::Basic { username, password }) => {
                        scrub.add(password.reveal());
                        scrub.add(&STANDARD.encode(format!("{username}:{}", password.reveal())));
                    }
                    _ => {}
                }
            }
            Channel::Email(email) => {
                if let Some((username, password)) = &email.credentials {
                    let password = password.reveal();
                    scrub.add(password);
                    scrub.add(&STANDARD.encode(password));
                    scrub.add(&STANDARD.encode(format!("\0{username}\0{password}")));
                }
            }
        }
        scrub.sorted()
    }

    pub(super) fn of_url(url: &Url) -> Scrub {
        let mut scrub = Scrub(Vec::new());
        scrub.add_url(url);
        scrub.sorted()
    }

    /// `text` on one line, without secrets, of at most 200 characters.
    pub(super) fn told(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let words: Vec<&str> = text.split_whitespace().take(MAX_TEXT).collect();
        let text = printable(&words.join(" "));
        match text.char_indices().nth(MAX_TEXT) {
            // The last character says that there is more.
            Some(_) => text.chars().take(MAX_TEXT - 1).chain(['…']).collect(),
            None => text,
        }
    }

    fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST {
            self.0.push(secret.to_owned());
        }
    }

    fn add_part(&mut self, part: &str) {
        if part.len() >= SHORTEST_PART {
            self.0.push(part.to_owned());
        }
    }

    fn add_url(&mut self, url: &Url) {
        self.add(url.as_str());
        self.add_part(url.path());
        for part in url.path().split(['/', ':']) {
            self.add_part(part);
        }
        if let Some(query) = url.query() {
            self.add_part(query);
        }
        for (_, value) in url.query_pairs() {
            self.add_part(&value);
        }
    }

    /// The longer ones first: a part of one must not spoil the whole.
    fn sorted(mut self) -> Scrub {
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_one_short_line_without_the_parts_of_a_url() {
        let url =
            "https://hooks.example/services/T12345678/B1/hunter2hunter2?token=abcdefgh".parse().unwrap();
        let scrub = Scrub::of_url(&url);
        let told = scrub.told(
            "Cannot POST /services/T12345678/B1/hunter2hunter2,\n\thunter2hunter2 of T12345678 abcdefgh",
        );
        assert_eq!(told, "Cannot POST ***, *** of *** ***");
        assert_eq!(scrub.told(url.as_str()), "***");
        assert_eq!(scrub.told(&"ä".repeat(201)).chars().count(), 200);
        assert_eq!(scrub.told(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(scrub.told("a\u{1b}[31m\u{202e}b"), r"a\u{1b}[31m\u{202e}b");
    }
}
