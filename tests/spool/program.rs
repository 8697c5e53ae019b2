//! webmon-check on a spool.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use webmon::outbox::Outbox;
use webmon::outbox::spool::{Inspector, SpoolError};
use webmon::record::{CheckResult, Record};

use crate::CHECK;
use crate::spool::{directory, drain, open, random, record, seed, topic_of};
use crate::support::{self, Signal, program, scale, unique, wait_until};

/// What is in the topic.
fn kafka_log(config: &webmon::config::Kafka) -> Vec<CheckResult> {
    let mut results = Vec::new();
    support::read_topic(config, |record| match Record::decode(record.value.unwrap()).unwrap() {
        Record::Result(result) => results.push(*result),
        Record::Gap(gap) => panic!("{gap:?}"),
    });
    results
}

/// A site that notes when it was asked for what: its path is `/checker/site/life`.
fn noting_site(log: Arc<Mutex<Vec<(String, Timestamp)>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut stream = stream;
                let mut line = String::new();
                let mut reader = BufReader::new(&stream);
                if reader.read_line(&mut line).is_err() {
                    return;
                }
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                let asked_at = Timestamp::now();
                if stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    .is_ok()
                {
                    log.lock().unwrap().push((path, asked_at));
                }
            });
        }
    });
    address
}

/// How long before a kill an answer must have been given for its result to be in the spool: the time from the
/// answer to the disk, on a busy machine.
const SETTLED: SignedDuration = SignedDuration::from_millis(1_500);

#[test]
fn a_killed_webmon_check_delivers_every_result_that_reached_its_spool() {
    const CHECKERS: u64 = 4;
    // Of each checker.
    let kills = scale(3, 13);
    let Some(brokers) = support::kafka() else { return };
    let topic = unique("spool");
    let log = Arc::new(Mutex::new(Vec::new()));
    let address = noting_site(Arc::clone(&log));
    let site = address.to_string();
    let kafka = support::config(&brokers, &topic, "postgres://nobody@127.0.0.1/none", "").kafka;
    topic_of(&kafka, 3);
    let seed = seed();

    // What each life must have left behind: results seen in the spool, and requests answered in good time.
    let (spooled, answered) = thread::scope(|scope| {
        let lives: Vec<_> = (0..CHECKERS)
            .map(|checker| {
                let (kafka, log, topic) = (&kafka, &log, &topic);
                scope.spawn(move || {
                    let mut seed = seed.wrapping_add(checker * 7_919) | 1;
                    let directory = tempfile::tempdir().unwrap();
                    let spool = directory.path().join("spool");
                    // Each life asks by a path of its own: a killed one's request may be read late.
                    let toml = |life: u64| {
                        let mut toml = format!(
                            "kafka.brokers = {:?}\nkafka.topic = {topic:?}\ncheck.location = \"l{checker}\"\n\
                             check.spool = {{ dir = {spool:?} }}\n",
                            kafka.brokers
                        );
                        for site in 0..8 {
                            toml += &format!(
                                "[[site]]\nname = \"s{site}\"\nurl = \"http://{address}/l{checker}/s{site}/{life}\"\n\
                                 schedule = \"* * * * * *\"\ntimeout = \"900ms\"\n"
                            );
                        }
                        toml
                    };
                    let asked = |life: u64, to: Timestamp| {
                        let (own, end) = (format!("/l{checker}/"), format!("/{life}"));
                        let log = log.lock().unwrap();
                        let own = log
                            .iter()
                            .filter(|(path, at)| path.starts_with(&own) && path.ends_with(&end) && *at < to);
                        own.cloned().collect::<Vec<_>>()
                    };
                    let (mut spooled, mut answered) = (BTreeSet::new(), Vec::new());
                    for life in 0..kills {
                        let check = program(CHECK, &toml(life), &["run"]);
                        wait_until("a site was asked", || !asked(life, Timestamp::now()).is_empty());
                        thread::sleep(Duration::from_millis(1_600 + random(&mut seed, 1_500)));
                        let killed = Timestamp::now();
                        check.signal(Signal::KILL);
                        assert_eq!(check.finish().0, None);
                        answered.extend(asked(life, killed - SETTLED));
                        let inspector = Inspector::new(&spool).unwrap();
                        inspector
                            .waiting::<SpoolError>(|json| {
                                if let Ok(Record::Result(result)) = Record::decode(json) {
                                    spooled.insert((result.location, result.site, result.scheduled_at));
                                }
                                Ok(())
                            })
                            .unwrap();
                    }
                    // The last life may deliver what is left.
                    let check = program(CHECK, &toml(kills), &["run"]);
                    wait_until("a site was asked", || !asked(kills, Timestamp::now()).is_empty());
                    let inspector = Inspector::new(&spool).unwrap();
                    wait_until("what waited is delivered", || {
                        let oldest = inspector.status().unwrap().oldest_waiting_at;
                        oldest.is_none_or(|at| spooled.iter().all(|(.., spooled)| *spooled < at))
                    });
                    check.signal(Signal::TERM);
                    let (code, _, error) = check.finish();
                    assert_eq!(code, Some(0), "{error}");
                    (spooled, answered)
                })
            })
            .collect();
        let (mut spooled, mut answered) = (BTreeSet::new(), Vec::new());
        for life in lives {
            let (s, a) = life.join().unwrap();
            spooled.extend(s);
            answered.extend(a);
        }
        (spooled, answered)
    });

    let log = kafka_log(&kafka);
    let delivered: BTreeSet<_> =
        log.iter().map(|r| (r.location.clone(), r.site.clone(), r.scheduled_at)).collect();
    eprintln!(
        "{} records, {} results, {} were in a spool after a kill, {} requests long before one",
        log.len(),
        delivered.len(),
        spooled.len(),
        answered.len()
    );
    let lost: Vec<_> = spooled.difference(&delivered).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(answered.len() as u64 > 30 * kills, "{}", answered.len());
    // Each request of a life is one result's that began before it, however late a busy machine lets the site read it. A
    // result may have several requests: a check that stood still is made again. A life may check an instant again that
    // the one before it had checked, and a result may be delivered twice.
    let mut began: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for result in &log {
        if let Some(at) = result.started_at
            && seen.insert((&result.url, result.scheduled_at))
        {
            let path = result.url.split_once(&site).expect("the URL of the site").1;
            began.entry(path).or_default().extend(vec![at; result.attempts.into()]);
        }
    }
    began.values_mut().for_each(|began| began.sort());
    let mut asked: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for (path, at) in answered {
        asked.entry(path).or_default().push(at);
    }
    for (path, mut asked) in asked {
        asked.sort();
        let began = began.get(&*path).map_or(&[][..], |began| began);
        for (n, asked_at) in asked.iter().enumerate() {
            let has_own = began.get(n).is_some_and(|at| *at <= *asked_at + SignedDuration::from_millis(5));
            assert!(has_own, "no result of {path} at {asked_at}: {began:?}, {asked:?}");
        }
    }
}

#[test]
fn the_spool_commands_show_what_waits_also_beside_a_checker() {
    let directory = directory();
    let toml = |spool: &str| {
        format!(
            "kafka.brokers = [\"127.0.0.1:1\"]\n{spool}\n[[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n\
             schedule = \"@hourly\"\n"
        )
    };
    let path = directory.path().join("spool");
    let with = toml(&format!("check.spool = {{ dir = {path:?}, max_size = \"8MiB\" }}"));
    let (code, _, error) = program(CHECK, &with, &["spool", "status"]).finish();
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        format!(
            "webmon-check: cannot read the spool's directory {path:?}: No such file or directory (os error 2)\n"
        )
    );
    assert!(!path.exists(), "it only looks");

    let spool = open(directory.path());
    spool.append_all((0..20).map(record).collect());
    for (sequence, _) in spool.peek(3, Duration::ZERO) {
        spool.reject(sequence, "too large");
    }
    spool.acknowledge(&[]);
    let (code, status, _) = program(CHECK, &with, &["spool", "status"]).finish();
    assert_eq!(code, Some(0));
    let rows: Vec<Vec<&str>> = status
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect())
        .collect();
    let value = |name: &str| {
        rows.iter().find(|row| row[0] == name).map(|row| row[1]).unwrap_or_else(|| panic!("{name}: {status}"))
    };
    assert_eq!(value("waiting"), "17");
    assert_eq!(value("oldest waiting"), "2026-01-01T00:00:03Z");
    assert_eq!(value("gaps"), "3");
    assert_eq!(value("rejected"), "3");
    assert_eq!(value("damaged"), "0");
    let (_, json, _) = program(CHECK, &with, &["spool", "status", "--json"]).finish();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["waiting"], &json["rejected"]), (&17.into(), &3.into()));
    assert_eq!(json["oldest_waiting_at"], "2026-01-01T00:00:03Z");

    let (code, dump, _) = program(CHECK, &with, &["spool", "dump"]).finish();
    assert_eq!(code, Some(0));
    let dumped: Vec<Record> = dump.lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
    assert_eq!(dumped[..17], (3..20).map(record).collect::<Vec<_>>());
    assert_eq!(dumped.len(), 20);
    let (_, rejected, _) = program(CHECK, &with, &["spool", "dump", "--rejected"]).finish();
    assert_eq!(rejected.lines().count(), 3);
    assert_eq!(drain(&spool).0.len(), 17, "nothing was changed");

    let (code, _, error) = program(CHECK, &with, &["run"]).finish();
    assert_eq!(code, Some(1));
    assert!(
        error.ends_with(&format!(
            "webmon-check: spool {path:?} is in use by another checker: give each its own check.spool.dir\n"
        )),
        "{error}"
    );

    let (code, _, error) = program(CHECK, &toml("check.spool = false"), &["spool", "status"]).finish();
    assert_eq!(code, Some(1));
    assert_eq!(error, "webmon-check: check.spool is off: results wait in memory\n");
    let (code, _, error) =
        program(CHECK, &toml("check.spool = { max_size = \"1KiB\" }"), &["validate"]).finish();
    assert_eq!(code, Some(2));
    assert!(
        error.contains("check.spool.max_size \"1KiB\" is out of range: expected 1MiB to 16TiB"),
        "{error}"
    );
    assert!(
        error.contains("check.spool.max_size \"1KiB\" is out of range: expected 1MiB to 16TiB"),
        "{error}"
    );
}
