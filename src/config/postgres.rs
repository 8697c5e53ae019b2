//! `[postgres]`: where the results are stored.

use std::path::PathBuf;

use super::credentials::{certificate_and_key, password_file};
use super::role::Role;
use super::table::Table;
use crate::secret::Secret;

/// `[postgres]`: where the results are stored.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database?sslmode=…`, or libpq's `key=value` form.
    pub url: Secret,
    /// The password from the first line of `password_file`, if the URL has none.
    pub password: Option<Secret>,
    /// A file of CA certificates (PEM) for `sslmode=verify-ca` and `verify-full`; by default the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate (PEM), if the server asks for one.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key (PEM, PKCS #8, not encrypted).
    pub key: Option<PathBuf>,
}

impl Postgres {
    /// Settings that need only a URL.
    pub fn new(url: impl Into<String>) -> Postgres {
        Postgres { url: Secret::new(url), password: None, ca: None, certificate: None, key: None }
    }
}

pub(super) fn postgres(table: &Table, role: Role) -> Postgres {
    let url = table.get("url").and_then(|entry| entry.hidden().text(4_096));
    if url.is_none() && matches!(role, Role::Store | Role::Page) && !table.raw().contains_key("url") {
        table.missing("url", "\"postgres://user@host:5432/database\"");
    }
    let password = password_file(table).flatten();
    let (ca, certificate, key) = (table.file("ca"), table.file("certificate"), table.file("key"));
    certificate_and_key(table, certificate.as_ref(), key.as_ref());
    table.refuse_unknown();
    Postgres { url: Secret::new(url.unwrap_or_default()), password, ca, certificate, key }
}
