//! What all checks of a checker share, as given and as built.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::error::SetupError;
use super::resolve::{Resolve, SystemResolver};
use super::stalls::Stalls;
use super::tls::SharedTls;

/// What all checks share.
///
/// ```
/// use webmon::check::Settings;
///
/// let mut settings = Settings::new()?;
/// settings.user_agent = "shop-monitor/1.0".to_owned();
/// // Whatever a site's name or a redirect leads to: nothing inside.
/// settings.deny_addresses = vec!["10.0.0.0/8".parse()?, "fc00::/7".parse()?];
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    /// The `User-Agent` of requests, unless the site has its own header of that name.
    pub user_agent: String,
    /// Certificate authorities to trust in addition to those of Mozilla (the `webpki-roots` crate), in DER.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Addresses never to connect to, on any hop. If a name has other addresses, those are tried.
    pub deny_addresses: Vec<IpNet>,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
}

impl Settings {
    /// The defaults: `webmon/<version>`, no further roots, no rules, [`SystemResolver`].
    ///
    /// # Errors
    /// As [`SystemResolver::new`].
    pub fn new() -> Result<Settings, SetupError> {
        Ok(Settings::with_resolver(Arc::new(SystemResolver::new()?)))
    }

    /// The defaults with another resolver.
    pub fn with_resolver(resolver: Arc<dyn Resolve>) -> Settings {
        Settings {
            user_agent: concat!("webmon/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_roots: Vec::new(),
            deny_addresses: Vec::new(),
            resolver,
        }
    }
}

/// Reads the certificates in the PEM file at `path`, for [`Settings::extra_roots`].
///
/// # Errors
/// [`SetupError::RootFile`] if the file cannot be read, or holds no certificate.
pub fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let fault = |problem: String| SetupError::RootFile { path: path.to_owned(), problem };
    let roots: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error: rustls_pki_types::pem::Error| fault(error.to_string()))?;
    if roots.is_empty() { Err(fault("it holds none".to_owned())) } else { Ok(roots) }
}

/// [`Settings`] as built once for all threads.
pub(super) struct Parts {
    pub(super) user_agent: String,
    pub(super) deny: Arc<[IpNet]>,
    pub(super) resolve: Arc<dyn Resolve>,
    pub(super) tls: SharedTls,
    pub(super) stalls: Arc<Stalls>,
}

impl Parts {
    pub(super) fn new(settings: &Settings) -> Result<Parts, SetupError> {
        // ureq does not check this and would panic.
        if !settings.user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(SetupError::UserAgent(settings.user_agent.clone()));
        }
        Ok(Parts {
            user_agent: settings.user_agent.clone(),
            deny: settings.deny_addresses.clone().into(),
            resolve: Arc::clone(&settings.resolver),
            tls: SharedTls::new(&settings.extra_roots)?,
            stalls: Stalls::of_this_process().map_err(SetupError::Thread)?,
        })
    }
}
