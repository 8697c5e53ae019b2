//! The addresses of a receiver's host: looked up within a time, and without those that the configuration forbids.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use ipnet::IpNet;

use crate::denied::denied;

/// The most addresses of a name that are tried.
pub(super) const MAX_ADDRESSES: usize = 8;
/// The most look-ups at a time. The system's own cannot be cut off: one that nobody waits for any more still counts until
/// it ends, which it does by the time limits of `/etc/resolv.conf`.
const MAX_LOOK_UPS: usize = 64;

static LOOK_UPS: AtomicUsize = AtomicUsize::new(0);

/// A look-up that counts.
struct LookUp;

impl LookUp {
    fn begin() -> Option<LookUp> {
        let more = |count: usize| (count < MAX_LOOK_UPS).then_some(count + 1);
        LOOK_UPS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| LookUp)
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        LOOK_UPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The addresses of `host`, a name or an address with or without brackets, that no rule of `deny` forbids.
///
/// # Errors
/// Why there are none: the look-up failed, or took until `until`, or every address is forbidden.
pub(super) fn addresses(
    host: &str,
    port: u16,
    deny: &[IpNet],
    until: Instant,
) -> Result<Vec<SocketAddr>, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => look_up(host.to_owned(), port, until)?,
    };
    if found.is_empty() {
        return Err("the host has no address".to_owned());
    }
    let mut allowed = found;
    allowed.retain(|address| !denied(deny, address.ip()));
    allowed.truncate(MAX_ADDRESSES);
    if allowed.is_empty() {
        Err("the configuration forbids every address of the host".to_owned())
    } else {
        Ok(allowed)
    }
}

fn look_up(host: String, port: u16, until: Instant) -> Result<Vec<SocketAddr>, String> {
    let look_up = LookUp::begin().ok_or("too many names are being looked up")?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let job = move || {
        let _counts = look_up;
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found);
    };
    let thread = thread::Builder::new().name("alert-dns".to_owned()).spawn(job);
    thread.map_err(|error| format!("no thread for the look-up of the host: {error}"))?;
    match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(format!("the host cannot be looked up: {error}")),
        Err(_) => Err("the host was not looked up in time".to_owned()),
    }
}
