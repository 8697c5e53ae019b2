//! Real programs to send to, each in a directory of its own and on loopback.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{not_tested, wait_within};

/// Where the program `name` is. Says so if it is nowhere.
pub(crate) fn find(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        not_tested(&format!("{name} (Debian: {package})"));
    }
    found
}

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
