//! Connects for ureq: TCP to one of the resolved addresses, then TLS, timing each and noting what was met.

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

/// Connects straight to the site; there are no proxies.
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
        // Known also when the certificate was refused.
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

/// Tries `addresses` in order, and notes in `hop` which. Each but the last may take half of the time left, so that one
/// which never answers leaves time for the next; the error is that of the last one tried that says something of the
/// site.
fn connect_any(
    addresses: &[SocketAddr],
    deadline: Instant,
    hop: &SharedHop,
) -> Result<(TcpStream, SocketAddr), Fault> {
    // Of several, those of a family that this host lacks would take their share of the time, and say nothing.
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
                // Trouble of this host says nothing of the site, unless nothing else does.
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

/// Whether this may be what connect(2) and socket(2) say where the host has no address of the family, or no route. A
/// router on the way, and a host without free ports, may say so too.
fn is_lack_of_route(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

/// The checker's own lack: no verdict on the site.
fn no_route(address: &SocketAddr) -> Fault {
    let detail = if address.is_ipv4() { "no_route_ipv4" } else { "no_route_ipv6" };
    Fault::new(ErrorType::NetworkDown, detail, format!("this host has no route to {}", address.ip()))
}
