//! How fast the status pages are: the first byte of a page that must be read and made, of one that is kept, how many of
//! those a core sends, how large a page is, and how much memory the program takes; at 1,000 and 10,000 sites over 90 days.
//!
//! ```text
//! ./dev/services up postgres && . .dev/env && cargo bench --bench page -- [--sites 1000,10000] [--seconds 5]
//! ```
//!
//! Hours, days and newest results are made inside PostgreSQL, which runs on the same cores. Each tenth day of a site has a
//! failure, each fifteenth has instants that were not checked, so that bars are not all of one piece.

#[path = "../tests/support/browser.rs"]
mod browser;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use browser::Browser;
use support::skip;
use support::{Database, Program, database, peak_memory_kb, program, wait_until};

/// Readings, of which the median is shown.
const READINGS: usize = 9;
/// Clients that ask without a pause, each over a connection of its own.
const CLIENTS: usize = 8;

fn main() {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let option = |name: &str| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let seconds = option("--seconds").and_then(|text| text.parse().ok()).unwrap_or(5);
    let sites = option("--sites").unwrap_or_else(|| "1000,10000".to_owned());
    for sites in sites.split(',').filter_map(|text| text.parse().ok()) {
        let Some(database) = database() else { return };
        measure(&database, sites, Duration::from_secs(seconds));
    }
}

/// `sites` sites over 90 days, and their hours of the last day.
fn fill(database: &Database, sites: i32) {
    database
        .client()
        .batch_execute(&format!(
            "INSERT INTO webmon.sites (key) SELECT 'site-' || lpad(i::text, 5, '0') FROM generate_series(1, {sites}) i;
             INSERT INTO webmon.locations (name) VALUES ('here');
             INSERT INTO webmon.checkers (name) VALUES ('checker');
             INSERT INTO webmon.site_versions (site_id, name, url, method, labels)
             SELECT site_id, 'Site ' || site_id, 'https://' || key || '.example/', 'GET',
                    jsonb_build_object('team', 'team ' || site_id % 7) FROM webmon.sites;
             SELECT webmon.ensure_result_partition((now() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, 1) n;
             INSERT INTO webmon.check_results (scheduled_at, site_id, version_id, checker_id, next_after_s, total_us, location_id,
                 http_status, attempts, error_type, outcome)
             SELECT date_trunc('second', now()) - n * interval '60 seconds', v.site_id, v.version_id, 1, 86400, 90000, 1, 200, 1,
                    CASE WHEN v.site_id % 100 = 0 THEN 4 END, CASE WHEN v.site_id % 100 = 0 THEN 'f' ELSE 's' END::\"char\"
             FROM webmon.site_versions v CROSS JOIN generate_series(0, 9) n;
             INSERT INTO webmon.site_hours (hour, total_us_sum, site_id, success, degraded, failure, late, overlap, saturated,
                 cancelled, network_down, checker_down, maintenance, gap, total_us_min, total_us_max, location_id, buckets, counts)
             SELECT date_trunc('hour', now()) - n * interval '1 hour', 5400000, site_id, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60000,
                    190000, 1, ARRAY[127, 128, 129, 130, 131, 132, 135, 139], ARRAY[5, 10, 20, 10, 6, 5, 3, 1]
             FROM webmon.sites CROSS JOIN generate_series(0, 23) n;
             INSERT INTO webmon.site_days (total_us_sum, site_id, day, success, degraded, failure, late, overlap, saturated,
                 cancelled, network_down, checker_down, maintenance, gap, total_us_min, total_us_max, location_id, buckets, counts)
             SELECT 129600000, site_id, (now() AT TIME ZONE 'UTC')::date - n, 1430, 0,
                    CASE WHEN (site_id + n) % 10 = 0 THEN 7 ELSE 0 END, CASE WHEN (site_id + n) % 15 = 0 THEN 12 ELSE 0 END,
                    0, 0, 0, 0, 0, 0, 0, 60000, 190000, 1,
                    ARRAY[127, 128, 129, 130, 131, 132, 135, 139], ARRAY[100, 250, 480, 250, 150, 120, 60, 20]
             FROM webmon.sites CROSS JOIN generate_series(0, 89) n;
             INSERT INTO webmon.site_locations (site_id, location_id, first_hour, last_hour, last_verdict_hour, next_after_s)
             SELECT site_id, 1, now() - interval '90 days', date_trunc('hour', now()), date_trunc('hour', now()), 86400
             FROM webmon.sites;
             INSERT INTO webmon.site_incidents (site_id, from_at, failures, locations, error_type)
             SELECT site_id, now() - interval '10 minutes', 10, 1, 4 FROM webmon.sites WHERE site_id % 100 = 0;
             INSERT INTO webmon.rolled_up_hours (hour, rolled_up_at) SELECT date_trunc('hour', now()) - n * interval '1 hour',
                 now() FROM generate_series(0, 23) n;
             ANALYZE"
        ))
        .unwrap();
}

fn measure(database: &Database, sites: i32, time: Duration) {
    fill(database, sites);
    let (page, address) = serve(database, "1s");
    let kept_for = Duration::from_millis(1_100);
    let front = |path: &str| first_byte(address, path).0;
    println!("{sites} sites over 90 days");
    println!("first      the first page of all, with 90 days to read: {:.0} ms", millis(front("/")));
    for (what, path) in
        [("the front page", "/"), ("a page of the list", "/?page=7"), ("a site", "/sites/site-00042")]
    {
        let fresh = median(|| {
            std::thread::sleep(kept_for);
            front(path)
        });
        let (_, bytes) = first_byte(address, path);
        println!("made       {what}: first byte after {:.1} ms, {:.0} kB", millis(fresh), bytes as f64 / 1e3);
    }
    println!("memory     {} MB at most", peak_memory_kb(page.pid()) / 1_000);
    drop(page);

    let (page, address) = serve(database, "5m");
    first_byte(address, "/");
    println!(
        "kept       the front page: first byte after {:.2} ms",
        millis(median(|| first_byte(address, "/").0))
    );
    let (began, before) = (Instant::now(), cpu(page.pid()));
    let asked: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || ask_for(address, time))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let (took, spent) = (began.elapsed().as_secs_f64(), cpu(page.pid()) - before);
    println!(
        "kept       {:.0} requests/s by {CLIENTS} clients; {:.0} a second of a core",
        asked as f64 / took,
        asked as f64 / spent
    );
    println!("memory     {} MB at most", peak_memory_kb(page.pid()) / 1_000);
    if let Some(browser) = Browser::start() {
        let mut rendering: Vec<f64> = (0..READINGS)
            .map(|_| {
                browser.open(&format!("http://{address}/"));
                browser.timing().rendering_ms()
            })
            .collect();
        rendering.sort_by(f64::total_cmp);
        println!(
            "rendering  in Chromium: {:.0} ms from the last byte to the first picture",
            rendering[READINGS / 2]
        );
    }
}

/// The program, as it is used.
fn serve(database: &Database, fresh: &str) -> (Program, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let toml = format!(
        "postgres.url = \"{}\"\nweb.listen = \"{address}\"\nweb.fresh = \"{fresh}\"\n[[page]]\ngroup_by = \"team\"\n",
        database.url
    );
    let page = program(env!("CARGO_BIN_EXE_webmon-page"), &toml, &["run"]);
    wait_until("webmon-page to listen", || TcpStream::connect(address).is_ok());
    (page, address)
}

/// The time to the first byte, and how many bytes the body has.
fn first_byte(address: SocketAddr, path: &str) -> (Duration, usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut bytes = vec![0; 1];
    stream.read_exact(&mut bytes).unwrap();
    let took = began.elapsed();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(
        bytes.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(300)])
    );
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (took, bytes.len() - head - 4)
}

/// Asks for the front page for so long, as a browser does: compressed. How often.
fn ask_for(address: SocketAddr, time: Duration) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    let (began, mut asked, mut buffer) = (Instant::now(), 0, vec![0; 1 << 20]);
    while began.elapsed() < time {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n").unwrap();
        let mut read = 0;
        loop {
            read += stream.read(&mut buffer[read..]).unwrap();
            let head = String::from_utf8_lossy(&buffer[..read.min(2_000)]).into_owned();
            let Some(end) = head.find("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if read == end + 4 + length.parse::<usize>().unwrap() {
                break;
            }
        }
        asked += 1;
    }
    asked
}

/// The seconds of a core that a process has spent. A tick is a hundredth (`proc(5)`).
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn median(mut reading: impl FnMut() -> Duration) -> Duration {
    let mut readings: Vec<Duration> = (0..READINGS).map(|_| reading()).collect();
    readings.sort();
    readings[READINGS / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
