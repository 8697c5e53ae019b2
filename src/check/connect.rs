//! Connects for ureq: TCP to one of the resolved addresses, then TLS, timing each and noting what was met.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use super::fault::Fault;
use super::hop::{Phase, SharedHop, bare_host, remaining};
use super::tls;
use super::wire::{Link, Socket, Wire, fault_of};
use crate::result::ErrorType;

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
        let (stream, address) = connect_any(&details.addrs, deadline)?;
        {
            let mut hop = self.hop.lock();
            hop.connect = Some(begun.elapsed());
            hop.remote_ip = Some(address.ip());
            hop.phase = if details.needs_tls() { Phase::Tls } else { Phase::Response };
        }
        let socket = Socket { stream, deadline };
        let link = if details.needs_tls() {
            self.handshake(socket, bare_host(details.uri))?
        } else {
            Link::Plain(socket)
        };
        Ok(Some(Wire::new(link, longest_line, self.hop.clone())))
    }
}

impl DirectConnector {
    fn handshake(&self, mut socket: Socket, host: &str) -> Result<Link, Fault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Fault::new(ErrorType::Tls, "bad_name", "the host is not a name that a certificate can have")
        })?;
        let begun = Instant::now();
        let mut session =
            ClientConnection::new(Arc::clone(&self.tls), name).map_err(|error| Fault::tls(&error, false))?;
        let done = session.complete_io(&mut socket);
        let mut hop = self.hop.lock();
        // Known also when the certificate was refused.
        hop.tls_version = session.protocol_version().and_then(tls::version);
        done.map_err(|error| {
            fault_of(&error, Phase::Tls, hop.certificate.is_some_and(|certificate| certificate.self_signed))
        })?;
        hop.tls = Some(begun.elapsed());
        hop.phase = Phase::Response;
        Ok(Link::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

/// Tries `addresses` in order. Each but the last may take half of the time left, so that one which never
/// answers leaves time for the next; the error is that of the last one tried that says something of the site.
fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut last: Option<Fault> = None;
    for (index, address) in addresses.iter().enumerate() {
        let Some(left) = remaining(deadline) else {
            return Err(Fault::timeout(Phase::Connect));
        };
        let slice = if index + 1 == addresses.len() { left } else { left / 2 };
        // Without nodelay the request would wait for the ACK of the handshake's last flight.
        let connected = TcpStream::connect_timeout(address, slice)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        match connected {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => {
                let fault = Fault::io(&error, Phase::Connect);
                let own = fault.error_type == ErrorType::Saturated;
                // Out of files or memory, the next address fares no better.
                if own && matches!(fault.detail, "too_many_open_files" | "no_memory") {
                    return Err(fault);
                }
                // An address family that this host lacks says nothing of the site, unless nothing else does.
                if !own || last.is_none() {
                    last = Some(fault);
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| Fault::new(ErrorType::Dns, "no_address", "the name has no address")))
}
