//! How soon a transition is known, with the real program between real Kafka and PostgreSQL, and what alerts cost: the same
//! load is stored with `[alerts] enabled = false` too.
//!
//! ```text
//! ./dev/services up && . .dev/env && cargo bench --bench alerts -- [--sites 100000] [--minutes 2]
//! ```
//!
//! Every site has a result a minute, spread evenly. Each hundredth site changes with each of its results: it fails, succeeds,
//! and so on, and one failure is enough. A first minute, in which the sites become known, is not measured.
//!
//! Broker and database run on the same machine, and the figures share its cores with them.

#[path = "../tests/alerts/hook.rs"]
mod hook;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hook::{Answer, Hook};
use jiff::{SignedDuration, Timestamp};
use postgres::Client;
use support::pipeline::{Pipeline, pause};
use support::{Program, database, program, result, value, wait_within};
use webmon::kafka::{self, Delivery, Outgoing, partition_for};
use webmon::record::Outcome;

const PARTITIONS: i32 = 6;
/// Of so many sites one changes.
const FLAPS: usize = 100;
/// How often rows and transitions are looked for, and how often what is derived from them is.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_AT_HISTORY: Duration = Duration::from_millis(50);
/// History is looked at for one of so many sites that change.
const SAMPLE: usize = 10;
const TICK: Duration = Duration::from_millis(10);

fn main() {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let option = |name: &str, default: usize| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let (sites, minutes) = (option("--sites", 100_000), option("--minutes", 2));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("{sites} sites a minute for {minutes} minutes, each {FLAPS}th changes; load {}", load.trim());
    for alerts in [true, false] {
        let (Some(brokers), Some(database)) = (support::kafka(), database()) else { return };
        Load { pipeline: Pipeline::new(&brokers, database, PARTITIONS), sites, minutes }.run(alerts);
    }
}

struct Load {
    pipeline: Pipeline,
    sites: usize,
    minutes: usize,
}

/// A site and an instant.
type Key = (String, Timestamp);
/// When something was seen.
type Seen = HashMap<Key, Instant>;

/// A result that changes its site, and its place in Kafka.
struct Change {
    key: Key,
    offset: i64,
}

/// What was produced and not seen in the database yet, by partition.
type Awaited = Mutex<Vec<VecDeque<Change>>>;

/// What was seen when.
#[derive(Default)]
struct Found {
    rows: Seen,
    transitions: Seen,
    statuses: Seen,
    incidents: Seen,
}

impl Load {
    fn run(&self, alerts: bool) {
        let hook = Hook::new(|_| Answer::Status(204));
        let toml = self.pipeline.toml(&format!(
            "alerts.enabled = {alerts}\n[[receiver]]\nname = \"ops\"\ntype = \"webhook\"\nurl = {:?}\n\
             [[route]]\nreceiver = \"ops\"\ngroup_wait = \"0s\"\n",
            hook.url()
        ));
        let toml = toml.replace("500ms", "10s");
        let store = program(env!("CARGO_BIN_EXE_webmon-store"), &toml, &["run"]);
        let awaited: Awaited = Mutex::new((0..PARTITIONS).map(|_| VecDeque::new()).collect());
        let (known, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                self.produce(&awaited, &known);
                done.store(true, Ordering::Relaxed);
            });
            let history = scope.spawn(|| self.look_at_history(&done));
            wait_within(Duration::from_secs(120), "the first minute is over", || {
                known.load(Ordering::Relaxed)
            });
            let mut client = self.pipeline.database.client();
            let before = Cpu::now(&store, &mut client);
            let found = self.look(&awaited, &done);
            let after = Cpu::now(&store, &mut client);
            let results = (self.sites * self.minutes) as f64;
            println!(
                "alerts {alerts}: {:.1} s of a core in webmon-store and {:.1} s in PostgreSQL in {} minutes: {:.0} and {:.0} us a result",
                after.webmon - before.webmon,
                after.postgres - before.postgres,
                self.minutes,
                1e6 * (after.webmon - before.webmon) / results,
                1e6 * (after.postgres - before.postgres) / results,
            );
            let (statuses, incidents) = history.join().unwrap();
            Found { statuses, incidents, ..found }
        });
        if alerts {
            let of_all = found.rows.len();
            delays("webmon.alert_transitions", &found.rows, &found.transitions, of_all);
            let sampled = found.rows.keys().filter(|(site, _)| is_sampled(number_of(site))).count();
            delays("webmon.site_locations (current_status)", &found.rows, &found.statuses, sampled);
            delays("webmon.incidents", &found.rows, &found.incidents, sampled);
            println!("the receiver was asked {} times", hook.told().len());
        }
        support::pipeline::end(store);
    }

    /// A minute in which all succeed, and then those in which some change.
    fn produce(&self, awaited: &Awaited, known: &AtomicBool) {
        let mut producer = kafka::producer(&self.pipeline.config().kafka).unwrap();
        let mut offsets = [0_i64; PARTITIONS as usize];
        let begun = Instant::now();
        let begin = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let ticks = (60_000 / TICK.as_millis()) as usize;
        for tick in 0..ticks * (self.minutes + 1) {
            let (minute, part) = (tick / ticks, tick % ticks);
            if minute == 1 {
                known.store(true, Ordering::Relaxed);
            }
            let due = begun + TICK * tick as u32;
            pause(due.saturating_duration_since(Instant::now()));
            let mut batch = Vec::new();
            let mut changes = Vec::new();
            for site in self.sites * part / ticks..self.sites * (part + 1) / ticks {
                let second = minute * 60 + part * 60 / ticks;
                let at = begin + SignedDuration::from_secs(second as i64);
                let fails = site % FLAPS == 0 && minute % 2 == 1;
                let outcome = if fails { Outcome::Failure } else { Outcome::Success };
                let mut seen = result(&format!("site-{site}"), 0, outcome);
                seen.scheduled_at = at;
                seen.next_at = Some(at + SignedDuration::from_secs(60));
                seen.started_at = Some(at + SignedDuration::from_millis(2));
                seen.incident_failures = Some(1);
                let partition = partition_for(seen.site.as_bytes(), PARTITIONS) as usize;
                if site % FLAPS == 0 && minute > 0 {
                    changes.push((
                        partition,
                        Change { key: (seen.site.clone(), at), offset: offsets[partition] },
                    ));
                }
                offsets[partition] += 1;
                batch.push(Outgoing { key: seen.site.clone(), value: value(seen) });
            }
            // Before they can be stored.
            let mut waiting = awaited.lock().unwrap();
            changes.into_iter().for_each(|(partition, change)| waiting[partition].push_back(change));
            drop(waiting);
            let deliveries = producer.produce(&batch);
            assert!(deliveries.iter().all(|delivery| matches!(delivery, Delivery::Delivered)));
        }
        let late = begun.elapsed().saturating_sub(TICK * (ticks * (self.minutes + 1)) as u32);
        assert!(late < Duration::from_secs(1), "the load was {late:?} late");
    }

    /// Looks for rows, by the offsets up to which they are stored, and for transitions.
    ///
    /// A row is visible from the moment before the look that finds it, at the latest. A transition is known at the moment
    /// after the look that finds it, at the latest.
    fn look(&self, awaited: &Awaited, done: &AtomicBool) -> Found {
        let mut client = self.pipeline.database.client();
        let mut found = Found::default();
        let (mut last, mut patience) = (0_i64, None);
        loop {
            let before = Instant::now();
            let rows = client
                .query("SELECT partition, next_offset FROM webmon.partition_offsets WHERE next_offset IS NOT NULL", &[])
                .unwrap();
            let mut waiting = awaited.lock().unwrap();
            for row in rows {
                let (queue, stored) = (&mut waiting[row.get::<_, i32>(0) as usize], row.get::<_, i64>(1));
                while queue.front().is_some_and(|change| change.offset < stored) {
                    found.rows.extend(queue.pop_front().map(|change| (change.key, before)));
                }
            }
            let left: usize = waiting.iter().map(VecDeque::len).sum();
            drop(waiting);
            let sql =
                "SELECT transition_id, subject, at FROM webmon.alert_transitions WHERE transition_id > $1";
            let rows = client.query(sql, &[&last]).unwrap();
            let after = Instant::now();
            for row in rows {
                last = last.max(row.get(0));
                found.transitions.insert((row.get(1), row.get(2)), after);
            }
            if left == 0 && done.load(Ordering::Relaxed) {
                // What is not there by then is counted as missing.
                let until = *patience.get_or_insert(after + Duration::from_secs(5));
                if after > until || found.transitions.len() == found.rows.len() {
                    return found;
                }
            }
            pause(LOOK);
        }
    }

    /// Looks at some sites: since when they are down, which is what `webmon.current_status` reads, and at their incidents.
    fn look_at_history(&self, done: &AtomicBool) -> (Seen, Seen) {
        let mut client = self.pipeline.database.client();
        let (mut statuses, mut incidents) = (Seen::new(), Seen::new());
        let sites: Vec<String> =
            (0..self.sites).filter(|n| is_sampled(*n)).map(|n| format!("site-{n}")).collect();
        let mut over = None;
        while over.is_none_or(|over: Instant| over.elapsed() < Duration::from_secs(5)) {
            let sql = "SELECT s.key, l.down_since_at FROM webmon.sites s JOIN webmon.site_locations l USING (site_id) \
                       WHERE s.key = ANY($1) AND l.down_since_at IS NOT NULL";
            let rows = client.query(sql, &[&sites]).unwrap();
            let now = Instant::now();
            for row in rows {
                statuses.entry((row.get(0), row.get(1))).or_insert(now);
            }
            let sql = "SELECT site, from_at, to_at FROM webmon.incidents WHERE site = ANY($1)";
            let rows = client.query(sql, &[&sites]).unwrap();
            let now = Instant::now();
            for row in rows {
                let (site, ended): (String, Option<Timestamp>) = (row.get(0), row.get(2));
                incidents.entry((site.clone(), row.get(1))).or_insert(now);
                if let Some(ended) = ended {
                    incidents.entry((site, ended)).or_insert(now);
                }
            }
            if done.load(Ordering::Relaxed) {
                over.get_or_insert_with(Instant::now);
            }
            pause(LOOK_AT_HISTORY);
        }
        (statuses, incidents)
    }
}

fn number_of(site: &str) -> usize {
    site.trim_start_matches("site-").parse().unwrap()
}

fn is_sampled(site: usize) -> bool {
    site.is_multiple_of(FLAPS * SAMPLE)
}

/// Prints how long after the row each change was seen in `what`.
fn delays(what: &str, rows: &Seen, seen: &Seen, of: usize) {
    let mut delays: Vec<f64> = seen
        .iter()
        .filter_map(|(key, at)| Some(at.saturating_duration_since(*rows.get(key)?).as_secs_f64()))
        .collect();
    delays.sort_by(f64::total_cmp);
    let at = |part: f64| delays.get((delays.len() as f64 * part) as usize).or(delays.last()).copied();
    let ms = |part: f64| at(part).map_or("-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1_000.0));
    println!(
        "{what}: {} of {of} changes; p50 {}, p99 {}, at most {}",
        delays.len(),
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
}

/// Seconds of processor time: the program's, and the database server's with all its backends.
struct Cpu {
    webmon: f64,
    postgres: f64,
}

impl Cpu {
    /// From Linux's /proc (proc(5)), where a tick is 10 ms.
    fn now(store: &Program, client: &mut Client) -> Cpu {
        let fields = |pid: &str| -> Vec<i64> {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The second field is a name in brackets, which may hold spaces.
            let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
            rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect()
        };
        // Without the first two fields: 1 parent, 11 and 12 own time, 13 and 14 that of children that have ended.
        let seconds = |fields: &[i64], which: &[usize]| -> f64 {
            which.iter().filter_map(|i| fields.get(*i)).sum::<i64>() as f64 / 100.0
        };
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let server = fields(&backend.to_string())[1];
        let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let stat = fields(entry.file_name().to_str()?);
            (stat.get(1) == Some(&server)).then(|| seconds(&stat, &[11, 12]))
        });
        Cpu {
            webmon: seconds(&fields(&store.child.id().to_string()), &[11, 12]),
            postgres: seconds(&fields(&server.to_string()), &[11, 12, 13, 14]) + children.sum::<f64>(),
        }
    }
}
