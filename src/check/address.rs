//! The addresses of a hop: those of its host, except those that the configuration forbids.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use url::Host;

use super::fault::Fault;
use super::hop::{Phase, SharedHop, bare_host};
use super::proxy::of_proxy;
use super::resolve::{Resolve, ResolveError};
use crate::denied::denied;
use crate::record::ErrorType;
use crate::site::{Network, Proxy};

/// The most addresses of a name that are tried.
pub(super) const MAX_ADDRESSES: usize = 8;

/// Gives ureq the addresses of every hop: those that the site gives, literals, then [`Resolve`], then the rules on
/// addresses. With a proxy they are the proxy's.
pub(super) struct HopResolver {
    pub(super) resolve: Arc<dyn Resolve>,
    pub(super) deny: Arc<[IpNet]>,
    pub(super) hop: SharedHop,
}

impl HopResolver {
    /// The addresses of `host` that `network` lets use, in the order in which to try them.
    fn addresses(&self, host: &str, network: &Network) -> Result<Vec<IpAddr>, Fault> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host, network)?,
        };
        let chosen = network.chosen(found);
        match network.only() {
            Some(only) if chosen.is_empty() => {
                Err(Fault::new(ErrorType::Dns, "no_address", format!("the host has no {only} address")))
            }
            _ => Ok(chosen),
        }
    }

    fn look_up(&self, host: &str, network: &Network) -> Result<Vec<IpAddr>, Fault> {
        let Some(timeout) = self.hop.lock().remaining() else {
            return Err(Fault::timeout(Phase::Dns));
        };
        let begun = Instant::now();
        let found = match network.only() {
            Some(version) => self.resolve.resolve_version(host, version, timeout),
            None => self.resolve.resolve(host, timeout),
        };
        let mut hop = self.hop.lock();
        hop.dns = Some(begun.elapsed());
        match found {
            Ok(found) if found.is_empty() => Err(ResolveError::NoAddress.into_fault(false)),
            Ok(found) => Ok(found),
            Err(error) => Err(error.into_fault(hop.remaining().is_none())),
        }
    }

    /// Those of `found` that no rule forbids, with `port`.
    fn allowed(&self, found: Vec<IpAddr>, port: u16) -> Result<ResolvedSocketAddrs, Fault> {
        let mut allowed = self.empty();
        for address in found.into_iter().filter(|address| !denied(&self.deny, *address)).take(MAX_ADDRESSES) {
            allowed.push(SocketAddr::new(address, port));
        }
        if allowed.is_empty() {
            let message = "the configuration forbids every address of the host";
            return Err(Fault::new(ErrorType::BlockedAddress, "denied", message));
        }
        Ok(allowed)
    }

    fn of_proxy(&self, proxy: &Proxy, network: &Network) -> Result<ResolvedSocketAddrs, Fault> {
        let host = match proxy.host() {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let found = self.addresses(&host, network);
        found.and_then(|found| self.allowed(found, proxy.port())).map_err(of_proxy)
    }
}

impl Resolver for HopResolver {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let host = bare_host(uri);
        let network = self.hop.lock().way.network.clone();
        let allowed = if let Some(proxy) = &network.proxy {
            // The proxy looks the name up, so no rule can be applied to what it finds.
            if let Ok(address) = host.parse() {
                self.allowed(vec![address], port)?;
            }
            self.of_proxy(proxy, &network)?
        } else if network.resolve.is_empty() {
            self.allowed(self.addresses(host, &network)?, port)?
        } else {
            self.allowed(network.chosen(network.resolve.clone()), port)?
        };
        self.hop.lock().phase = Phase::Connect;
        Ok(allowed)
    }
}

impl fmt::Debug for HopResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopResolver").field("deny", &self.deny).finish_non_exhaustive()
    }
}
