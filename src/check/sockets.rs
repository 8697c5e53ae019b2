//! The sockets of look-ups. They note why this host refused a socket, because hickory only says that there was no
//! connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};

use super::fault::is_exhausted;

type Tokio = TokioRuntimeProvider;
type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Tokio's sockets. Clones note into the same place.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    tokio: Tokio,
    refused: Arc<Refused>,
}

/// Sockets that were refused because descriptors or memory ran out.
#[derive(Default)]
struct Refused {
    count: AtomicU64,
    /// The last errno.
    errno: AtomicI32,
}

impl Sockets {
    /// How many were refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.count.load(Ordering::Acquire)
    }

    /// Why the last one was refused, if any was since there were `before`.
    pub(super) fn refused_since(&self, before: u64) -> Option<io::Error> {
        let errno = || io::Error::from_raw_os_error(self.refused.errno.load(Ordering::Relaxed));
        (self.refused() > before).then(errno)
    }

    fn noting<T: 'static>(&self, opening: Opening<T>) -> Opening<T> {
        let refused = Arc::clone(&self.refused);
        Box::pin(async move {
            let opened = opening.await;
            if let Err(error) = &opened
                && let Some(errno) = error.raw_os_error().filter(|_| is_exhausted(error))
            {
                refused.errno.store(errno, Ordering::Relaxed);
                refused.count.fetch_add(1, Ordering::Release);
            }
            opened
        })
    }
}

impl RuntimeProvider for Sockets {
    type Handle = <Tokio as RuntimeProvider>::Handle;
    type Timer = <Tokio as RuntimeProvider>::Timer;
    type Udp = <Tokio as RuntimeProvider>::Udp;
    type Tcp = <Tokio as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.noting(self.tokio.connect_tcp(server, local, timeout))
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.noting(self.tokio.bind_udp(local, server))
    }
}
