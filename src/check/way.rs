//! How one request of a check gets to its server.

use std::sync::Arc;

use url::Url;

use crate::site::{Network, Proxy, Tls};

/// What of a site's network and TLS applies to a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) network: Network,
    /// None if the checker's own settings apply.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Way {
    /// The proxy that reads the request for `url` itself, as it does over plain HTTP.
    pub(super) fn forwarder(&self, url: &Url) -> Option<&Arc<Proxy>> {
        self.network.proxy.as_ref().filter(|_| url.scheme() == "http")
    }
}
