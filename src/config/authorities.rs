//! `ca` of a receiver: whom to trust.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use native_tls::Certificate;

use super::table::Table;

/// The largest file of certificates, in bytes.
const MAX_PEM: u64 = 4 << 20;

/// Certificates of authorities, in PEM, to trust instead of the system's.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(Arc<[u8]>);

impl Authorities {
    /// Takes the text of a PEM file.
    ///
    /// # Errors
    /// There is no certificate in it.
    pub fn new(pem: &[u8]) -> Result<Authorities, String> {
        match Certificate::stack_from_pem(pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(Authorities(pem.into())),
            _ => Err("holds no PEM certificate".to_owned()),
        }
    }

    /// The certificates.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        Certificate::stack_from_pem(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.certificates().len())
    }
}

pub(super) fn authorities(table: &Table) -> Option<Authorities> {
    let entry = table.get("ca")?;
    let path = entry.file()?;
    let found = read(&path).map_err(|error| format!("cannot be read: {error}"));
    match found.and_then(|pem| Authorities::new(&pem)) {
        Ok(authorities) => Some(authorities),
        Err(problem) => entry.refuse(format_args!("{:?} {problem}", path.display().to_string())),
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(MAX_PEM + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_PEM {
        return Err(std::io::Error::other(format!("it is larger than {MAX_PEM} bytes")));
    }
    Ok(contents)
}
