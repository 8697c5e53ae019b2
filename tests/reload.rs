//! The checker itself, with real signals and real Kafka: reloads, a suspended process, restarts.
#![cfg(all(feature = "check", feature = "alerts", feature = "librdkafka", feature = "cli"))]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use support::{Program, Signal, program, unique, wait_until};
use webmon::config::Config;
use webmon::kafka::librdkafka::{LibrdkafkaConsumer, create_topic};
use webmon::kafka::{Consumer, FetchLimits, NewTopic};
use webmon::record::{CheckResult, ErrorType, Gap, GapReason, Outcome, Record};

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");

/// A topic of its own, and a site that answers.
struct Bench {
    kafka: String,
    config: Config,
    url: String,
}

fn bench() -> Option<Bench> {
    let (brokers, topic) = (support::kafka()?, unique("reload"));
    let kafka = format!("kafka.brokers = [{brokers:?}]\nkafka.topic = {topic:?}\n");
    // The database is nobody's here.
    let config = support::config(&brokers, &topic, "postgres://h/d", "");
    let topic = NewTopic { partitions: 2, replication: 1, retention: Duration::from_secs(86_400) };
    create_topic(&config.kafka, &topic).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine");
            });
        }
    });
    Some(Bench { kafka, config, url })
}

impl Bench {
    /// A configuration of these sites: name, schedule, and further lines.
    fn toml(&self, sites: &[(&str, &str, &str)]) -> String {
        let mut toml =
            format!("{}check.location = \"here\"\nsite_defaults.timeout = \"800ms\"\n", self.kafka);
        for (name, schedule, more) in sites {
            let url = &self.url;
            toml.push_str(&format!(
                "[[site]]\nname = {name:?}\nurl = {url:?}\nschedule = {schedule:?}\n{more}\n"
            ));
        }
        toml
    }

    fn start(&self, sites: &[(&str, &str, &str)]) -> Program {
        program(CHECK, &self.toml(sites), &["run"])
    }

    /// All that has arrived in the topic.
    fn arrived(&self) -> Arrived {
        let mut consumer = LibrdkafkaConsumer::new(&self.config.kafka).unwrap();
        let ends: Vec<i64> = (0..2).map(|partition| consumer.offsets(partition).unwrap().end).collect();
        let mut left = ends.iter().sum::<i64>();
        consumer.assign(&[(0, 0), (1, 0)]).unwrap();
        let mut arrived = Arrived::default();
        while left > 0 {
            let limits = FetchLimits {
                records: 1_000,
                bytes: 8 << 20,
                wait: Duration::from_millis(200),
                linger: Duration::ZERO,
            };
            let fetched = consumer.fetch(limits, &mut |fetched| match Record::decode(fetched.value.unwrap())
                .unwrap()
            {
                Record::Result(result) => arrived.results.push(*result),
                Record::Gap(gap) => arrived.gaps.push((gap.site, gap.gap)),
            });
            left -= fetched.unwrap() as i64;
        }
        arrived
    }
}

#[derive(Default)]
struct Arrived {
    results: Vec<CheckResult>,
    gaps: Vec<(String, Gap)>,
}

impl Arrived {
    fn of(&self, site: &str) -> BTreeMap<Timestamp, &CheckResult> {
        self.results.iter().filter(|r| r.site == site).map(|result| (result.scheduled_at, result)).collect()
    }

    /// Every second of `site` from its first to its last instant, each once.
    #[track_caller]
    fn assert_every_second(&self, site: &str, at_least: usize) {
        let rows = self.of(site);
        assert_eq!(
            rows.len(),
            self.results.iter().filter(|result| result.site == site).count(),
            "{site}: doubled"
        );
        let (first, last) = (*rows.keys().next().unwrap(), *rows.keys().next_back().unwrap());
        let span = last.as_second() - first.as_second() + 1;
        assert_eq!(rows.len() as i64, span, "{site}: lost between {first} and {last}");
        assert!(rows.len() >= at_least, "{site}: {}", rows.len());
    }

    fn gaps_of(&self, site: &str) -> Vec<&Gap> {
        self.gaps.iter().filter(|(named, _)| named == site).map(|(_, gap)| gap).collect()
    }
}

#[track_caller]
fn assert_stops(program: Program) -> String {
    program.signal(Signal::TERM);
    let (code, _, log) = program.finish();
    assert_eq!(code, Some(0), "{log}");
    log
}

const SECOND: &str = "* * * * * *";

#[test]
fn a_hangup_reloads_the_sites_and_touches_none_that_stays() {
    let Some(bench) = bench() else { return };
    let checker = bench.start(&[("stays", SECOND, ""), ("changes", SECOND, ""), ("goes", SECOND, "")]);
    wait_until("all sites have results", || {
        let arrived = bench.arrived();
        ["stays", "changes", "goes"].iter().all(|site| arrived.of(site).len() >= 2)
    });
    // The file is the same: nothing changes, however often it is asked for.
    for _ in 0..10 {
        checker.signal(Signal::HUP);
    }
    wait_until("it was reloaded", || checker.log().contains("\"reloaded\""));
    checker.rewrite(&bench.toml(&[
        ("stays", SECOND, "labels = { team = \"new\" }"),
        ("changes", "*/2 * * * * *", ""),
        ("comes", SECOND, ""),
    ]));
    checker.signal(Signal::HUP);
    wait_until("the new settings are in force", || {
        let arrived = bench.arrived();
        arrived.of("comes").len() >= 3
            && arrived.of("stays").values().filter(|result| !result.labels.is_empty()).count() >= 3
    });
    let log = assert_stops(checker);
    let arrived = bench.arrived();
    arrived.assert_every_second("stays", 6);
    arrived.assert_every_second("comes", 3);
    // What was announced and did not come is taken back.
    let goes = arrived.of("goes");
    let last = goes.values().next_back().unwrap();
    let expected = Gap { from: last.next_at.unwrap(), to: None, instants: 1, reason: GapReason::Rescheduled };
    assert_eq!(arrived.gaps_of("goes"), [&expected]);
    let changes = arrived.of("changes");
    for row in changes.values() {
        let next_at = row.next_at.unwrap();
        let met = changes.contains_key(&next_at)
            || arrived.gaps_of("changes").iter().any(|gap| gap.from == next_at)
            || next_at > *changes.keys().next_back().unwrap();
        assert!(met, "{next_at} never came");
    }
    assert!(
        log.contains("\"added\":1") && log.contains("\"retired\":1") && log.contains("\"rescheduled\":1"),
        "{log}"
    );
}

#[test]
fn a_configuration_with_faults_is_refused_and_the_old_one_goes_on() {
    let Some(bench) = bench() else { return };
    let checker = bench.start(&[("shop", SECOND, "")]);
    wait_until("it checks", || bench.arrived().of("shop").len() >= 2);
    checker.rewrite(&bench.toml(&[("shop", "61 * * * * *", "timeout = 3"), ("other", SECOND, "")]));
    checker.signal(Signal::HUP);
    wait_until("it is refused", || checker.log().contains("is refused"));
    let refused_at = Timestamp::now();
    wait_until("it goes on", || {
        bench.arrived().of("shop").keys().filter(|at| **at > refused_at).count() >= 2
    });
    // Mended, it is taken up without a signal.
    checker.rewrite(&bench.toml(&[("shop", SECOND, ""), ("other", SECOND, "")]));
    wait_until("the changed file is noticed", || bench.arrived().of("other").len() >= 2);
    // What cannot be changed is said.
    checker.rewrite(&bench.toml(&[("shop", SECOND, "")]).replace("\"here\"", "\"there\""));
    wait_until("it is said that it needs a restart", || {
        checker.log().contains("takes effect after a restart")
    });
    let log = assert_stops(checker);
    let arrived = bench.arrived();
    arrived.assert_every_second("shop", 5);
    assert!(arrived.results.iter().all(|result| result.location == "here"));
    for fault in [r#"second \"61\" is not valid"#, "timeout 3 is not a duration"] {
        assert!(log.contains(fault), "{fault}: {log}");
    }
}

#[test]
fn a_suspended_checker_accounts_for_what_it_slept_through() {
    let Some(bench) = bench() else { return };
    let checker = bench.start(&[("shop", SECOND, "")]);
    wait_until("it checks", || bench.arrived().of("shop").len() >= 2);
    checker.signal(Signal::STOP);
    let stopped = Timestamp::now();
    wait_until("ten seconds have passed", || Timestamp::now() > stopped + 10.seconds());
    checker.signal(Signal::CONT);
    let woken = Timestamp::now();
    wait_until("it checks again", || bench.arrived().of("shop").keys().any(|at| *at > woken + 1.second()));
    assert_stops(checker);
    let arrived = bench.arrived();
    arrived.assert_every_second("shop", 12);
    let late: Vec<_> = arrived.results.iter().filter(|r| r.error_type == Some(ErrorType::Late)).collect();
    assert!((8..=11).contains(&late.len()), "{late:?}");
    assert!(
        late.iter().all(|result| result.scheduled_at > stopped - 1.second() && result.scheduled_at <= woken)
    );
    // No burst of requests: of those it slept through it made at most the newest.
    let slept = stopped + 1.second()..woken - 1.second();
    let checked: BTreeSet<Timestamp> = arrived
        .results
        .iter()
        .filter(|result| result.outcome == Outcome::Success && slept.contains(&result.scheduled_at))
        .map(|result| result.scheduled_at)
        .collect();
    assert!(checked.is_empty(), "{checked:?}");
}

#[test]
fn a_checker_given_another_location_ends_the_chains_of_the_former_one() {
    let Some(bench) = bench() else { return };
    let spool = tempfile::tempdir().unwrap();
    let toml = |location: &str| {
        let toml = bench.toml(&[("shop", SECOND, "")]);
        let spool = format!("check.spool = {{ dir = {:?} }}", spool.path().join("spool"));
        toml.replace("check.location = \"here\"", &format!("{spool}\ncheck.location = {location:?}"))
    };
    let checked = |at_least: usize, location: &str| {
        let check = program(CHECK, &toml(location), &["run"]);
        wait_until("it checks", || {
            bench.arrived().results.iter().filter(|result| result.location == location).count() >= at_least
        });
        assert_stops(check)
    };
    checked(2, "here");
    let log = checked(2, "there");
    assert!(log.contains("the checker has another location now"), "{log}");
    checked(4, "there");

    let mut announced = None;
    let mut gaps = BTreeMap::new();
    support::read_topic(&bench.config.kafka, |record| match Record::decode(record.value.unwrap()).unwrap() {
        Record::Result(result) if result.location == "here" => announced = announced.max(result.next_at),
        Record::Result(_) => {}
        Record::Gap(gap) => {
            assert_eq!(gap.location, "here", "{gap:?}");
            gaps.insert(gap.gap.from, gap.gap);
        }
    });
    // From gap to gap, to the end.
    let mut reasons = Vec::new();
    while let Some(gap) = announced.and_then(|at| gaps.remove(&at)) {
        announced = gap.to;
        reasons.push(gap.reason);
    }
    assert_eq!((announced, &gaps), (None, &BTreeMap::new()));
    assert_eq!(reasons.pop(), Some(GapReason::Rescheduled));
    assert!(reasons.is_empty() || reasons == [GapReason::CheckerDown], "{reasons:?}");
}

#[test]
fn a_sites_next_instants_are_printed_in_both_clocks() {
    let toml = "kafka.brokers = [\"h:1\"]\n[[site]]\nname = \"shop\"\nurl = \"https://shop.example/\"\n\
        schedule = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\n\
        [[maintenance]]\nschedule = \"0 2 * * *\"\ntimezone = \"Europe/Berlin\"\nduration = \"1h\"\n";
    let (code, out, log) = program(CHECK, toml, &["schedule", "shop", "--count", "400", "--json"]).finish();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 400);
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    for line in &lines {
        let utc: Timestamp = text(line, "scheduled_at").parse().unwrap();
        let local: Timestamp = text(line, "local").parse().unwrap();
        assert_eq!(utc, local);
        assert_eq!(
            (line["timezone"].as_str(), line["maintenance"].as_bool()),
            (Some("Europe/Berlin"), Some(true))
        );
    }
    let offsets: BTreeSet<String> = lines.iter().map(|line| text(line, "local")[19..].to_owned()).collect();
    assert_eq!(offsets, ["+01:00".to_owned(), "+02:00".to_owned()].into());
    let (code, out, _) = program(CHECK, toml, &["schedule", "shop", "-n", "2"]).finish();
    assert_eq!((code, out.lines().count()), (Some(0), 2));
    assert!(out.lines().all(|line| line.contains(" 02:30:00 ") && line.ends_with("  maintenance")), "{out}");
    let (code, _, log) = program(CHECK, toml, &["schedule", "no such site"]).finish();
    assert_eq!(
        (code, log.trim()),
        (Some(1), "webmon-check: site \"no such site\" is not in the configuration")
    );
}

#[test]
fn too_few_threads_are_said_before_they_are_missed() {
    let toml = "kafka.brokers = [\"h:1\"]\ncheck.threads = 1\n[site_defaults]\nschedule = \"*/10 * * * * *\"\n\
        timeout = \"9s\"\n[[site]]\nname = \"a\"\nurl = \"https://a.example/\"\n";
    let (code, _, log) = program(CHECK, toml, &["validate"]).finish();
    assert_eq!((code, log.as_str()), (Some(0), ""));
    let two = format!("{toml}[[site]]\nname = \"b\"\nurl = \"https://b.example/\"\n");
    let (code, _, log) = program(CHECK, &two, &["validate"]).finish();
    assert_eq!(code, Some(0));
    let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
    assert_eq!((&line["level"], &line["needed"], &line["threads"]), (&"warn".into(), &2.into(), &1.into()));
}
