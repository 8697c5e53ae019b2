//! The TLS settings of sites as written, and as built: each distinct one once.

#[cfg(feature = "check")]
use std::cell::RefCell;
#[cfg(feature = "check")]
use std::collections::BTreeMap;
#[cfg(feature = "check")]
use std::fs::File;
#[cfg(feature = "check")]
use std::io::Read;
#[cfg(feature = "check")]
use std::path::Path;
use std::path::PathBuf;
#[cfg(feature = "check")]
use std::sync::Arc;

use crate::record::TlsVersion;
#[cfg(feature = "check")]
use crate::site::{Tls, TlsError, TlsOptions};

/// `tls` of a site as written: files, not what is in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteTls {
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) verify: bool,
    pub(super) min_version: TlsVersion,
    pub(super) server_name: Option<String>,
}

/// The largest file of certificates, in bytes.
#[cfg(feature = "check")]
const MAX_PEM: u64 = 4 << 20;

/// What is wrong, each with its key.
#[cfg(feature = "check")]
pub(super) type Problems = Vec<(&'static str, String)>;

/// Those of one configuration.
#[cfg(feature = "check")]
#[derive(Default)]
pub(super) struct BuiltTls(RefCell<BTreeMap<SiteTls, Result<Arc<Tls>, Problems>>>);

#[cfg(feature = "check")]
impl BuiltTls {
    /// Reads the files and builds what is in them, unless that was done for another site.
    pub(super) fn of(&self, written: &SiteTls) -> Result<Arc<Tls>, Problems> {
        if let Some(built) = self.0.borrow().get(written) {
            return built.clone();
        }
        let built = build(written).map(Arc::new);
        self.0.borrow_mut().insert(written.clone(), built.clone());
        built
    }
}

#[cfg(feature = "check")]
fn build(written: &SiteTls) -> Result<Tls, Problems> {
    let mut problems = Problems::new();
    let mut contents = |key: &'static str, path: &Option<PathBuf>| {
        let path = path.as_ref()?;
        match read(path) {
            Ok(contents) => Some(contents),
            Err(error) => {
                problems.push((key, format!("{:?} cannot be read: {error}", shown(path))));
                None
            }
        }
    };
    let ca = contents("ca", &written.ca);
    let certificate = contents("certificate", &written.certificate);
    let key = contents("key", &written.key);
    if !problems.is_empty() {
        return Err(problems);
    }
    let options = TlsOptions {
        ca,
        client: certificate.zip(key),
        verify: written.verify,
        min_version: written.min_version,
        server_name: written.server_name.clone(),
    };
    Tls::new(&options).map_err(|error| {
        let of_file = |path: &Option<PathBuf>, problem| {
            format!("{:?} cannot be used: {problem}", path.as_deref().map(shown).unwrap_or_default())
        };
        vec![match error {
            TlsError::Ca(problem) => ("ca", of_file(&written.ca, problem)),
            TlsError::Certificate(problem) => ("certificate", of_file(&written.certificate, problem)),
            TlsError::Key(problem) => ("key", of_file(&written.key, problem)),
            TlsError::Mismatch => {
                ("key", of_file(&written.key, "it is not the key of the certificate".to_owned()))
            }
            TlsError::ServerName(_) => ("server_name", error.to_string()),
        }]
    })
}

#[cfg(feature = "check")]
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(feature = "check")]
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(MAX_PEM + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_PEM {
        return Err(std::io::Error::other(format!("it is larger than {MAX_PEM} bytes")));
    }
    Ok(contents)
}
