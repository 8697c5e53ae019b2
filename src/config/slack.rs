//! A receiver that understands Slack's incoming webhooks.

use super::endpoint::{Endpoint, endpoint};
use super::table::Table;

/// A receiver that understands Slack's incoming webhooks: Slack, Mattermost, and Discord at `/slack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slack {
    /// The webhook.
    pub url: Endpoint,
}

pub(super) fn slack(table: &Table) -> Option<Slack> {
    Some(Slack { url: endpoint(table, "the incoming webhook, or url_file")? })
}
