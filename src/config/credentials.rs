//! The credentials of a client, which several sections may have: a certificate and its key, a password in a file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::entry::Entry;
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
    let entry = table.get(key)?;
    Some(line_of(&entry, &table.file(key)?))
}

/// The first line of the file `path`, which `entry` names. None after a fault.
pub(super) fn line_of(entry: &Entry, path: &Path) -> Option<Secret> {
    /// The longest file: a secret is shorter.
    const MAX: u64 = 64 * 1024;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX).read_to_string(&mut text));
    match read {
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
    }
}

/// A secret from the text of `key`, or from the first line of the file that `file` names. None if there is neither; an
/// inner none after a fault.
pub(super) fn secret(table: &Table, key: &'static str, file: &'static str) -> Option<Option<Secret>> {
    match (table.get(key), first_line(table, file)) {
        (Some(_), Some(_)) => {
            table.fault(format!("has both {key} and {file}: expected one of them"));
            Some(None)
        }
        (Some(entry), None) => Some(entry.hidden().secret()),
        (None, found) => found,
    }
}
