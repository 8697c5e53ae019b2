//! TCP connections, from an address of this host that may be chosen.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::site::IpVersion;

/// Connects to `address`, from `source` if that is given.
pub(super) fn dial(address: &SocketAddr, source: Option<IpAddr>, timeout: Duration) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect_timeout(address, timeout) };
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&(*address).into(), timeout)?;
    Ok(socket.into())
}

/// Whether this host has `address`, as far as it can be said: a socket can be bound to it.
pub fn has_address(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => !matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)),
    }
}

/// Whether this host has a way from `source` to `address`: connecting a UDP socket looks it up and sends nothing.
pub(super) fn has_route(address: &SocketAddr, source: Option<IpAddr>) -> bool {
    let from = source.unwrap_or(IpVersion::of(address.ip()).unspecified());
    match UdpSocket::bind((from, 0)).and_then(|socket| socket.connect(address)) {
        Ok(()) => true,
        Err(error) => !is_lack_of_route(&error),
    }
}

/// Whether this may be the error of connect(2) or socket(2) if the host has no address of the family, or no route. A
/// router on the way, or a host without free ports, may cause the same error. EINVAL is that of a source address, such
/// as one of loopback, from which nothing leads there.
pub(super) fn is_lack_of_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EINVAL)
    )
}
