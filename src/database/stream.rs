//! The stream beneath a connection to PostgreSQL. Every wait on it has a limit, and another thread can cut it off.
//!
//! The driver itself waits for the server for ever, and so does its caller. But it leaves TLS to us (`TlsConnect`), and
//! with `sslnegotiation=direct` it hands over the socket before it has sent anything. So we send the SSLRequest here,
//! as libpq does (PostgreSQL manual, "SSL Session Encryption"), and give the driver our own stream, with TLS or
//! without.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::mutex::lock;
use crate::text::show_duration;

/// The message that asks for TLS: its length, and a number that is no version of the protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// How long it may take to reach an address, and then to connect to it with TLS and authentication.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// In how many ticks a wait is counted. A connection that nobody waits on has no ticks, and neither has a process that
/// is suspended. So time that nobody waited is not counted, except for one tick.
const TICKS: u32 = 10;

/// What `sslmode` asks for (PostgreSQL manual, "libpq: SSL Support").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A connection as seen from outside: how long it may be waited for, and why it ended.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<Mutex<LineState>>);

#[derive(Debug)]
struct LineState {
    /// For how long no byte may move while somebody waits.
    limit: Duration,
    /// When what goes on now must be done.
    deadline: Option<Instant>,
    /// Why it ended, if it has.
    end: Option<End>,
    waker: Option<Waker>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// No byte came, or could be sent, for this long.
    #[error("gave up on the database after {} without an answer", show_duration(*.0))]
    Silence(Duration),
    /// The program stops.
    #[error("the connection was cut off because the program stops")]
    CutOff,
}

/// The server has no TLS.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server does not offer TLS, but sslmode requires it")]
pub(super) struct NoTlsOffered;

impl Line {
    /// A line not connected yet.
    pub(crate) fn new() -> Line {
        Line(Arc::new(Mutex::new(LineState { limit: CONNECT, deadline: None, end: None, waker: None })))
    }

    /// Sets how long the server may be silent from now on while somebody waits for it.
    pub(crate) fn set_limit(&self, limit: Duration) {
        self.lock().limit = limit;
    }

    /// Begins to connect to an address. All of that must be done within `time`, even if another address was silent
    /// before.
    fn begin(&self, time: Duration) {
        let mut state = self.lock();
        (state.limit, state.deadline) = (time, Some(Instant::now() + time));
        state.end = state.end.filter(|end| *end == End::CutOff);
    }

    /// Notes that it is connected.
    pub(crate) fn begun(&self, limit: Duration) {
        let mut state = self.lock();
        (state.limit, state.deadline) = (limit, None);
    }

    /// Ends it from another thread. Whoever waits for the server gets an error, now and later.
    pub(crate) fn cut(&self) {
        let waker = {
            let mut state = self.lock();
            state.end.get_or_insert(End::CutOff);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it ended, if the server did not end it.
    pub(crate) fn end(&self) -> Option<End> {
        self.lock().end
    }

    pub(crate) fn downgrade(&self) -> WeakLine {
        WeakLine(Arc::downgrade(&self.0))
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        lock(&self.0)
    }
}

/// A line that may be gone.
pub(crate) struct WeakLine(std::sync::Weak<Mutex<LineState>>);

impl WeakLine {
    pub(crate) fn upgrade(&self) -> Option<Line> {
        self.0.upgrade().map(Line)
    }
}

impl From<End> for io::Error {
    fn from(end: End) -> io::Error {
        let kind = match end {
            End::Silence(_) => io::ErrorKind::TimedOut,
            // Not `Interrupted`, because readers try that again.
            End::CutOff => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, end)
    }
}

/// Makes the stream of one connection.
#[derive(Clone)]
pub(super) struct MakeStream {
    pub mode: SslMode,
    pub tls: native_tls::TlsConnector,
    pub line: Line,
}

impl MakeTlsConnect<Socket> for MakeStream {
    type Stream = Stream;
    type TlsConnect = Negotiation;
    type Error = Box<dyn Error + Send + Sync>;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Negotiation, Self::Error> {
        self.line.begin(CONNECT);
        let tls = postgres_native_tls::TlsConnector::new(self.tls.clone(), domain);
        Ok(Negotiation { mode: self.mode, tls, line: self.line.clone() })
    }
}

pub(super) struct Negotiation {
    mode: SslMode,
    tls: postgres_native_tls::TlsConnector,
    line: Line,
}

impl TlsConnect<Socket> for Negotiation {
    type Stream = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let mut socket = Bounded::new(socket, self.line);
            if self.mode == SslMode::Disable {
                return Ok(Stream::Plain(socket));
            }
            socket.write_all(&SSL_REQUEST).await?;
            // Reads only one byte, because what came after it was not protected.
            match (socket.read_u8().await?, self.mode) {
                (b'S', _) => Ok(Stream::Tls(self.tls.connect(socket).await?)),
                (_, SslMode::Prefer) => Ok(Stream::Plain(socket)),
                _ => Err(NoTlsOffered.into()),
            }
        })
    }
}

/// What the driver reads and writes.
pub(super) enum Stream {
    Plain(Bounded<Socket>),
    Tls(postgres_native_tls::TlsStream<Bounded<Socket>>),
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Stream::Plain(_) => ChannelBinding::none(),
            Stream::Tls(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A stream on which no wait is longer than its line allows. The driver polls it only while somebody waits for an answer,
/// and then always for something to read.
pub(super) struct Bounded<S> {
    inner: S,
    line: Line,
    tick: Pin<Box<Sleep>>,
    /// The limit that the tick is a part of.
    limit: Duration,
    /// Ticks since the last byte.
    ticks: u32,
}

impl<S> Bounded<S> {
    /// Call it in the runtime that will poll it.
    fn new(inner: S, line: Line) -> Bounded<S> {
        Bounded {
            inner,
            line,
            tick: Box::pin(tokio::time::sleep(Duration::ZERO)),
            limit: Duration::ZERO,
            ticks: 0,
        }
    }

    fn check(&self) -> io::Result<()> {
        self.line.end().map_or(Ok(()), |end| Err(end.into()))
    }

    /// Returns the outcome of a poll, or an error if the wait has lasted too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            return outcome;
        }
        // The end is checked and the waker is set under one lock, so that no cut comes in between.
        let mut state = self.line.lock();
        if let Some(end) = state.end {
            return Poll::Ready(Err(end.into()));
        }
        if state.limit != self.limit {
            self.limit = state.limit;
            self.ticks = 0;
            self.tick.as_mut().reset(Instant::now() + self.limit / TICKS);
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.ticks += 1;
            // The first tick was shorter, because it began before the wait.
            if self.ticks > TICKS || state.deadline.is_some_and(|deadline| deadline <= now) {
                let end = End::Silence(self.limit);
                state.end = Some(end);
                return Poll::Ready(Err(end.into()));
            }
            self.tick.as_mut().reset(now + self.limit / TICKS);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
        if outcome.is_ready() {
            this.ticks = 0;
        }
        this.bound(cx, outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let outcome = Pin::new(&mut this.inner).poll_write(cx, buf);
        if outcome.is_ready() {
            this.ticks = 0;
        }
        this.bound(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        // No byte moves here: the socket has nothing to flush.
        let outcome = Pin::new(&mut this.inner).poll_flush(cx);
        this.bound(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        let outcome = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.bound(cx, outcome)
    }
}
