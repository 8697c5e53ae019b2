//! Slack's incoming webhooks, and those that understand the same: Mattermost, and Discord at `/slack`.

use std::time::Instant;

use serde_json::{Value, json};

use super::http::{Request, ask};
use super::limits::Limits;
use super::outcome::Outcome;
use super::text::{MAX_TITLE, lines, one_line, title};
use crate::alerts::notice::{Action, Message};
use crate::config::{Receiver, Severity, Slack};

/// The longest text below the title, in bytes. Discord refuses a message with one of more than 4,096 characters.
const MAX_TEXT: usize = 3_500;

pub(super) fn send(receiver: &Receiver, slack: &Slack, message: &Message, limits: &Limits) -> Outcome {
    let request = Request {
        method: "POST",
        url: slack.url.reveal(),
        headers: Vec::new(),
        body: Some(("application/json", body(message).to_string().into_bytes())),
        ca: receiver.ca.as_ref(),
        timeout: receiver.timeout,
        until: Instant::now() + receiver.timeout,
    };
    match ask(request, limits) {
        Ok(answer) => answer.outcome(),
        Err(why) => Outcome::retry(why),
    }
}

/// The title as text, for notifications, and one attachment with the lines. Discord takes no more than ten attachments.
fn body(message: &Message) -> Value {
    let mut text = String::new();
    let lines: Vec<String> = lines(message).iter().map(|line| escaped(line)).collect();
    for (i, line) in lines.iter().enumerate() {
        if text.len() + line.len() > MAX_TEXT {
            text.push_str(&format!("and {} more lines", lines.len() - i));
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    let attachment = json!({
        "fallback": escaped(&one_line(&title(message), MAX_TITLE)),
        "color": color(message),
        "text": text.trim_end(),
        "mrkdwn_in": [],
        "footer": "webmon",
        "ts": message.created_at.as_second(),
    });
    json!({ "text": escaped(&title(message)), "mrkdwn": false, "link_names": false, "attachments": [attachment] })
}

fn color(message: &Message) -> &'static str {
    let firing = message.notices.iter().filter(|notice| notice.action == Action::Firing);
    match firing.map(|notice| notice.severity).max() {
        None => "#2e9e5b",
        Some(Severity::Info) => "#3178c6",
        Some(Severity::Warning) => "#d98200",
        Some(Severity::Critical) => "#c62828",
    }
}

/// `text` without markup: Slack reads only `&`, `<` and `>`. Mattermost and Discord also look for `@everyone` and for
/// links such as `[text](address)`, and know no way to write them otherwise, so an invisible space is put into them.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@\u{200b}"),
            ']' => escaped.push_str("]\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        for (text, expected) in [
            ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
            (
                "<!channel> <@U1> <https://evil.example|good>",
                "&lt;!channel&gt; &lt;@\u{200b}U1&gt; &lt;https://evil.example|good&gt;",
            ),
            ("@everyone [a](https://evil.example)", "@\u{200b}everyone [a]\u{200b}(https://evil.example)"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
