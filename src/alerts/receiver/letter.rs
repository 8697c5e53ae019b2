//! A message as an e-mail.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};

use super::text::{lines, title};
use crate::alerts::notice::{Action, Message};
use crate::config::Email;

/// The most alerts that a letter refers to.
const MAX_REFERENCES: usize = 20;

/// A letter with its addresses.
pub(super) struct Addressed {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    /// As it goes over the wire, in ASCII.
    pub(super) content: Vec<u8>,
}

/// Writes the letter. It is the same in every try, its id included.
///
/// # Errors
/// What of the configuration cannot be used.
pub(super) fn letter(email: &Email, message: &Message) -> Result<Addressed, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| format!("{text:?} is not an address"));
    let from = mailbox(&email.from)?;
    let to = email.to.iter().map(|text| mailbox(text)).collect::<Result<Vec<_>, _>>()?;
    let domain = from.email.domain().to_owned();
    let mut builder = Letter::builder()
        .message_id(Some(id(&message.id, &domain)))
        .date(message.created_at.into())
        .from(from.clone())
        .subject(format!("[webmon] {}", title(message)))
        .header(ContentType::TEXT_PLAIN);
    for mailbox in &to {
        builder = builder.to(mailbox.clone());
    }
    // What an alert begins, repeats and ends refers to the same id, which no letter has. So clients show them together.
    let alerts = message.notices.iter().take(MAX_REFERENCES);
    let mut references: Vec<String> = alerts.map(|notice| id(&notice.dedup_key(), &domain)).collect();
    references.dedup();
    if let [only] = message.notices.as_slice()
        && (only.action == Action::Resolved || only.reminder > 0)
        && let Some(first) = references.first()
    {
        builder = builder.in_reply_to(first.clone());
    }
    builder = builder.references(references.join(" "));
    // Asks programs not to answer (RFC 3834).
    if let Ok(name) = HeaderName::new_from_ascii("Auto-Submitted".to_owned()) {
        builder = builder.raw_header(HeaderValue::new(name, "auto-generated".to_owned()));
    }
    let letter = builder
        .body(format!("{}\n", lines(message).join("\n")))
        .map_err(|error| format!("the message has no form as an e-mail: {error}"))?;
    Ok(Addressed { from, to, content: letter.formatted() })
}

/// An id as e-mails have it.
fn id(text: &str, domain: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let text: String = text.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("<{text}@{domain}>")
}
