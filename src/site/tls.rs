//! Whom a site trusts in TLS, and what it shows of itself.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::record::TlsVersion;

/// What [`Tls`] is made of. `Debug` does not show the key.
#[derive(Clone)]
pub struct TlsOptions {
    /// The CA certificates to trust, in PEM: these alone, and not the public ones and those of the checker.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate in PEM, followed by those that lead up to its authority, and its private key in PEM
    /// (PKCS #8, PKCS #1 or SEC1, not encrypted). They are shown to a server that asks for them.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
    /// The oldest version of TLS to speak.
    pub min_version: TlsVersion,
    /// The name to ask the server for (SNI), and to look for in its certificate. By default the host of the URL.
    pub server_name: Option<String>,
}

impl Default for TlsOptions {
    fn default() -> TlsOptions {
        TlsOptions { ca: None, client: None, verify: true, min_version: TlsVersion::Tls12, server_name: None }
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca.is_some())
            .field("client", &self.client.is_some())
            .field("verify", &self.verify)
            .field("min_version", &self.min_version)
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// Why [`TlsOptions`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The CA certificates.
    #[error("the CA certificates cannot be used: {0}")]
    Ca(String),
    /// The client's certificate.
    #[error("the client's certificate cannot be used: {0}")]
    Certificate(String),
    /// The client's key.
    #[error("the client's key cannot be used: {0}")]
    Key(String),
    /// The client's certificate has another key.
    #[error("the client's key is not the key of its certificate")]
    Mismatch,
    /// The name is none that a certificate can have.
    #[error("{0:?} is not a name that a certificate can have")]
    ServerName(String),
}

/// How a site's requests speak TLS. It is costly to build, so sites with the same settings should share one.
///
/// ```
/// use std::sync::Arc;
/// use webmon::record::TlsVersion;
/// use webmon::schedule::Schedule;
/// use webmon::site::{Site, Tls, TlsOptions};
///
/// let options = TlsOptions { min_version: TlsVersion::Tls13, ..TlsOptions::default() };
/// let mut site = Site::new("shop", "https://shop.example/".parse()?, Schedule::new("@hourly", "UTC")?);
/// site.tls = Some(Arc::new(Tls::new(&options)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tls {
    /// Whom to trust, if not those whom the checker trusts.
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) client: Option<Arc<dyn ResolvesClientCert>>,
    pub(crate) verify: bool,
    pub(crate) min_version: TlsVersion,
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the certificates and the key.
    ///
    /// # Errors
    /// [`TlsError`] names the first of them that cannot be used.
    pub fn new(options: &TlsOptions) -> Result<Tls, TlsError> {
        let trust = options.ca.as_deref().map(own_authorities).transpose()?.map(Arc::new);
        let client = match &options.client {
            Some((certificate, key)) => Some(client(certificate, key)?),
            None => None,
        };
        let server_name = match &options.server_name {
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| TlsError::ServerName(name.clone()))?)
            }
            None => None,
        };
        Ok(Tls { trust, client, verify: options.verify, min_version: options.min_version, server_name })
    }

    /// Whether the server's certificate is verified.
    pub fn verifies(&self) -> bool {
        self.verify
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.trust.is_some())
            .field("client", &self.client.is_some())
            .field("verify", &self.verify)
            .field("min_version", &self.min_version)
            .field("server_name", &self.server_name)
            .finish()
    }
}

fn own_authorities(pem: &[u8]) -> Result<Trust, TlsError> {
    let own = certificates(pem).map_err(TlsError::Ca)?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in own.iter().enumerate() {
        let added = roots.add(certificate.clone());
        added.map_err(|error| TlsError::Ca(format!("certificate {index} in it is no root: {error}")))?;
    }
    Trust::new(roots, own).map_err(TlsError::Ca)
}

fn client(certificate: &[u8], key: &[u8]) -> Result<Arc<dyn ResolvesClientCert>, TlsError> {
    let chain = certificates(certificate).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        TlsError::Key(match error {
            pem::Error::NoItemsFound => {
                "it holds no private key: expected one in PKCS #8, PKCS #1 or SEC1 that is not encrypted"
                    .to_owned()
            }
            _ => "it is not PEM".to_owned(),
        })
    })?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| TlsError::Key("it is of no known kind, or damaged".to_owned()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // That of a kind of key of which this cannot be said is taken on trust.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(SingleCertAndKey::from(certified)))
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch),
        Err(error) => Err(TlsError::Certificate(error.to_string())),
    }
}

/// All certificates in `pem`; the problem if there is none.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // The parser's messages quote what is in the file.
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it holds no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(_) => Err("it is not PEM".to_owned()),
    }
}

/// The authorities that a server's certificate may lead up to.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) verifier: Arc<WebPkiServerVerifier>,
    /// Those among them that were given as whole certificates. A server may also show one of these itself.
    pub(crate) own: Vec<CertificateDer<'static>>,
    /// The names of all of them, as in a certificate's issuer, without the SEQUENCE around it.
    names: HashSet<Vec<u8>>,
    /// Another one for each.
    pub(crate) id: u64,
}

impl Trust {
    /// Trusts `roots`; `own` are those of them that were given as whole certificates.
    pub(crate) fn new(roots: RootCertStore, own: Vec<CertificateDer<'static>>) -> Result<Trust, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let names = roots.roots.iter().map(|root| root.subject.to_vec()).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Trust { verifier, own, names, id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// Whether an authority has this name, in DER.
    pub(crate) fn has_authority(&self, name: &[u8]) -> bool {
        contents(name).is_some_and(|name| self.names.contains(name))
    }
}

/// What is inside of a DER value.
fn contents(der: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*der.get(1)?);
    der.get(if length < 0x80 { 2 } else { 2 + (length & 0x7f) }..)
}
