//! The storing side under faults, with the real programs, real Kafka and real PostgreSQL: whatever is killed, frozen, cut
//! off or full, in the end each record is stored once, and the ledger tells it.
//!
//! In an ordinary run each fault comes a few times; dev/faults makes it the whole number.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;
use support::instance::{Instance, Service};
use support::pipeline::{Pipeline, assert_memory, end, pause, pipeline, random, seed};
use support::proxy::{Link, Proxy};
use support::{Database, Signal, empty_database, program, result, scale, value, wait_until};
use webmon::kafka::{self, Delivery, Outgoing};
use webmon::record::Outcome;

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");
const PARTITIONS: i32 = 4;

// Programs

#[test]
fn a_killed_writer_neither_loses_nor_repeats_a_row() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let mut seed = seed();
    let mut writers = [pipeline.store(), pipeline.store()];
    pipeline.wait_for_holders(2);
    let produced = pipeline.under_load(|| {
        for _ in 0..scale(5, 100) {
            let victim = random(&mut seed, 2) as usize;
            assert_memory(&writers[victim]);
            writers[victim].child.kill().unwrap();
            writers[victim].child.wait().unwrap();
            writers[victim] = pipeline.store();
            pause(Duration::from_millis(50 + random(&mut seed, 900)));
        }
        pipeline.wait_for_rows(1_000);
    });
    pipeline.assert_exactly_once(produced);
    assert!(pipeline.database.number("SELECT max(epoch) FROM webmon.partition_offsets") > 1, "it held some");
    writers.into_iter().for_each(end);
}

#[test]
fn a_frozen_writer_is_replaced_and_commits_nothing_when_it_wakes() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let (frozen, other) = (pipeline.store(), pipeline.store());
    pipeline.wait_for_holders(2);
    let produced = pipeline.under_load(|| {
        for _ in 0..scale(2, 25) {
            frozen.signal(Signal::STOP);
            pipeline.wait_for_holders(1);
            pipeline.wait_for_rows(500);
            frozen.signal(Signal::CONT);
            pipeline.wait_for_holders(2);
        }
    });
    pipeline.assert_exactly_once(produced);
    end(frozen);
    end(other);
}

#[test]
fn four_migrations_at_once_apply_each_file_once() {
    let Some(database) = empty_database() else { return };
    let toml = support::config_toml("127.0.0.1:1", "t", &database.url, "");
    let programs = [(); 4].map(|()| program(STORE, &toml, &["migrate"]));
    for program in programs {
        let (code, _, log) = program.finish();
        assert_eq!(code, Some(0), "{log}");
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/migrations")).unwrap().count();
    assert_eq!(database.number("SELECT count(*) FROM webmon.migrations"), files as i64);
}

#[test]
fn poison_in_the_stream_becomes_dead_letters_and_costs_no_row() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let good = |n: i64| value(result(&format!("site-{}", n % 50), -(n / 50), Outcome::Success));
    let with = |n: i64, from: &str, to: &str| {
        let text = String::from_utf8(good(n)).unwrap();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let year = |n: i64, year: &str| {
        let text = String::from_utf8(good(n)).unwrap();
        let from = text.find("\"scheduled_at\":\"").unwrap() + 16;
        format!("{}{year}{}", &text[..from], &text[from + 4..]).into_bytes()
    };
    let poison = |n: i64| match n / 100 % 7 {
        0 => b"GET / HTTP/1.1".to_vec(),
        1 => with(n, "\"v\":1", "\"v\":2"),
        2 => with(n, "\"name\":\"the", "\"name\":\"\\u0000"),
        3 => year(n, "9999"),
        4 => year(n, "0001"),
        5 => Vec::new(),
        _ => with(n, "\"total_us\":1234", "\"total_us\":-1"),
    };
    let records = scale(20_000, 1_000_000);
    let writers = [pipeline.store(), pipeline.store()];
    let mut producer = kafka::producer(&pipeline.config().kafka).unwrap();
    // How many of each kind, by what the dead letters will call them.
    let mut poisoned: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut next = 0;
    for from in (0..records).step_by(1_000) {
        let batch: Vec<Outgoing> = (from..from + 1_000)
            .map(|n| {
                let value = if n % 100 == 37 {
                    let value = poison(n);
                    *poisoned.entry(value.clone()).or_default() += 1;
                    value
                } else {
                    next += 1;
                    good(next - 1)
                };
                Outgoing { key: format!("site-{}", n % 50), value }
            })
            .collect();
        for delivery in producer.produce(&batch) {
            assert!(matches!(delivery, Delivery::Delivered), "{delivery:?}");
        }
    }
    // And records without a value, as tombstones are.
    let raw: BaseProducer = ClientConfig::new().set("bootstrap.servers", &pipeline.brokers).create().unwrap();
    for n in 0..10 {
        let record =
            BaseRecord::<[u8], [u8]>::to(&pipeline.topic).partition(n % PARTITIONS).key(b"tombstone");
        raw.send(record).map_err(|(error, _)| error).unwrap();
    }
    raw.flush(Duration::from_secs(20)).unwrap();
    *poisoned.entry(Vec::new()).or_default() += 10;
    let (good, dead) = (records - records / 100, records / 100 + 10);
    pipeline.assert_exact(good, dead);

    // Each is there as it came, by the coordinates that it has in Kafka.
    let sql = "SELECT partition, record_offset, value FROM webmon.dead_letters";
    let mut letters: BTreeMap<(i32, i64), Vec<u8>> = pipeline
        .database
        .client()
        .query(sql, &[])
        .unwrap()
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get::<_, Option<Vec<u8>>>(2).unwrap_or_default()))
        .collect();
    support::read_topic(&pipeline.config().kafka, |record| {
        if let Some(letter) = letters.remove(&(record.partition, record.offset)) {
            let value = record.value.unwrap_or_default().to_vec();
            assert_eq!(letter, value);
            *poisoned.get_mut(&value).expect("it is poison") -= 1;
        }
    });
    assert!(letters.is_empty(), "{letters:?}");
    assert!(poisoned.values().all(|left| *left == 0), "{poisoned:?}");
    writers.into_iter().for_each(end);
}

// Network and services

#[test]
fn a_writer_cut_off_from_the_database_is_replaced_within_its_lease_and_goes_on_later() {
    let Some(mut pipeline) = pipeline(PARTITIONS) else { return };
    let url = pipeline.database.url.clone();
    let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let network = Proxy::start(&server, Link::Pass);
    pipeline.database.url = url.replace(&server, &network.address.to_string());
    let remote = pipeline.store();
    pipeline.database.url = url;
    let near = pipeline.store();
    pipeline.wait_for_holders(2);
    let produced = pipeline.under_load(|| {
        for _ in 0..scale(1, 10) {
            for link in [Link::Cut, Link::Hold, Link::Swallow] {
                network.set(link);
                pipeline.wait_for_holders(1);
                pipeline.wait_for_rows(500);
                // What was swallowed will not come; sooner or later somebody says so.
                if link == Link::Swallow {
                    network.set(Link::Cut);
                }
                network.set(Link::Pass);
                pipeline.wait_for_holders(2);
            }
        }
    });
    pipeline.assert_exactly_once(produced);
    end(remote);
    end(near);
}

#[test]
fn a_crash_of_the_database_loses_and_repeats_nothing() {
    let Some(server) = Instance::start(Service::Postgres, "WEBMON_TEST_POSTGRES") else { return };
    let Some(brokers) = support::kafka() else { return };
    let pipeline = Pipeline::new(&brokers, migrated(&server.address), PARTITIONS);
    let writers = [pipeline.store(), pipeline.store()];
    let produced = pipeline.under_load(|| {
        for _ in 0..scale(1, 10) {
            pipeline.wait_for_rows(500);
            server.kill_and_restart();
            pipeline.wait_for_rows(500);
            server.stop_immediately_and_restart();
        }
        pipeline.wait_for_rows(500);
    });
    pipeline.assert_exactly_once(produced);
    writers.into_iter().for_each(end);
}

#[test]
fn writers_outlive_a_restart_and_an_outage_of_the_broker() {
    let Some(broker) = Instance::start(Service::Kafka, "WEBMON_TEST_KAFKA") else { return };
    let Some(database) = support::database() else { return };
    let pipeline = Pipeline::new(&broker.address, database, PARTITIONS);
    let writers = [pipeline.store(), pipeline.store()];
    let produced = pipeline.under_load(|| {
        for outage in scale(vec![3], vec![0, 60]) {
            pipeline.wait_for_rows(500);
            broker.kill();
            pause(Duration::from_secs(outage));
            broker.up();
        }
        pipeline.wait_for_rows(500);
    });
    pipeline.assert_exactly_once(produced);
    writers.into_iter().for_each(end);
}

// Disk and clock

/// A PostgreSQL server that the test itself starts, in surroundings of its own. Killed in the end.
struct Server {
    child: Child,
    directory: tempfile::TempDir,
    url: String,
}

impl Server {
    /// In a user namespace, as PostgreSQL does not run as root, and as a user that every system knows, as initdb looks for
    /// its name. In /tmp: there that user may enter all folders above. `prepare` is shell commands that go before, with $1
    /// for the server's directory, and `settings` go to the server.
    fn start(prepare: &str, settings: &[&str], environment: &[(String, String)]) -> Option<Server> {
        let programs = support::service("WEBMON_TEST_PG_BIN")?;
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        // Free now, and soon again.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let initdb =
            "\"$2/initdb\" -D \"$1/data\" -U webmon --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync";
        let postgres = "shift; shift; exec env \"$@\"";
        let inner = format!("{initdb} >&2 && {postgres}");
        let outer = format!(
            "{prepare}; nobody=$(id -u nobody); \
             exec unshare --user --map-user=$nobody --map-group=$nobody sh -c '{inner}' sh \"$@\""
        );
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut server = Command::new("unshare");
        server.current_dir("/");
        server.args(["-rm", "sh", "-e", "-c", &outer, "sh"]).arg(directory.path()).arg(&programs);
        server.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        server.arg(format!("{programs}/postgres")).arg("-D").arg(directory.path().join("data"));
        let own = [
            "fsync=off",
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "unix_socket_directories=",
            "shared_buffers=16MB",
        ];
        server.args(own.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let url = format!("postgres://webmon@127.0.0.1:{port}/postgres?sslmode=disable");
        let mut server = Server { child, directory, url };
        let mut ended = false;
        wait_until("the server answers", || {
            ended = server.child.try_wait().unwrap().is_some();
            ended || postgres::Client::connect(&server.url, postgres::NoTls).is_ok()
        });
        if ended {
            support::not_tested(&format!("a server in namespaces of its own: {}", server.log()));
            return None;
        }
        Some(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// A file of the server's, also one that only its own mount namespace has.
    fn file(&self, name: &str) -> PathBuf {
        let path = format!("/proc/{}/root{}", self.child.id(), self.directory.path().display());
        PathBuf::from(path).join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT, on which it ends its children too; SIGKILL would leave these behind.
        let _ = support::signal(self.child.id().cast_signed(), Signal::QUIT);
        let _ = self.child.wait();
    }
}

#[test]
fn a_writer_outlives_a_full_disk_of_the_server_and_loses_nothing() {
    let Some(brokers) = support::kafka() else { return };
    let prepare = "mkdir \"$1/disk\"; mount -t tmpfs -o size=64m,mode=0777 tmpfs \"$1/disk\"; mkdir -m 0777 \"$1/disk/small\"";
    let Some(server) = Server::start(prepare, &["default_tablespace=small"], &[]) else { return };
    let location = server.directory.path().join("disk/small");
    let mut client = postgres::Client::connect(&server.url, postgres::NoTls).unwrap();
    client.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", location.display())).unwrap();
    // The days' partitions are made by the schema's owner, who may be anybody.
    client.batch_execute("GRANT CREATE ON TABLESPACE small TO public").unwrap();
    drop(client);
    let pipeline = Pipeline::new(&brokers, migrated(&server.url), PARTITIONS);

    // Somebody else fills the disk, but for a little.
    let filler = server.file("disk/filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4_096]).is_ok() {}
    file.set_len(file.metadata().unwrap().len() - (1 << 20)).unwrap();
    let writer = pipeline.store();
    let produced = pipeline.under_load(|| {
        wait_until("it says what is wrong", || writer.log().contains("No space left on device"));
        assert!(pipeline.rows() > 0 && pipeline.stored_end() < pipeline.log_end());
        assert_eq!(pipeline.database.number("SELECT count(*) FROM webmon.dead_letters"), 0);

        // There is room again.
        drop(file);
        std::fs::remove_file(filler).unwrap();
        pipeline.wait_for_rows(500);
    });
    pipeline.assert_exactly_once(produced);
    end(writer);
}

/// What makes a program see another time, as environment variables; none without libfaketime.
fn other_clock(clock: &std::path::Path) -> Option<Vec<(String, String)>> {
    let Ok(output) = Command::new("faketime").args(["-f", "+0s", "env"]).output() else {
        support::not_tested("faketime");
        return None;
    };
    let output = String::from_utf8(output.stdout).unwrap();
    let library = output.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).unwrap();
    let variables = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    Some(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

/// Seconds since the current day began.
fn now() -> i64 {
    (jiff::Timestamp::now().as_second()).rem_euclid(86_400)
}

#[test]
fn writers_go_by_the_later_of_two_clocks_and_outlive_steps_of_the_servers() {
    let Some(brokers) = support::kafka() else { return };
    let clocks = tempfile::tempdir().unwrap();
    let clock = clocks.path().join("clock");
    let step = |seconds: i64| {
        let new = clocks.path().join("new");
        std::fs::write(&new, format!("{seconds:+}")).unwrap();
        std::fs::rename(new, &clock).unwrap();
    };
    step(0);
    let Some(environment) = other_clock(&clock) else { return };
    let Some(server) = Server::start("true", &[], &environment) else { return };
    let pipeline = Pipeline::new(&brokers, migrated(&server.url), PARTITIONS);
    let mut producer = kafka::producer(&pipeline.config().kafka).unwrap();
    let mut writers = [pipeline.store(), pipeline.store()];
    let steps = [7_200, -7_200, 0];
    let produced = pipeline.under_load(|| {
        for (n, seconds) in steps.into_iter().enumerate() {
            // What was given before the step must not outlast it.
            pipeline.wait_for_holders(2);
            let victim = n % 2;
            writers[victim].child.kill().unwrap();
            writers[victim].child.wait().unwrap();
            step(seconds);
            wait_until(&format!("the other one holds all at {seconds:+} s"), || {
                pipeline.holders() == 1
                    && pipeline.database.number(
                        "SELECT count(*) FROM webmon.partition_offsets WHERE lease_until > clock_timestamp()",
                    ) == i64::from(PARTITIONS)
            });
            pipeline.wait_for_rows(500);
            // Half an hour ahead of the later clock is allowed, an hour and a half is not.
            let soon = [1_800, 5_400].map(|ahead| Outgoing {
                key: "ahead".to_owned(),
                value: value(result(
                    &format!("at {seconds:+}"),
                    now() + seconds.max(0) + ahead,
                    Outcome::Success,
                )),
            });
            assert!(producer.produce(&soon).iter().all(|delivery| matches!(delivery, Delivery::Delivered)));
            pipeline.wait_for_all();
            writers[victim] = pipeline.store();
        }
        pipeline.wait_for_holders(2);
    });
    let steps = steps.len() as i64;
    pipeline.assert_exact(produced + steps, steps);
    let dead = pipeline.database.json("SELECT DISTINCT reason FROM webmon.dead_letters");
    assert_eq!(dead, [json!({"reason": "ahead_of_time"})]);
    writers.into_iter().for_each(end);
}

fn migrated(server: &str) -> Database {
    let database = Database::on(server);
    webmon::database::migrate(&mut database.client()).unwrap();
    database
}
