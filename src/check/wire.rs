//! The transport that ureq reads and writes: a socket that keeps to the attempt's deadline, plain or with TLS.
//!
//! ureq's own timeouts are not used. The deadline is one instant, known here, and every wait ends at it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::fault::Fault;
use super::forward::Forward;
use super::head::{self, MAX_HEAD, Next};
use super::hop::{Phase, SharedHop, remaining};

/// The initial size of the input buffer, in bytes. It grows only for a response's head that does not fit.
const INPUT_BUFFER: usize = 16 * 1024;
/// The least size of the output buffer, in bytes.
const OUTPUT_BUFFER: usize = 4 * 1024;

/// A socket whose every wait ends at the deadline, with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) deadline: Instant,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = remaining(self.deadline).ok_or(io::ErrorKind::TimedOut)?;
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                // The kernel may wake a little early.
                Err(error) if is_retried(&error) => {}
                result => return result,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            let left = remaining(self.deadline).ok_or(io::ErrorKind::TimedOut)?;
            self.stream.set_write_timeout(Some(left))?;
            match self.stream.write(buffer) {
                Err(error) if is_retried(&error) => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_retried(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Link {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.read(buffer),
            Link::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Link::Plain(socket) => socket.write_all(bytes),
            Link::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// One connection as ureq sees it.
#[derive(Debug)]
pub(super) struct Wire {
    link: Link,
    buffers: WireBuffers,
    /// Set until the request's first bytes are sent, if they go to a proxy that reads them.
    forward: Option<Forward>,
    hop: SharedHop,
    /// Set while the response's head is not complete.
    reading: Option<ReadingHead>,
}

/// How much of a head has come.
#[derive(Debug, Default)]
struct ReadingHead {
    /// Bytes of informational responses that were skipped.
    skipped: usize,
    /// Bytes of the input that are known to hold no complete head.
    looked_at: usize,
}

impl Wire {
    pub(super) fn new(link: Link, longest_line: usize, forward: Option<Forward>, hop: SharedHop) -> Wire {
        let buffers = WireBuffers::new(OUTPUT_BUFFER.max(longest_line));
        Wire { link, buffers, forward, hop, reading: Some(ReadingHead::default()) }
    }

    /// Appends to the input. Returns how many bytes, 0 at the end.
    fn read(&mut self) -> Result<usize, ureq::Error> {
        let amount = match self.link.read(self.buffers.input_append_buf()) {
            Ok(amount) => amount,
            // TLS ended without close_notify. HTTP shows whether something is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(self.fault(&error)),
        };
        self.buffers.input_appended(amount);
        Ok(amount)
    }

    /// Processes what has come of the head. Returns whether ureq is to go on, because there is a head for it or
    /// something that is no head.
    fn take_head(&mut self) -> Result<bool, Fault> {
        let Some(mut reading) = self.reading.take() else { return Ok(true) };
        loop {
            let input = self.buffers.input();
            if !self.begins_as_http(input) {
                return Ok(true);
            }
            // Only the end of a line can complete it.
            let next = match input[reading.looked_at..].contains(&b'\n') {
                true => head::next(input)?,
                false => Next::Incomplete,
            };
            let length = match &next {
                Next::Incomplete => input.len(),
                Next::Informational(length) => *length,
                Next::Head(head) => head.length,
                Next::Unknown => return Ok(true),
            };
            if reading.skipped + length > MAX_HEAD {
                return Err(Fault::head_too_large());
            }
            match next {
                Next::Head(head) => {
                    self.buffers.replace(head.length, &head.shown);
                    self.hop.lock().headers = Some(head.headers);
                    return Ok(true);
                }
                Next::Informational(length) => {
                    self.buffers.input_consume(length);
                    reading.skipped += length;
                    reading.looked_at = 0;
                }
                _ => {
                    reading.looked_at = length;
                    self.reading = Some(reading);
                    return Ok(false);
                }
            }
        }
    }

    /// Whether `input`, the start of a response, begins as HTTP does, as far as it has come.
    fn begins_as_http(&self, input: &[u8]) -> bool {
        let start = &input[input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()..];
        let known = start.len().min(5);
        let begins = start[..known] == b"HTTP/"[..known];
        if known > 0 {
            self.hop.lock().spoke_http = Some(begins);
        }
        begins
    }

    fn fault(&self, error: &io::Error) -> ureq::Error {
        let hop = self.hop.lock();
        fault_of(error, hop.phase, hop.is_self_signed()).into()
    }
}

/// Turns an error of a socket, or of the TLS session above it, into a fault.
pub(super) fn fault_of(error: &io::Error, phase: Phase, self_signed: bool) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Fault::tls(error, self_signed),
        None => Fault::io(error, phase),
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = &self.buffers.output[..amount];
        let written = match self.forward.take() {
            Some(forward) => self.link.write_all(&forward.rewritten(output)),
            None => self.link.write_all(output),
        };
        if let Err(error) = written {
            self.hop.lock().phase = Phase::Request;
            return Err(self.fault(&error));
        }
        self.hop.lock().sent_at = Some(Instant::now());
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        loop {
            let amount = self.read()?;
            if self.reading.is_none() || amount == 0 || self.take_head()? {
                return Ok(amount > 0);
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Never used again, because every check opens its own connections.
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.link, Link::Tls(_))
    }
}

/// Buffers that grow only for a large head, so that the usual check keeps 16 + 4 KiB.
#[derive(Debug)]
struct WireBuffers {
    input: Vec<u8>,
    /// The unconsumed input is `input[start..end]`.
    start: usize,
    end: usize,
    output: Vec<u8>,
    /// Whether the last call to consume the input took any.
    progress: bool,
}

impl WireBuffers {
    fn new(output: usize) -> WireBuffers {
        WireBuffers { input: Vec::new(), start: 0, end: 0, output: vec![0; output], progress: false }
    }

    /// Replaces the first `length` bytes of the input with `bytes`.
    fn replace(&mut self, length: usize, bytes: &[u8]) {
        self.input.splice(self.start..self.start + length, bytes.iter().copied());
        self.end = self.end - length + bytes.len();
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // One byte beyond the limit is enough for ureq to see that a head is too large.
        if self.end == self.input.len() && self.end <= MAX_HEAD {
            self.input.resize((self.input.len() * 2).clamp(INPUT_BUFFER, MAX_HEAD + 1), 0);
        }
        &mut self.input[self.end..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.end += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        // The first is scratch space for request bodies without a known length, of which there are none.
        (&mut [], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.start < self.end
    }
}
