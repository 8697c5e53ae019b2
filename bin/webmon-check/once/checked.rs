//! A site and what its check came to.

use std::sync::Arc;

use webmon::check::Observed;
use webmon::site::Site;

#[derive(Clone, Debug)]
pub struct Checked {
    pub site: Arc<Site>,
    pub observed: Observed,
}

impl Checked {
    /// Whether the answer came over TLS from a server that nobody verified.
    pub fn is_unverified(&self) -> bool {
        let verifies = self.site.tls.as_ref().is_none_or(|tls| tls.verifies());
        self.observed.result.tls_version.is_some() && !verifies
    }
}
