//! A connection to a mail server, of which only so many bytes are read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that a mail server may send, TLS included.
const MAX_RECEIVED: usize = 64 << 10;
/// The most bytes that are read at once.
const MAX_READ: usize = 512;

/// A connection to a mail server, of which only so many bytes are read.
#[derive(Debug)]
pub(super) struct Line<S> {
    stream: S,
    peer: SocketAddr,
    left: usize,
    /// Whether others were let go first.
    has_yielded: bool,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, peer: SocketAddr) -> Line<S> {
        Line { stream, peer, left: MAX_RECEIVED, has_yielded: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other(format!(
                "the server sent more than {MAX_RECEIVED} bytes"
            ))));
        }
        // lettre reads an answer from its beginning after each of its lines. So a server that sends many lines costs much
        // time between two reads, in which nobody would look at the clock.
        if !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut bytes = [0; MAX_READ];
        let (room, _) = bytes.split_at_mut(buffer.remaining().min(MAX_READ));
        let mut part = ReadBuf::new(room);
        let done = Pin::new(&mut self.stream).poll_read(context, &mut part);
        if done.is_ready() {
            self.has_yielded = false;
            self.left = self.left.saturating_sub(part.filled().len());
            buffer.put_slice(part.filled());
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Line<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
