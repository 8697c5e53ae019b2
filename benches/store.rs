//! How fast the storing side is, against a floor in the same run: psql's binary `\copy` of the same rows into
//! the same table.
//!
//! ```text
//! ./dev/services up && . .dev/env && cargo bench --bench store -- [--records 1000000] [--threads 2] [--seconds 20] [--partitions 6]
//! ```
//!
//! Broker and database run on the same machine, and the figures share its cores with them.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Database, config, database, result, unique, value};
use webmon::config::Config;
use webmon::kafka::{self, Delivery, NewTopic, Outgoing};
use webmon::record::{CheckResult, HttpVersion, Outcome, TlsVersion};
use webmon::shutdown::Shutdown;
use webmon::store::{self, Writers};

const SITES: i64 = 1_000;

fn main() {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let option = |name: &str, default: i64| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let (Some(brokers), Some(throughput_db)) = (support::kafka(), database()) else { return };
    let threads = option("--threads", 2);
    throughput(&brokers, &throughput_db, option("--records", 1_000_000), threads);
    for linger in ["0s", "20ms", "50ms", "100ms"] {
        let Some(database) = database() else { return };
        latency(&brokers, &database, option("--seconds", 20), option("--partitions", 6) as i32, linger);
    }
}

/// A success over IPv4 and TLS, with every measurement.
fn full(n: i64) -> CheckResult {
    let mut r = result(&format!("site-{:04}", n % SITES), n / SITES, Outcome::Success);
    r.body_matched = Some(true);
    let us = |base: u32| Some(base + (n % 977) as u32);
    (r.dns_us, r.connect_us, r.tls_us) = (us(900), us(12_000), us(24_000));
    (r.ttfb_us, r.download_us, r.total_us) = (us(48_000), us(3_000), us(90_000));
    r.body_bytes = us(48_211);
    r.remote_ip = Some("127.0.0.1".parse().unwrap());
    r.http_version = Some(HttpVersion::Http11);
    r.tls_version = Some(TlsVersion::Tls13);
    r.cert_not_after = Some("2027-01-02T03:04:05Z".parse().unwrap());
    r
}

fn topic(brokers: &str, database: &Database, partitions: i32, more: &str) -> Config {
    let config =
        config(brokers, &unique("bench"), &database.url, &format!("store.max_ahead = \"30d\"\n{more}"));
    let topic = NewTopic { partitions, replication: 1, retention: Duration::from_secs(86_400) };
    kafka::create_topic(&config.kafka, &topic).unwrap();
    config
}

fn produce(producer: &mut dyn kafka::Producer, records: impl Iterator<Item = i64>) {
    let batch: Vec<Outgoing> = records
        .map(|n| {
            let result = full(n);
            Outgoing { key: result.site.clone(), value: value(result) }
        })
        .collect();
    assert!(producer.produce(&batch).iter().all(|delivery| matches!(delivery, Delivery::Delivered)));
}

fn stored(database: &mut postgres::Client) -> i64 {
    let sql = "SELECT coalesce(sum(next_offset), 0)::bigint FROM webmon.partition_offsets";
    database.query_one(sql, &[]).unwrap().get(0)
}

fn throughput(brokers: &str, database: &Database, records: i64, threads: i64) {
    let config = topic(brokers, database, 6, &format!("store.threads = {threads}"));
    let mut producer = kafka::producer(&config.kafka).unwrap();
    let begun = Instant::now();
    let mut bytes = 0;
    for from in (0..records).step_by(10_000) {
        produce(producer.as_mut(), from..(from + 10_000).min(records));
        bytes += value(full(from)).len();
    }
    println!(
        "produced   {records} records of about {} bytes in {:.1} s",
        bytes / (records as usize).div_ceil(10_000),
        begun.elapsed().as_secs_f64()
    );

    let mut client = database.client();
    // Forgets what producing took (proc(5)): a writer does not produce.
    drop(producer);
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let cpu = Cpu::now(&mut client);
    let seconds = store_all(&config, database, records);
    println!(
        "stored     {records} records in {seconds:.2} s with {threads} writers: {:.0} records/s, from their start on",
        records as f64 / seconds
    );
    Cpu::now(&mut client).print_since(&cpu, records);
    println!("memory     {} MB resident at most", peak_rss_mb());
    for partition in 0..6 {
        store::replay(&mut client, &config.kafka.topic, partition, 0).unwrap();
    }
    let again = store_all(&config, database, records);
    println!(
        "replayed   the same records in {again:.2} s, all duplicates: {:.0} records/s",
        records as f64 / again
    );
    floor(database, records, seconds);
    client.batch_execute("VACUUM webmon.check_results").unwrap();
    let row = client
        .query_one(
            "SELECT sum(pg_relation_size(inhrelid))::float8 / $1, sum(pg_indexes_size(inhrelid))::float8 / $1 \
             FROM pg_inherits WHERE inhparent = 'webmon.check_results'::regclass",
            &[&(records as f64)],
        )
        .unwrap();
    let (table, index): (f64, f64) = (row.get(0), row.get(1));
    println!("size       {table:.1} bytes of table and {index:.1} of index a row");
}

fn writers(config: &Config) -> Writers {
    Writers::new(&config.postgres, &config.kafka.topic, config.store.clone())
        .unwrap()
        .host(&config.check.checker)
}

/// Runs the writers until everything is stored; returns the seconds from their start on.
fn store_all(config: &Config, database: &Database, records: i64) -> f64 {
    let shutdown = Shutdown::new();
    let kafka_config = config.kafka.clone();
    let mut client = database.client();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let consumer = move || kafka::consumer(&kafka_config);
        let stop = &shutdown;
        let writers = scope.spawn(move || writers(config).run(&consumer, stop));
        while stored(&mut client) < records && !writers.is_finished() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let seconds = begun.elapsed().as_secs_f64();
        shutdown.request();
        writers.join().unwrap().unwrap();
        seconds
    })
}

/// Seconds of processor time: this process's, the database server's with all its backends, and the whole machine's.
struct Cpu {
    webmon: f64,
    postgres: f64,
    machine: f64,
}

impl Cpu {
    /// From Linux's /proc (proc(5)), where a tick is 10 ms.
    fn now(client: &mut postgres::Client) -> Cpu {
        let fields = |path: String| -> Vec<String> {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // The second field is a name in brackets, which may hold spaces.
            let rest = text.rsplit_once(") ").map_or(text.as_str(), |(_, rest)| rest);
            rest.split_whitespace().map(str::to_owned).collect()
        };
        let ticks = |fields: &[String], which: &[usize]| -> f64 {
            let tick = |i: &usize| fields.get(*i).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
            which.iter().map(tick).sum::<f64>() / 100.0
        };
        // Without the first two fields: 1 parent, 11 and 12 own time, 13 and 14 that of children that have ended.
        let of = |pid: &str| fields(format!("/proc/{pid}/stat"));
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let server = of(&backend.to_string())[1].clone();
        let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let stat = of(entry.file_name().to_str()?);
            (stat.get(1) == Some(&server)).then(|| ticks(&stat, &[11, 12]))
        });
        let all = std::fs::read_to_string("/proc/stat").unwrap();
        let all: Vec<String> = all.lines().next().unwrap().split_whitespace().map(str::to_owned).collect();
        Cpu {
            webmon: ticks(&of("self"), &[11, 12]),
            postgres: ticks(&of(&server), &[11, 12, 13, 14]) + children.sum::<f64>(),
            // user, nice, system, irq and softirq
            machine: ticks(&all, &[1, 2, 3, 6, 7]),
        }
    }

    fn print_since(&self, before: &Cpu, records: i64) {
        let us = |now: f64, then: f64| 1e6 * (now - then) / records as f64;
        let (webmon, postgres) = (us(self.webmon, before.webmon), us(self.postgres, before.postgres));
        let machine = us(self.machine, before.machine);
        println!(
            "time       {webmon:.2} us of a core a record in webmon, {postgres:.2} in PostgreSQL, {:.2} elsewhere (Kafka, the \
             system, whatever else runs)",
            machine - webmon - postgres
        );
    }
}

/// The same rows by psql's binary `\copy`, into the emptied table.
fn floor(database: &Database, records: i64, seconds: f64) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows");
    let psql = |sql: &str| {
        let status = Command::new("psql")
            .args(["-qX", "-v", "ON_ERROR_STOP=1", &database.url, "-c", sql])
            .status()
            .unwrap();
        assert!(status.success());
    };
    psql(&format!("\\copy (SELECT * FROM webmon.check_results) TO '{}' (FORMAT binary)", file.display()));
    psql("TRUNCATE webmon.check_results");
    psql("CHECKPOINT");
    let begun = Instant::now();
    psql(&format!("\\copy webmon.check_results FROM '{}' (FORMAT binary)", file.display()));
    let floor = begun.elapsed().as_secs_f64();
    println!(
        "floor      psql's \\copy of the same rows in {floor:.2} s: {:.0} rows/s; webmon reaches {:.0} % of it",
        records as f64 / floor,
        100.0 * floor / seconds
    );
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// From the call that produces a record to the moment when others can read its row, at 300 records a second, and how many
/// transactions that takes.
fn latency(brokers: &str, database: &Database, seconds: i64, partitions: i32, linger: &str) {
    let mut config = topic(brokers, database, partitions, &format!("store.linger = {linger:?}"));
    // Heartbeats are few then.
    config.store.lease = Duration::from_secs(10);
    let shutdown = Shutdown::new();
    let sent: Mutex<Vec<Instant>> = Mutex::default();
    let records = seconds * 300;
    std::thread::scope(|scope| {
        let kafka_config = config.kafka.clone();
        let consumer = move || kafka::consumer(&kafka_config);
        let (stop, writer_config) = (&shutdown, &config);
        let writer = scope.spawn(move || writers(writer_config).run(&consumer, stop));
        let mut client = database.client();
        support::wait_until("the writer holds the partition", || {
            let sql = "SELECT count(owner) FROM webmon.partition_offsets";
            client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == i64::from(partitions)
        });
        let updates = |client: &mut postgres::Client| -> i64 {
            let sql = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'partition_offsets'";
            client.query_one(sql, &[]).unwrap().get(0)
        };
        let before = updates(&mut client);
        scope.spawn(|| {
            let mut producer = kafka::producer(&config.kafka).unwrap();
            let begun = Instant::now();
            for n in 0..records / 3 {
                let due = begun + Duration::from_millis(n as u64 * 10);
                while let Some(left) = due.checked_duration_since(Instant::now()) {
                    std::thread::park_timeout(left);
                }
                sent.lock().unwrap().extend([Instant::now(); 3]);
                produce(producer.as_mut(), n * 3..n * 3 + 3);
            }
        });
        let mut latencies = Vec::new();
        while (latencies.len() as i64) < records {
            let visible = stored(&mut client);
            let now = Instant::now();
            let sent = sent.lock().unwrap();
            for n in latencies.len()..visible as usize {
                latencies.push(now.duration_since(sent[n]));
            }
            drop(sent);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        shutdown.request();
        writer.join().unwrap().unwrap();
        latencies.sort();
        let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1_000.0;
        println!(
            "latency    publish to visible row at 300 records/s, {partitions} partitions, linger {linger}: \
             p50 {:.1} ms, p99 {:.1} ms; {:.0} transactions/s",
            at(0.5),
            at(0.99),
            (updates(&mut client) - before) as f64 / seconds as f64
        );
    });
}
