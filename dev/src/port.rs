//! Ports of 127.0.0.1: which are free, which is remembered, who answers.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::file;

/// Below the kernel's usual ephemeral range (from 32768), so that an outgoing connection can't be sitting on a port
/// that we remember.
const PORTS: Range<u16> = 20_000..32_000;
const TRIES: usize = 200;
/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Nobody listens on it or uses it as the near end of a connection. From /proc, because a minimal machine has neither
/// ss nor nc.
pub fn is_free(port: u16) -> bool {
    let used = |file| in_use(&std::fs::read_to_string(file).unwrap_or_default(), port);
    !used("/proc/net/tcp") && !used("/proc/net/tcp6")
}

/// States: 01 established, 02 connecting, 0A listening; a connection that is merely dying, as after a kill of our own
/// server, doesn't prevent listening.
fn in_use(table: &str, port: u16) -> bool {
    let local = format!(":{port:04X}");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, address, _, "01" | "02" | "0A"] if address.ends_with(&local))
    })
}

/// A free port that is none of `not`.
pub fn free(not: &[u16]) -> Result<u16> {
    for _ in 0..TRIES {
        let [low, high, ..] = file::random()?;
        // 65,536 is no multiple of the range's length; for ports that does not matter.
        let port = PORTS.start + u16::from_le_bytes([low, high]) % (PORTS.end - PORTS.start);
        if !not.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    bail!("found no free port between {} and {}", PORTS.start, PORTS.end)
}

/// The port that a file tells.
pub fn read(path: &Path) -> Option<u16> {
    file::first_line(path).parse().ok()
}

/// The port that the file remembers when it is still free and none of `not`, else a new one, which the file then
/// remembers.
pub fn remembered(path: &Path, not: &[u16]) -> Result<u16> {
    match read(path) {
        Some(port) if !not.contains(&port) && is_free(port) => Ok(port),
        _ => {
            let port = free(not)?;
            file::write(path, &format!("{port}\n"), 0o644)?;
            Ok(port)
        }
    }
}

/// A connection to a port of ours.
pub fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// Something accepts connections.
pub fn answers(host: &str, port: u16) -> bool {
    let (tell, told) = mpsc::channel();
    let host = host.to_owned();
    // A thread of its own: a name server may be silent, a far host may swallow packets.
    std::thread::spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().into_iter().flatten();
        let connected = addresses.map(|address| TcpStream::connect_timeout(&address, PATIENCE));
        let _ = tell.send(connected.into_iter().any(|stream| stream.is_ok()));
    });
    told.recv_timeout(PATIENCE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernels_table_tells_which_ports_are_in_use() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:4E21 00000000:0000 0A 00000000:00000000\n\
            \x20  1: 0100007F:4E22 0100007F:4E21 06 00000000:00000000\n\
            \x20  2: 0100007F:1234 0100007F:4E23 01 00000000:00000000\n";
        assert!(in_use(table, 20_001));
        assert!(!in_use(table, 20_002), "it is merely dying");
        assert!(!in_use(table, 20_003), "it is the far end");
        assert!(in_use(table, 0x1234));
    }

    #[test]
    fn a_port_is_remembered_until_somebody_else_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("port");
        let port = remembered(&path, &[]).unwrap();
        assert_eq!(remembered(&path, &[]).unwrap(), port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(answers("127.0.0.1", port) && connect(port).is_some());
        let other = remembered(&path, &[]).unwrap();
        assert_ne!(other, port);
        drop(listener);
        assert_ne!(remembered(&path, &[other]).unwrap(), other);
    }
}
