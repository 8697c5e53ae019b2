//! An Alertmanager of Prometheus.

use super::auth::auth;
use super::endpoint::{Endpoint, endpoint};
use super::table::Table;
use crate::site::Auth;

/// An Alertmanager of Prometheus, by version 2 of its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alertmanager {
    /// Its base, without `/api/v2/alerts`.
    pub url: Endpoint,
    /// A bearer token, or a user's name and password.
    pub auth: Option<Auth>,
}

pub(super) fn alertmanager(table: &Table) -> Option<Alertmanager> {
    let url = endpoint(table, "the base of the Alertmanager, such as \"http://127.0.0.1:9093\"");
    let auth = table.table("auth").and_then(|table| {
        let auth = auth(&table);
        if matches!(auth, Some(Auth::OAuth2(_))) {
            table.fault("has oauth2, which receivers do not speak: expected bearer or basic".to_owned());
        }
        auth
    });
    Some(Alertmanager { url: url?, auth })
}
