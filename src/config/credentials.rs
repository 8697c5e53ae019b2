//! The credentials of a client, which several sections may have: a certificate and its key, a password in a file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::table::Table;
use crate::secret::Secret;

pub(super) fn certificate_and_key(table: &Table, certificate: Option<&PathBuf>, key: Option<&PathBuf>) {
    match (certificate, key) {
        (Some(_), None) => table.missing("key", "the private key of the certificate"),
        (None, Some(_)) => table.missing("certificate", "the certificate of the key"),
        _ => {}
    }
}

/// The first line of the file that `password_file` names. None without that key; an inner none after a fault.
pub(super) fn password_file(table: &Table) -> Option<Option<Secret>> {
    first_line(table, "password_file")
}

/// The first line of the file that `key` names, as [`password_file`].
pub(super) fn first_line(table: &Table, key: &'static str) -> Option<Option<Secret>> {
    /// The longest file: a secret is shorter.
    const MAX: u64 = 64 * 1024;
    let entry = table.get(key)?;
    let path = table.file(key)?;
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX).read_to_string(&mut text));
    Some(match read {
        Ok(_) => match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) if line.contains('\0') => {
                entry.refuse(format_args!("{:?} has a NUL character", path.display().to_string()))
            }
            Some(line) => Some(Secret::new(line)),
            None => {
                entry.refuse(format_args!("{:?} has nothing in its first line", path.display().to_string()))
            }
        },
        Err(error) => entry.refuse(format_args!("{:?} cannot be read: {error}", path.display().to_string())),
    })
}
