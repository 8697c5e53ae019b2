//! A receiver by e-mail.

use lettre::message::Mailbox;
use url::{Host, Url};

use super::credentials::secret;
use super::entry::Entry;
use super::table::Table;
use crate::limits::{MAX_TEXT, MAX_URL};
use crate::secret::Secret;

/// The most addresses that a message is sent to.
const MAX_RECIPIENTS: usize = 50;

/// How a connection to an SMTP server is protected. Wherever there is TLS, the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte (`smtps://`).
    Tls,
    /// The connection begins in the clear and must become TLS (STARTTLS) before anything is sent.
    StartTls,
    /// As with [`SmtpSecurity::StartTls`] if the server offers it, in the clear otherwise.
    Opportunistic,
    /// In the clear.
    Off,
}

/// A receiver by e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The server's name or address.
    pub host: String,
    /// The server's port: by default 465 for `smtps`, 587 for `smtp`.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// User name and password, if the server asks for them.
    pub credentials: Option<(String, Secret)>,
    /// The sender, such as `webmon <webmon@example.com>`.
    pub from: String,
    /// Whom to send to. 1 to 50.
    pub to: Vec<String>,
}

pub(super) fn email(table: &Table) -> Option<Email> {
    let server = match table.get("server") {
        Some(entry) => server(&entry.hidden()),
        None => {
            table.missing("server", "\"smtp://host:587\" or \"smtps://host:465\"");
            None
        }
    };
    let security = security(table, server.as_ref());
    let credentials = credentials(table);
    let from = match table.get("from") {
        Some(entry) => mailbox(&entry),
        None => {
            table.missing("from", "the sender's address");
            None
        }
    };
    if table.get("to").is_none() {
        table.missing("to", "the addresses to send to");
    }
    let entries = table.get("to").map(|entry| entry.one_or_more(MAX_RECIPIENTS)).unwrap_or_default();
    let count = entries.len();
    let to: Vec<String> = entries.iter().filter_map(mailbox).collect();
    let (server, security, credentials) = (server?, security?, credentials?);
    let is_encrypted = matches!(security, SmtpSecurity::Tls | SmtpSecurity::StartTls);
    if credentials.is_some() && !is_encrypted && !server.is_this_host {
        table.fault(
            "has a password and may send it in the clear: expected starttls = \"required\"".to_owned(),
        );
        return None;
    }
    if count == 0 || to.len() < count {
        return None;
    }
    Some(Email { host: server.host, port: server.port, security, credentials, from: from?, to })
}

struct Server {
    host: String,
    port: u16,
    is_tls: bool,
    is_this_host: bool,
}

/// The text is never quoted: it may hold a password.
fn server(entry: &Entry) -> Option<Server> {
    const EXPECTED: &str = "expected \"smtp://host:587\" or \"smtps://host:465\"";
    let url = match Url::parse(&entry.text(MAX_URL)?) {
        Ok(url) => url,
        Err(error) => return entry.refuse(format_args!("is not a URL: {error}: {EXPECTED}")),
    };
    let is_tls = match url.scheme() {
        "smtp" => false,
        "smtps" => true,
        _ => return entry.refuse(format_args!("is not a mail server: {EXPECTED}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return entry.refuse("has credentials in it: expected username and password");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return entry.refuse(format_args!("has more than a host and a port: {EXPECTED}"));
    }
    // Of a scheme that url does not know, a host is a text.
    let host = url.host_str().and_then(|host| Host::parse(host).ok());
    let (host, is_this_host) = match host {
        Some(Host::Domain(name)) => (name.clone(), name == "localhost"),
        Some(Host::Ipv4(address)) => (address.to_string(), address.is_loopback()),
        Some(Host::Ipv6(address)) => (address.to_string(), address.is_loopback()),
        None => return entry.refuse(format_args!("has no host: {EXPECTED}")),
    };
    let port = url.port().unwrap_or(if is_tls { 465 } else { 587 });
    Some(Server { host, port, is_tls, is_this_host })
}

/// None after a fault.
fn security(table: &Table, server: Option<&Server>) -> Option<SmtpSecurity> {
    let Some(entry) = table.get("starttls") else {
        return Some(if server?.is_tls { SmtpSecurity::Tls } else { SmtpSecurity::StartTls });
    };
    let security = match entry.text(MAX_TEXT)?.as_str() {
        "required" => SmtpSecurity::StartTls,
        "opportunistic" => SmtpSecurity::Opportunistic,
        "off" => SmtpSecurity::Off,
        other => {
            return entry.refuse(format_args!(
                "{other:?} is unknown: expected \"required\", \"opportunistic\" or \"off\""
            ));
        }
    };
    if server?.is_tls {
        return entry.refuse("is for smtp://: expected it to be left out with smtps://");
    }
    Some(security)
}

/// None after a fault.
fn credentials(table: &Table) -> Option<Option<(String, Secret)>> {
    let username = table.get("username").map(|entry| entry.hidden().text(MAX_TEXT));
    let password = secret(table, "password", "password_file");
    match (username, password) {
        (None, None) => Some(None),
        (Some(username), Some(password)) => Some(Some((username?, password?))),
        (Some(_), None) => {
            table.missing("password", "the password, or password_file");
            None
        }
        (None, Some(_)) => {
            table.missing("username", "the user's name");
            None
        }
    }
}

fn mailbox(entry: &Entry) -> Option<String> {
    let text = entry.text(MAX_TEXT)?;
    let found: Result<Mailbox, _> = text.parse();
    match found {
        Ok(mailbox) if mailbox.email.to_string().is_ascii() && !text.chars().any(char::is_control) => Some(text),
        _ => entry.refuse(format_args!(
            "{text:?} is not an address: expected one such as \"ops@example.com\" or \"Ops <ops@example.com>\""
        )),
    }
}
