//! The credentials of a client, which several sections may have: a certificate and its key, a password in a file.

use std::path::PathBuf;

use super::secret::Secret;
use super::table::Table;

pub(super) fn certificate_and_key(table: &Table, certificate: Option<&PathBuf>, key: Option<&PathBuf>) {
    match (certificate, key) {
        (Some(_), None) => table.missing("key", "the private key of the certificate"),
        (None, Some(_)) => table.missing("certificate", "the certificate of the key"),
        _ => {}
    }
}

/// The first line of the file that `password_file` names. None without that key; an inner none after a fault.
pub(super) fn password_file(table: &Table) -> Option<Option<Secret>> {
    let entry = table.get("password_file")?;
    let path = table.file("password_file")?;
    Some(match std::fs::read_to_string(&path) {
        Ok(text) => match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => Some(Secret::new(line)),
            None => entry
                .refuse(format_args!("{:?} has no password in its first line", path.display().to_string())),
        },
        Err(error) => entry.refuse(format_args!("{:?} cannot be read: {error}", path.display().to_string())),
    })
}
