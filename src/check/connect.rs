//! Connects for ureq: TCP to one of the resolved addresses, through a proxy if the site has one, then TLS. It times each
//! and notes what it finds.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use super::date;
use super::dial::{dial, has_address, has_route, is_lack_of_route};
use super::fault::{Fault, is_exhausted};
use super::forward::Forward;
use super::hop::{Phase, SharedHop, bare_host, remaining};
use super::proxy::of_proxy;
use super::settings::Parts;
use super::tls;
use super::tunnel;
use super::way::Way;
use super::wire::{Link, Socket, Wire, fault_of};
use crate::record::{ErrorType, Outcome};

/// Connects to the site, or to its proxy. ureq's own proxies are not used.
pub(super) struct HopConnector {
    pub(super) parts: Arc<Parts>,
    /// For sites that have no settings of their own.
    pub(super) tls: Arc<ClientConfig>,
    pub(super) hop: SharedHop,
}

impl fmt::Debug for HopConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopConnector").finish_non_exhaustive()
    }
}

impl Connector for HopConnector {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        let (deadline, longest_line, way) = {
            let hop = self.hop.lock();
            (hop.deadline, hop.longest_line, hop.way.clone())
        };
        let begun = Instant::now();
        let source = way.network.source;
        let connected = connect_any(&details.addrs, source, deadline, &self.hop);
        let proxy = way.network.proxy.as_deref();
        let (stream, address) = match proxy {
            Some(_) => connected.map_err(of_proxy)?,
            None => connected?,
        };
        let mut socket = Socket { stream, deadline };
        if let Some(proxy) = proxy.filter(|_| details.needs_tls()) {
            self.hop.lock().phase = Phase::Proxy;
            tunnel::open(&mut socket, proxy, details.uri)?;
        }
        {
            let mut hop = self.hop.lock();
            hop.connect = Some(begun.elapsed());
            hop.phase = if details.needs_tls() { Phase::Tls } else { Phase::Response };
        }
        if details.needs_tls() {
            let link = self.handshake(socket, address, bare_host(details.uri), &way)?;
            return Ok(Some(Wire::new(link, longest_line, None, self.hop.clone())));
        }
        let forward = proxy.map(|proxy| Forward::new(proxy, details.uri));
        Ok(Some(Wire::new(Link::Plain(socket), longest_line, forward, self.hop.clone())))
    }
}

impl HopConnector {
    fn handshake(
        &self,
        mut socket: Socket,
        address: SocketAddr,
        host: &str,
        way: &Way,
    ) -> Result<Link, Fault> {
        let own_name = way.tls.as_ref().and_then(|tls| tls.server_name.clone());
        let name = own_name.map_or_else(|| ServerName::try_from(host.to_owned()), Ok).map_err(|_| {
            Fault::new(ErrorType::Tls, "bad_name", "the host is not a name that a certificate can have")
        })?;
        let config = match &way.tls {
            Some(tls) => self.parts.tls.for_site(tls, &self.hop),
            None => Arc::clone(&self.tls),
        };
        let begun = Instant::now();
        let mut session =
            ClientConnection::new(config, name.clone()).map_err(|error| Fault::tls(&error, false))?;
        let done = session.complete_io(&mut socket);
        let mut hop = self.hop.lock();
        // This is known even if the certificate was refused.
        hop.tls_version = session.protocol_version().and_then(tls::version);
        if let Err(error) = done {
            let certificate = hop.certificate.clone();
            let self_signed = hop.is_self_signed();
            drop(hop);
            let mut fault = fault_of(&error, Phase::Tls, self_signed);
            // A proxy is not asked again only for this.
            if let Some(certificate) = certificate.filter(|_| way.network.proxy.is_none()) {
                let site = date::Clock { address, source: way.network.source, name };
                date::ask_whose_clock_is_wrong(&mut fault, &certificate, site, socket.deadline);
            }
            return Err(fault);
        }
        hop.tls = Some(begun.elapsed());
        hop.phase = Phase::Response;
        Ok(Link::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

/// Tries `addresses` in order, from `source` if that is given, and notes in `hop` which one. Each except the last may
/// take half of the time left, so that an address that never answers leaves time for the next. The error is that of the
/// last address tried whose error says something about the site.
fn connect_any(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
    deadline: Instant,
    hop: &SharedHop,
) -> Result<(TcpStream, SocketAddr), Fault> {
    if source.is_some_and(|source| !has_address(source)) {
        let message = "this host does not have the source address, from which to connect";
        return Err(Fault::new(ErrorType::NetworkDown, "no_source_address", message));
    }
    // If there are several, addresses of a family that this host lacks would take their share of the time and say
    // nothing.
    let reachable: Vec<SocketAddr> = match addresses {
        [_] => addresses.to_vec(),
        _ => addresses.iter().copied().filter(|address| has_route(address, source)).collect(),
    };
    let mut last: Option<Fault> = None;
    for (index, address) in reachable.iter().enumerate() {
        let Some(left) = remaining(deadline) else {
            return Err(Fault::timeout(Phase::Connect));
        };
        let slice = if index + 1 == reachable.len() { left } else { left / 2 };
        hop.lock().remote_ip = Some(address.ip());
        // Without nodelay the request would wait for the ACK of the handshake's last flight.
        let connected =
            dial(address, source, slice).and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        match connected {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => {
                let fault = match is_lack_of_route(&error) && !has_route(address, source) {
                    true => no_route(address),
                    false => Fault::io(&error, Phase::Connect),
                };
                if is_exhausted(&error) {
                    return Err(fault);
                }
                // Trouble of this host says nothing about the site, so it is reported only if there is no other error.
                if fault.error_type.outcome() != Outcome::Missed || last.is_none() {
                    last = Some(fault);
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| match addresses.first() {
        Some(address) => no_route(address),
        None => Fault::new(ErrorType::Dns, "no_address", "the name has no address"),
    }))
}

/// The checker's own trouble, which is no verdict on the site.
fn no_route(address: &SocketAddr) -> Fault {
    let detail = if address.is_ipv4() { "no_route_ipv4" } else { "no_route_ipv6" };
    Fault::new(ErrorType::NetworkDown, detail, format!("this host has no route to {}", address.ip()))
}
