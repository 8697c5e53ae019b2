//! A receiver by HTTP that keeps what it is sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::sites::{Server, read_head};

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, path and version.
    pub(crate) line: String,
    /// With names in lower case, sorted.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// None if the peer closed before it had asked.
    pub(crate) fn read(stream: &mut TcpStream) -> Option<Asked> {
        let head = read_head(stream);
        let mut lines = head.lines();
        let line = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        headers.sort();
        let mut asked = Asked { line, headers, body: String::new() };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        asked.body = String::from_utf8(body).unwrap();
        Some(asked)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Asked>>>);

impl Heard {
    /// All so far. They are forgotten.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Answers every request with `response`, and keeps it.
pub(crate) fn listening(response: impl Into<Vec<u8>>) -> (Server, Heard) {
    let (response, heard) = (response.into(), Heard::default());
    let keeps = heard.clone();
    let server = Server::start(move |mut stream| {
        let Some(asked) = Asked::read(&mut stream) else { return };
        keeps.0.lock().unwrap().push(asked);
        let _ = stream.write_all(&response);
    });
    (server, heard)
}
