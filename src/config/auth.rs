//! `auth`: the credentials of a site's requests.

use url::Url;

use super::credentials::secret;
use super::entry::Entry;
use super::table::Table;
use crate::limits::{MAX_TEXT, MAX_URL};
use crate::secret::Secret;
use crate::site::{Auth, ClientCredentials};

pub(super) fn auth(table: &Table) -> Option<Auth> {
    let kinds = ["bearer", "bearer_file", "basic", "oauth2"];
    let given = kinds.iter().filter(|kind| table.raw().contains_key(**kind)).count();
    let auth = match (secret(table, "bearer", "bearer_file"), table.table("basic"), table.table("oauth2")) {
        (Some(token), None, None) => token.and_then(|token| bearer(table, token)),
        (None, Some(basic), None) => self::basic(&basic),
        (None, None, Some(client)) => client_credentials(&client).map(Auth::OAuth2),
        _ => None,
    };
    table.refuse_unknown();
    if given != 1 {
        table.fault(format!("has {given} kinds of credentials: expected one of {}", kinds.join(", ")));
        return None;
    }
    auth
}

fn bearer(table: &Table, token: Secret) -> Option<Auth> {
    if !token.reveal().bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        table.fault("has a bearer token with characters that a header cannot have".to_owned());
        return None;
    }
    Some(Auth::Bearer(token))
}

fn basic(table: &Table) -> Option<Auth> {
    let username = table.get("username").and_then(|entry| entry.hidden().text(MAX_TEXT));
    let password = secret(table, "password", "password_file");
    if !table.raw().contains_key("username") {
        table.missing("username", "the user's name");
    }
    if password.is_none() {
        table.missing("password", "the password, or password_file");
    }
    table.refuse_unknown();
    let username = username?;
    if username.contains(':') {
        table.fault("has a username with a colon, which ends the name".to_owned());
        return None;
    }
    Some(Auth::Basic { username, password: password.flatten()? })
}

fn client_credentials(table: &Table) -> Option<ClientCredentials> {
    let text = |key| table.get(key).and_then(|entry| entry.hidden().text(4_096));
    for (key, expected) in [("token_url", "the token endpoint"), ("client_id", "the client's identifier")] {
        if !table.raw().contains_key(key) {
            table.missing(key, expected);
        }
    }
    let token_url = table.get("token_url").and_then(|entry| token_url(&entry.hidden()));
    let client_secret = secret(table, "client_secret", "client_secret_file");
    if client_secret.is_none() {
        table.missing("client_secret", "the client's secret, or client_secret_file");
    }
    let client = (text("client_id"), text("scope"), text("audience"));
    table.refuse_unknown();
    Some(ClientCredentials {
        token_url: token_url?,
        client_id: client.0?,
        client_secret: client_secret.flatten()?,
        scope: client.1,
        audience: client.2,
    })
}

fn token_url(entry: &Entry) -> Option<Url> {
    match Url::parse(&entry.text(MAX_URL)?) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            entry.refuse("has credentials in it: expected client_id and client_secret")
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") => Some(url),
        Ok(_) => entry.refuse("is not an http or https URL"),
        Err(error) => entry.refuse(format_args!("is not a URL: {error}")),
    }
}
