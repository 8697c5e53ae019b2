//! A network between two programs that can be cut, held up, or held up at an exact point of what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of bytes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Nothing passes, and no side is told: as when a cable is pulled, or a firewall forgets.
    Hold,
}

struct State {
    mode: Mode,
    /// Holds everything up as soon as a client sends this.
    trap: Option<&'static [u8]>,
    connections: Vec<TcpStream>,
}

/// Forwards every connection to one server.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mode: Mode::Pass, trap: None, connections: Vec::new() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let accepted = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                accepted.0.lock().unwrap().connections.extend(ends);
                let (back, forth) = (Arc::clone(&accepted), Arc::clone(&accepted));
                let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                std::thread::spawn(move || forward(client, server, &forth, true));
                let [client, server] = ends;
                std::thread::spawn(move || forward(server, client, &back, false));
            }
        });
        Proxy { address, shared }
    }

    /// Closes every connection; new ones pass.
    pub fn cut(&self) {
        for end in self.shared.0.lock().unwrap().connections.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    pub fn hold(&self) {
        self.shared.0.lock().unwrap().mode = Mode::Hold;
    }

    /// Lets everything pass that was held up, and from now on.
    pub fn pass(&self) {
        let mut state = self.shared.0.lock().unwrap();
        state.mode = Mode::Pass;
        state.trap = None;
        self.shared.1.notify_all();
    }

    /// Holds everything up behind the next `bytes` that a client sends.
    pub fn hold_behind(&self, bytes: &'static [u8]) {
        self.shared.0.lock().unwrap().trap = Some(bytes);
    }

    /// Waits until the trap of [`Proxy::hold_behind`] was sprung, for at most a minute.
    pub fn wait_until_held(&self) {
        let held = self.shared.1.wait_timeout_while(
            self.shared.0.lock().unwrap(),
            Duration::from_secs(60),
            |state| state.mode != Mode::Hold,
        );
        assert!(!held.unwrap().1.timed_out(), "nothing sprang the trap");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.pass();
        self.cut();
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, shared: &(Mutex<State>, Condvar), forth: bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut bytes = &buffer[..count];
        let mut state = shared.0.lock().unwrap();
        if forth && let Some(trap) = state.trap {
            if let Some(place) = bytes.windows(trap.len()).position(|window| window == trap) {
                let (before, behind) = bytes.split_at(place + trap.len());
                let _ = to.write_all(before);
                bytes = behind;
                state.mode = Mode::Hold;
                state.trap = None;
                shared.1.notify_all();
            }
        }
        while state.mode == Mode::Hold {
            state = shared.1.wait(state).unwrap();
        }
        drop(state);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
