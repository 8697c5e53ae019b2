//! A network between two processes that can be cut, also at an exact point of what passes: a TCP proxy in this one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It works.
    Pass,
    /// Bytes are held back, and delivered once it passes again: an outage that TCP outlives.
    Hold,
    /// Bytes are swallowed, and neither side is told, also not later: connections stay half-open for ever.
    Swallow,
    /// Connections are closed, and new ones at once.
    Cut,
}

/// Leads from an address of its own to another one. Cut when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    link: Link,
    /// Holds everything back behind these bytes of a client's.
    trap: Option<&'static [u8]>,
    ended: bool,
    /// Both ends of every connection: kept, so that none is closed while bytes are swallowed.
    ends: Vec<TcpStream>,
}

impl Proxy {
    /// Leads to `target`, as `link` says.
    pub fn start(target: &str, link: Link) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            state: Mutex::new(State { link, trap: None, ended: false, ends: Vec::new() }),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if own.state.lock().unwrap().ended {
                    return;
                }
                let shared = Arc::clone(&own);
                thread::spawn(move || shared.connect(client));
            }
        });
        Proxy { address, shared }
    }

    /// Holds everything back behind the next `bytes` that a client sends.
    pub fn hold_behind(&self, bytes: &'static [u8]) {
        self.shared.state.lock().unwrap().trap = Some(bytes);
    }

    /// Waits until [`Proxy::hold_behind`] holds something back, for at most a minute.
    pub fn wait_until_held(&self) {
        let state = self.shared.state.lock().unwrap();
        let minute = Duration::from_secs(60);
        let held = self.shared.changed.wait_timeout_while(state, minute, |state| state.link != Link::Hold);
        assert!(!held.unwrap().1.timed_out(), "in vain: something is held back");
    }

    pub fn set(&self, link: Link) {
        let mut state = self.shared.state.lock().unwrap();
        state.link = link;
        if link == Link::Cut {
            state.close_all();
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Link::Cut);
        self.shared.state.lock().unwrap().ended = true;
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn close_all(&mut self) {
        for end in self.ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    /// How the network is, once it holds nothing back.
    fn link(&self) -> Link {
        let state = self.state.lock().unwrap();
        self.changed.wait_while(state, |state| state.link == Link::Hold).unwrap().link
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        match self.link() {
            Link::Pass => {}
            Link::Swallow => return self.state.lock().unwrap().ends.push(client),
            _ => return,
        }
        let Ok(server) = TcpStream::connect(&self.target) else { return };
        // As the programs themselves set it.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        for (from, to, forth) in [(&client, &server, true), (&server, &client, false)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(self);
            thread::spawn(move || shared.forward(from, to, forth));
        }
        self.state.lock().unwrap().ends.extend([client, server]);
    }

    /// Where the trap is in what a client sent: it springs.
    fn sprung(&self, bytes: &[u8]) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        let trap = state.trap?;
        let place = bytes.windows(trap.len()).position(|window| window == trap)?;
        (state.link, state.trap) = (Link::Hold, None);
        self.changed.notify_all();
        Some(place + trap.len())
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, forth: bool) {
        let mut buffer = vec![0; 64 << 10];
        let mut swallowed = false;
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let mut sent = 0;
            if forth && let Some(place) = self.sprung(&buffer[..read]) {
                let _ = to.write_all(&buffer[..place]);
                sent = place;
            }
            swallowed |= self.link() == Link::Swallow;
            if swallowed && read > 0 {
                continue;
            }
            if swallowed {
                return;
            }
            if read == 0 || to.write_all(&buffer[sent..read]).is_err() {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return;
            }
        }
    }
}
