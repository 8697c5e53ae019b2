//! Pages that are served from a database with some results, and a client that asks as plainly as can be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use webmon::config::{Config, Role};
use webmon::page::Pages;
use webmon::record::{CheckResult, Outcome};
use webmon::shutdown::Shutdown;
use webmon::store::{self, RollUpLimits};

use crate::support::log::Log;
use crate::support::{Database, result, value};

/// Pages that are being served.
pub struct Served {
    pub address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves what `toml` says, beside `[postgres]` and `web.listen`, from the database at `url`.
    pub fn start(url: &str, toml: &str) -> Served {
        let fresh = if toml.contains("web.fresh") { "" } else { "web.fresh = \"1s\"\n" };
        let toml = format!("postgres.url = \"{url}\"\nweb.listen = \"127.0.0.1:0\"\n{fresh}{toml}");
        let config = Config::from_toml(&toml, Role::Page).unwrap();
        let pages = Pages::listen(&config.postgres, &config.web, &config.pages).unwrap();
        let (address, shutdown) = (pages.address().unwrap(), Shutdown::new());
        let stop = shutdown.clone();
        let thread = Some(std::thread::spawn(move || pages.run(&stop)));
        Served { address, shutdown, thread }
    }

    /// Asks for `path`.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Asks with other headers than `Host`.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let host = if headers.iter().any(|header| header.starts_with("host:")) {
            ""
        } else {
            "host: status.example\r\n"
        };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.send(&format!("{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n"))
    }

    /// Sends bytes, and reads to the end.
    pub fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = bytes.get(end + 4..).unwrap_or_default().to_vec();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head, body }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A result `ago` seconds ago, whose next one is due in a minute from now.
pub fn ago(site: &str, ago: i64, outcome: Outcome) -> CheckResult {
    let mut result = result(site, 0, outcome);
    let at = Timestamp::from_second(Timestamp::now().as_second() - ago).unwrap();
    result.started_at = result.started_at.map(|_| at + SignedDuration::from_micros(1_900));
    (result.scheduled_at, result.next_at) = (at, Some(at + SignedDuration::from_secs(ago.max(0) + 60)));
    result
}

/// Stores results as webmon-store does, and derives what follows from them.
pub fn store(database: &Database, results: impl IntoIterator<Item = CheckResult>) {
    let log = Log::new(1);
    results.into_iter().for_each(|result| log.append(0, value(result)));
    let topic = crate::support::unique("page");
    let config = crate::support::config("127.0.0.1:1", &topic, &database.url, "");
    log.store(&config).unwrap();
    roll_up(database);
}

pub fn roll_up(database: &Database) {
    let at_once = RollUpLimits { hours: 10_000, sites: 10_000, days: 10_000, pause: Duration::ZERO };
    store::roll_up(&mut database.client(), &at_once).unwrap();
}
