//! How punctual the scheduling is, beside what the machine can do: a bare thread that sleeps to a point of each second.
//!
//! ```text
//! cargo bench --bench schedule -- [--sites 20000] [--seconds 60] [--spread-sites 100000] [--minutes 2]
//! ```
//!
//! First the scheduler alone, by the wall clock, with one expression for all sites and with one for each. Then the
//! whole checking side: every site is asked once a minute, spread over 50 s, on a server of this program's own.
#![allow(clippy::print_stdout, reason = "a program")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use webmon::check::{PoolOptions, Settings};
use webmon::monitor::{MemoryWatermarks, Monitor, MonitorOptions, RecordSinkFn};
use webmon::record::{CheckResult, Outcome, Record};
use webmon::schedule::{Entry, Schedule, Scheduler};
use webmon::site::{Origin, Site};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What this program's own threads are called, whose time does not count.
const OWN: &str = "bench-";
const SPREAD: Duration = Duration::from_secs(50);

fn main() -> Result<()> {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let option = |name: &str, default: usize| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let (sites, seconds) = (option("--sites", 20_000), option("--seconds", 60));
    let cores = thread::available_parallelism()?;
    println!("machine    {cores} cores, load {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    every_second("same", sites, seconds, |_| "* * * * * *".to_owned())?;
    every_second("distinct", sites, seconds, distinct)?;
    spread(option("--spread-sites", 100_000), option("--minutes", 2))
}

/// One of 23,200 expressions that all mean every second.
fn distinct(n: usize) -> String {
    let (second, minute, hour) = (["*", "0-59"][n % 2], ["*", "0-59"][n / 2 % 2], ["*", "0-23"][n / 4 % 2]);
    format!("{second} {minute} {hour} * * * 1-{}", 2_100 + n / 8 % 2_900)
}

/// The scheduler alone.
fn every_second(name: &str, sites: usize, seconds: usize, expression: fn(usize) -> String) -> Result<()> {
    let mut entries = Vec::with_capacity(sites);
    for n in 0..sites {
        let schedule = Schedule::new(&expression(n), "UTC")?;
        entries.push(Entry { key: format!("site-{n}"), schedule, item: Arc::new(n) });
    }
    let tally = Arc::new(Mutex::new(Tally::new(sites)));
    let floor = Floor::start()?;
    let begun_at = Timestamp::now();
    let (begun, cpu) = (Instant::now(), cpu()?);
    let scheduler = {
        let tally = Arc::clone(&tally);
        Scheduler::start(entries, begun_at, move |due| {
            let now = Timestamp::now();
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            for due in due {
                tally.note(*due.item, due.scheduled_at, now.duration_since(due.scheduled_at));
            }
        })?
    };
    // In the middle of a second, so that no instant is under way.
    let until = begun_at.as_second() + seconds as i64;
    sleep_until(Timestamp::from_second(until)? + SignedDuration::from_millis(500));
    let cpu = share_of_a_core(cpu, begun)?;
    scheduler.stop();
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{name:<10} {sites} sites every second for {seconds} s: {}; {cpu}; {}",
        tally.summary(sites * seconds),
        floor.stop()
    );
    Ok(())
}

/// The whole checking side, with real requests.
fn spread(sites: usize, minutes: usize) -> Result<()> {
    let server = Server::start()?;
    let schedule = Schedule::new("* * * * *", "UTC")?;
    let mut all = Vec::with_capacity(sites);
    for n in 0..sites {
        let mut site = Site::new(&n.to_string(), server.url.parse()?, schedule.clone());
        site.spread = SPREAD;
        all.push(Arc::new(site));
    }
    let tally = Arc::new(Mutex::new((Tally::new(sites), 0)));
    let sink = {
        let (tally, sites) = (Arc::clone(&tally), all.clone());
        RecordSinkFn(move |record| {
            let Record::Result(result) = record else { return };
            let Ok(n) = result.site.parse::<usize>() else { return };
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match lateness(&result, &sites[n]) {
                Some(late) => tally.0.note(n, result.scheduled_at, late),
                None => println!("unexpected: {result:?}"),
            }
            tally.1 += usize::from(result.outcome != Outcome::Success);
        })
    };
    let options = MonitorOptions::new(PoolOptions::new(Origin::new("here", "bench")), Settings::new()?);
    // The whole minute before the first instant is left out.
    sleep_until(Timestamp::from_second((Timestamp::now().as_second() / 60 + 1) * 60 - 5)?);
    let floor = Floor::start()?;
    let begun_at = Timestamp::now();
    let watermarks = Arc::new(MemoryWatermarks::default());
    let monitor = Monitor::start(all, options, Arc::new(sink), watermarks)?;
    let (begun, cpu) = (Instant::now(), cpu()?);
    let last = (begun_at.as_second() / 60 + minutes as i64) * 60;
    sleep_until(Timestamp::from_second(last + 55)?);
    let cpu = share_of_a_core(cpu, begun)?;
    monitor.stop(Duration::from_secs(5));
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = tally.1;
    println!(
        "spread     {sites} sites every minute, over 50 s of it, for {minutes} min, all asked: {}, {failed} failed; \
         {cpu}; {} MB resident at most; {}",
        tally.0.summary(sites * minutes),
        peak_rss_mb()?,
        floor.stop()
    );
    Ok(())
}

/// From when the check should have started; none for one that did not.
fn lateness(result: &CheckResult, site: &Site) -> Option<SignedDuration> {
    let due = result.scheduled_at + SignedDuration::try_from(site.start_offset()).ok()?;
    Some(result.started_at?.duration_since(due))
}

/// What came of each site's instants.
struct Tally {
    /// Each site's latest instant.
    latest: Vec<Timestamp>,
    seen: usize,
    doubled: usize,
    late_us: Vec<i64>,
}

impl Tally {
    fn new(sites: usize) -> Tally {
        Tally { latest: vec![Timestamp::MIN; sites], seen: 0, doubled: 0, late_us: Vec::new() }
    }

    fn note(&mut self, site: usize, scheduled_at: Timestamp, late: SignedDuration) {
        if scheduled_at <= self.latest[site] {
            self.doubled += 1;
            return;
        }
        self.latest[site] = scheduled_at;
        self.seen += 1;
        self.late_us.push(late.as_micros() as i64);
    }

    fn summary(&mut self, demanded: usize) -> String {
        let (missed, doubled) = (demanded as i64 - self.seen as i64, self.doubled);
        format!(
            "{demanded} instants, {missed} missed, {doubled} doubled, late by {}",
            quantiles(&mut self.late_us)
        )
    }
}

fn quantiles(micros: &mut [i64]) -> String {
    if micros.is_empty() {
        return "nothing".to_owned();
    }
    micros.sort_unstable();
    let at = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize] as f64 / 1_000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// A bare thread that sleeps to the middle of each second, where it is in nobody's way.
struct Floor {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<i64>>,
}

impl Floor {
    fn start() -> Result<Floor> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(format!("{OWN}floor")).spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let second = Timestamp::now().as_second() + 1;
                let Ok(second) = Timestamp::from_second(second) else { break };
                let due = second + SignedDuration::from_millis(250);
                sleep_until(due);
                late.push(Timestamp::now().duration_since(due).as_micros() as i64);
            }
            late
        })?;
        Ok(Floor { stop, thread })
    }

    fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self.thread.join().unwrap_or_default();
        format!("floor {}", quantiles(&mut late))
    }
}

fn sleep_until(at: Timestamp) {
    while let Ok(left) = Duration::try_from(at.duration_since(Timestamp::now()))
        && !left.is_zero()
    {
        thread::sleep(left);
    }
}

/// Answers every request, one after the other, for as long as the program runs.
struct Server {
    url: String,
}

impl Server {
    fn start() -> Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        thread::Builder::new().name(format!("{OWN}site")).spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4_096]);
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine");
            }
        })?;
        Ok(Server { url })
    }
}

/// The time that this process's threads have had, but for the bench's own (proc(5), `schedstat`).
fn cpu() -> Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread may end meanwhile.
        let read = |name| std::fs::read_to_string(task.join(name)).unwrap_or_default();
        if !read("comm").starts_with(OWN) {
            nanos += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

fn share_of_a_core(before: Duration, since: Instant) -> Result<String> {
    let share = cpu()?.saturating_sub(before).as_secs_f64() / since.elapsed().as_secs_f64();
    Ok(format!("{:.2} % of a core", share * 100.0))
}

fn peak_rss_mb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(peak.trim_end_matches("kB").trim().parse::<u64>()? / 1_024)
}
