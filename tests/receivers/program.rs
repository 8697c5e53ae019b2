//! Real programs to send to, each in a directory of its own and on loopback.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::wait_within;

/// A program that runs. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
}

impl Running {
    /// Starts it, and waits until it listens on `port`.
    pub(crate) fn start(command: &mut Command, port: u16) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running { child: command.spawn().unwrap(), port };
        wait_within(Duration::from_secs(30), "it listens", || {
            assert!(running.child.try_wait().unwrap().is_none(), "it ended: {command:?}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
