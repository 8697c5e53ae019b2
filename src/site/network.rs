//! How a site's requests leave this host: over which IP version, from which address, to which addresses, and through
//! which proxy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use url::{Host, Url};

/// How a site's requests leave this host. By default nothing is chosen.
///
/// ```
/// use webmon::site::{IpChoice, IpVersion, Network};
///
/// let network = Network { ip: IpChoice::Prefer(IpVersion::V6), ..Network::default() };
/// let found = vec!["192.0.2.1".parse()?, "2001:db8::1".parse()?];
/// assert!(network.chosen(found)[0].is_ipv6());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Which addresses are used, and in which order.
    pub ip: IpChoice,
    /// The address of this host that connections come from. Addresses of the other IP version are then not used.
    pub source: Option<IpAddr>,
    /// The addresses of the site's own host, which is then not looked up; at most 8. They do not apply to other hosts
    /// that the site redirects to, and not together with a proxy.
    pub resolve: Vec<IpAddr>,
    /// The proxy that all requests go through.
    pub proxy: Option<Arc<Proxy>>,
}

/// Which addresses of a name are used, and in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpChoice {
    /// All, in the order in which they were found.
    #[default]
    Any,
    /// Only those of one version.
    Only(IpVersion),
    /// All, those of one version first.
    Prefer(IpVersion),
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of `address`.
    pub fn of(address: IpAddr) -> IpVersion {
        if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 }
    }

    /// The address that stands for any address of this version.
    pub fn unspecified(self) -> IpAddr {
        match self {
            IpVersion::V4 => Ipv4Addr::UNSPECIFIED.into(),
            IpVersion::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            IpVersion::V4 => "IPv4",
            IpVersion::V6 => "IPv6",
        })
    }
}

impl Network {
    /// The one IP version that can be used, if not both can: that of `source`, else that of `ip`.
    pub fn only(&self) -> Option<IpVersion> {
        match (self.source, self.ip) {
            (Some(source), _) => Some(IpVersion::of(source)),
            (None, IpChoice::Only(version)) => Some(version),
            _ => None,
        }
    }

    /// Those of `found` that are used, in the order in which they are tried.
    pub fn chosen(&self, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
        if let Some(only) = self.only() {
            found.retain(|address| IpVersion::of(*address) == only);
        } else if let IpChoice::Prefer(version) = self.ip {
            found.sort_by_key(|address| IpVersion::of(*address) != version);
        }
        found
    }
}

/// An HTTP proxy. `Debug` does not show its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Url,
    host: Host,
}

/// A URL that is not that of a [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It has another scheme than `http`.
    #[error("has another scheme than http: expected \"http://host:port\", also for requests over https")]
    Scheme,
    /// It has a path, a query or a fragment.
    #[error(
        "has more than a host and a port: expected \"http://host:port\" or \"http://user:password@host:port\""
    )]
    More,
}

impl Proxy {
    /// The proxy at `url`: `http://host:port`, with user and password if it asks for them. The port is by default 80.
    ///
    /// # Errors
    /// [`ProxyError`] if the URL is another one.
    pub fn new(url: Url) -> Result<Proxy, ProxyError> {
        if url.scheme() != "http" {
            return Err(ProxyError::Scheme);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyError::More);
        }
        let host = url.host().ok_or(ProxyError::More)?.to_owned();
        Ok(Proxy { url, host })
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(80)
    }

    /// Its URL. It may hold a password.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_chosen_by_version_and_otherwise_keep_their_order() {
        let found = addresses(&["::1", "127.0.0.1", "::2", "127.0.0.2"]);
        for (ip, source, expected) in [
            (IpChoice::Any, None, &["::1", "127.0.0.1", "::2", "127.0.0.2"][..]),
            (IpChoice::Only(IpVersion::V4), None, &["127.0.0.1", "127.0.0.2"]),
            (IpChoice::Only(IpVersion::V6), None, &["::1", "::2"]),
            (IpChoice::Prefer(IpVersion::V4), None, &["127.0.0.1", "127.0.0.2", "::1", "::2"]),
            (IpChoice::Prefer(IpVersion::V6), None, &["::1", "::2", "127.0.0.1", "127.0.0.2"]),
            (IpChoice::Any, Some("127.0.0.9"), &["127.0.0.1", "127.0.0.2"]),
            (IpChoice::Prefer(IpVersion::V6), Some("::9"), &["::1", "::2"]),
        ] {
            let source = source.map(|source| source.parse().unwrap());
            let network = Network { ip, source, ..Network::default() };
            assert_eq!(network.chosen(found.clone()), addresses(expected), "{network:?}");
        }
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_its_password_is_not_shown() {
        let proxy = |url: &str| Proxy::new(url.parse().unwrap());
        let with_password = proxy("http://user:s3cr3t@[::1]:3128").unwrap();
        assert_eq!(format!("{with_password:?}"), "Proxy([::1]:3128)");
        assert_eq!(proxy("http://proxy.example").unwrap().port(), 80);
        for url in ["https://proxy.example/", "socks5://proxy.example:1080", "user:s3cr3t@proxy.example:1"] {
            assert_eq!(proxy(url), Err(ProxyError::Scheme), "{url}");
        }
        for url in ["http://proxy.example/x", "http://proxy.example/?x", "http://proxy.example/#x"] {
            assert_eq!(proxy(url), Err(ProxyError::More), "{url}");
        }
    }
}
