//! One try to tell a receiver.

use super::limits::Limits;
use super::outcome::Outcome;
use super::scrub::Scrub;
use super::{alertmanager, email, pagerduty, slack, webhook};
use crate::alerts::notice::Message;
use crate::config::{Channel, Receiver};

/// The most notices of one [`send`] to a receiver of this kind. More of them must be several messages.
///
/// - PagerDuty: 1, because each is a request, and its outcome is that of the message.
/// - Alertmanager: 100, webhook: 500, which bounds the body.
/// - Chats and e-mail: no limit. They show the first 20, and the number of the others.
pub fn max_notices(channel: &Channel) -> usize {
    match channel {
        Channel::PagerDuty(_) => 1,
        Channel::Alertmanager(_) => 100,
        Channel::Webhook(_) => 500,
        Channel::Slack(_) | Channel::Email(_) => usize::MAX,
    }
}

/// Tells `receiver` of `message`, once. It blocks for at most the receiver's timeout and a little, reads at most 64 KiB of
/// what it answers, connects to no address that `limits` forbid, follows no redirect, and uses no
/// proxy.
///
/// Whether the receiver has it is not always known: an answer may be lost. Sent again, a message has the same id and the
/// same keys, by which a webhook, PagerDuty and an Alertmanager recognize it. A mail server and a chat do not.
pub fn send(receiver: &Receiver, message: &Message, limits: &Limits) -> Outcome {
    let outcome = match &receiver.channel {
        Channel::Webhook(webhook) => webhook::send(receiver, webhook, message, limits),
        Channel::Slack(slack) => slack::send(receiver, slack, message, limits),
        Channel::PagerDuty(pagerduty) => pagerduty::send(receiver, pagerduty, message, limits),
        Channel::Alertmanager(alertmanager) => alertmanager::send(receiver, alertmanager, message, limits),
        Channel::Email(email) => email::send(receiver, email, message, limits),
    };
    let scrub = Scrub::of(receiver);
    outcome.map(|text| scrub.told(&text))
}
