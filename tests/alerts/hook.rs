//! A receiver: a small HTTP server that remembers what it was told, and answers as a test wants.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// It takes the request, and closes the connection without an answer.
    Close,
    /// It takes the request, and answers only after this time. Whoever waits for less has no answer.
    Slowly(Duration, u16),
    /// It does not take the request, and says 503.
    Busy,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub body: Value,
    /// What the server did with it.
    pub answer: Answer,
}

impl Told {
    /// The alerts in the message: kind, action, subject.
    pub fn alerts(&self) -> Vec<String> {
        let notices = self.body["data"]["notices"].as_array().cloned().unwrap_or_default();
        let text = |notice: &Value, key: &str| notice[key].as_str().unwrap_or_default().to_owned();
        notices
            .iter()
            .map(|n| format!("{} {} {}", text(n, "kind"), text(n, "action"), text(n, "subject")))
            .collect()
    }
}

#[derive(Clone)]
pub struct Hook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    /// What it answers from now on, whatever it was made to answer.
    status: Arc<Mutex<Option<u16>>>,
}

impl Hook {
    /// `answer` is given the number of the request, from 0.
    pub fn new(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook =
            Hook { address: listener.local_addr().unwrap(), told: Arc::default(), status: Arc::default() };
        let (told, status) = (hook.told.clone(), hook.status.clone());
        let answer = move |number: usize| {
            let status = *status.lock().unwrap();
            status.map_or_else(|| answer(number), Answer::Status)
        };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (told, answer, Ok(stream)) = (told.clone(), answer.clone(), stream) else { return };
                std::thread::spawn(move || serve(stream, &told, &*answer));
            }
        });
        hook
    }

    pub fn answer(&self, status: u16) {
        *self.status.lock().unwrap() = Some(status);
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, told: &Mutex<Vec<Told>>, answer: &dyn Fn(usize) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut length, mut id, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "webhook-id" => value.trim().clone_into(&mut id),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut told = told.lock().unwrap();
    let answer = answer(told.len());
    told.push(Told { id, body, answer });
    drop(told);
    let status = match answer {
        Answer::Status(status) => Some(status),
        Answer::Close => None,
        Answer::Slowly(wait, status) => {
            std::thread::sleep(wait);
            Some(status)
        }
        Answer::Busy => Some(503),
    };
    if let Some(status) = status {
        let response = format!("HTTP/1.1 {status} So\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        (&stream).write_all(response.as_bytes()).ok()?;
    }
    Some(())
}
