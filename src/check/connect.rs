//! Connects for ureq: TCP to one of the resolved addresses, then TLS. It times each and notes what it finds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use super::date;
use super::fault::{Fault, is_exhausted};
use super::hop::{Phase, SharedHop, bare_host, remaining};
use super::tls;
use super::wire::{Link, Socket, Wire, fault_of};
use crate::record::{ErrorType, Outcome};

/// Connects directly to the site. There are no proxies.
#[derive(Debug)]
pub(super) struct DirectConnector {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) hop: SharedHop,
}

impl Connector for DirectConnector {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        let (deadline, longest_line) = {
            let hop = self.hop.lock();
            (hop.deadline, hop.longest_line)
        };
        let begun = Instant::now();
        let (stream, address) = connect_any(&details.addrs, deadline, &self.hop)?;
        {
            let mut hop = self.hop.lock();
            hop.connect = Some(begun.elapsed());
            hop.phase = if details.needs_tls() { Phase::Tls } else { Phase::Response };
        }
        let socket = Socket { stream, deadline };
        let link = if details.needs_tls() {
            self.handshake(socket, address, bare_host(details.uri))?
        } else {
            Link::Plain(socket)
        };
        Ok(Some(Wire::new(link, longest_line, self.hop.clone())))
    }
}

impl DirectConnector {
    fn handshake(&self, mut socket: Socket, address: SocketAddr, host: &str) -> Result<Link, Fault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Fault::new(ErrorType::Tls, "bad_name", "the host is not a name that a certificate can have")
        })?;
        let begun = Instant::now();
        let mut session = ClientConnection::new(Arc::clone(&self.tls), name.clone())
            .map_err(|error| Fault::tls(&error, false))?;
        let done = session.complete_io(&mut socket);
        let mut hop = self.hop.lock();
        // This is known even if the certificate was refused.
        hop.tls_version = session.protocol_version().and_then(tls::version);
        if let Err(error) = done {
            let certificate = hop.certificate;
            drop(hop);
            let self_signed = certificate.is_some_and(|certificate| certificate.self_signed);
            let mut fault = fault_of(&error, Phase::Tls, self_signed);
            if let Some(certificate) = certificate {
                date::ask_whose_clock_is_wrong(&mut fault, certificate, address, name, socket.deadline);
            }
            return Err(fault);
        }
        hop.tls = Some(begun.elapsed());
        hop.phase = Phase::Response;
        Ok(Link::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

/// Tries `addresses` in order, and notes in `hop` which one. Each except the last may take half of the time left, so
/// that an address that never answers leaves time for the next. The error is that of the last address tried whose error
/// says something about the site.
fn connect_any(
    addresses: &[SocketAddr],
    deadline: Instant,
    hop: &SharedHop,
) -> Result<(TcpStream, SocketAddr), Fault> {
    // If there are several, addresses of a family that this host lacks would take their share of the time and say
    // nothing.
    let reachable: Vec<SocketAddr> = match addresses {
        [_] => addresses.to_vec(),
        _ => addresses.iter().copied().filter(has_route).collect(),
    };
    let mut last: Option<Fault> = None;
    for (index, address) in reachable.iter().enumerate() {
        let Some(left) = remaining(deadline) else {
            return Err(Fault::timeout(Phase::Connect));
        };
        let slice = if index + 1 == reachable.len() { left } else { left / 2 };
        hop.lock().remote_ip = Some(address.ip());
        // Without nodelay the request would wait for the ACK of the handshake's last flight.
        let connected = TcpStream::connect_timeout(address, slice)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        match connected {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => {
                let fault = match is_lack_of_route(&error) && !has_route(address) {
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

/// Whether this host has a way to `address`: connecting a UDP socket looks it up and sends nothing.
fn has_route(address: &SocketAddr) -> bool {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    match UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)) {
        Ok(()) => true,
        Err(error) => !is_lack_of_route(&error),
    }
}

/// Whether this may be the error of connect(2) or socket(2) if the host has no address of the family, or no route. A
/// router on the way, or a host without free ports, may cause the same error.
fn is_lack_of_route(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

/// The checker's own trouble, which is no verdict on the site.
fn no_route(address: &SocketAddr) -> Fault {
    let detail = if address.is_ipv4() { "no_route_ipv4" } else { "no_route_ipv6" };
    Fault::new(ErrorType::NetworkDown, detail, format!("this host has no route to {}", address.ip()))
}
