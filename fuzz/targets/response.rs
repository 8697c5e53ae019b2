//! What a site answers with: any bytes. The check ends in time, with a result that the store takes.

#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use webmon::check::{Checker, Settings};
use webmon::record::Record;
use webmon::schedule::Schedule;
use webmon::site::{Origin, Site};

static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SERVER: LazyLock<SocketAddr> = LazyLock::new(serve);

fuzz_target!(|answer: &[u8]| {
    thread_local! {
        static CHECKER: std::cell::RefCell<Checker> =
            std::cell::RefCell::new(Checker::new(&settings()).expect("a checker"));
    }
    answer.clone_into(&mut current());
    let url = format!("http://{}/", *SERVER).parse().expect("a URL");
    let mut site = Site::new("site", url, Schedule::new("@hourly", "UTC").expect("a schedule"));
    site.timeout = Duration::from_secs(2);
    site.max_redirects = 3;
    site.sample = true;
    CHECKER.with_borrow_mut(|checker| {
        let result = checker.check_now(&site, &Origin::new("here", "fuzz"));
        let record = Record::Result(Box::new(result));
        record.validate().expect("the result is valid");
        Record::decode(&record.encode()).expect("the result is read again");
    });
});

/// It follows redirects to the server alone.
fn settings() -> Settings {
    let mut settings = Settings::new().expect("settings");
    let outside = ["0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5", "120.0.0.0/6", "124.0.0.0/7"];
    let outside = outside.into_iter().chain(["126.0.0.0/8", "128.0.0.0/1", "::/0"]);
    settings.deny_addresses = outside.map(|net| net.parse().expect("a network")).collect();
    settings
}

fn current() -> MutexGuard<'static, Vec<u8>> {
    ANSWER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers every connection with the current answer, and closes it.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4_096]);
            let answer = current().clone();
            let _ = stream.write_all(&answer);
        }
    });
    address
}
