//! A writer that is suspended, or cut off, at the worst of moments: in the middle of a COPY, where no timeout of the
//! server's applies, and between a COMMIT and its answer.

#![cfg(feature = "librdkafka")]

mod support;

use std::time::Duration;

use support::proxy::{Link, Proxy};
use support::{Database, Program, Signal, database, program, result, unique, value, wait_until};
use webmon::kafka::{self, Delivery, NewTopic, Outgoing};
use webmon::record::Outcome;
use webmon::store;

/// How every COPY in the binary format begins (PostgreSQL manual, "COPY: Binary Format").
const COPY: &[u8] = b"PGCOPY\n\xff\r\n\0";
const RECORDS: i64 = 1_000;

struct Stage {
    database: Database,
    toml: String,
    proxy: Proxy,
    through_proxy: String,
}

/// A topic of one partition with records in it, and two ways to the database.
fn stage() -> Option<Stage> {
    let (brokers, database) = (support::kafka()?, database()?);
    let toml = support::config_toml(&brokers, &unique("frozen"), &database.url, "");
    let config = webmon::config::Config::from_toml(&toml, webmon::config::Role::Store).unwrap();
    let topic = NewTopic { partitions: 1, replication: 1, retention: Duration::from_secs(86_400) };
    kafka::create_topic(&config.kafka, &topic).unwrap();
    let records: Vec<Outgoing> = (0..RECORDS)
        .map(|i| Outgoing { key: "shop".to_owned(), value: value(result("shop", i, Outcome::Success)) })
        .collect();
    let mut producer = kafka::producer(&config.kafka).unwrap();
    assert!(producer.produce(&records).iter().all(|delivery| matches!(delivery, Delivery::Delivered)));

    let config: postgres::Config = database.url.parse().unwrap();
    let postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else { panic!("a socket") };
    let server = format!("{host}:{}", config.get_ports()[0]);
    let proxy = Proxy::start(&server, Link::Pass);
    let through_proxy = toml.replace(&server, &proxy.address.to_string());
    assert_ne!(through_proxy, toml);
    Some(Stage { database, toml, proxy, through_proxy })
}

fn writer(toml: &str) -> Program {
    program(env!("CARGO_BIN_EXE_webmon-store"), toml, &["run"])
}

impl Stage {
    /// Starts a writer and freezes it in its first COPY, with the claim and the row locked.
    fn frozen_writer(&self) -> Program {
        self.proxy.hold_behind(COPY);
        let frozen = writer(&self.through_proxy);
        self.proxy.wait_until_held();
        frozen
    }

    fn rows(&self) -> i64 {
        self.database.number("SELECT count(*) FROM webmon.check_results")
    }

    fn assert_exact(&self) {
        let found = store::verify(&self.database.connector(), None, &mut |_, _| {}).unwrap();
        assert_eq!((found.results, found.results_expected), (RECORDS, RECORDS));
        let ledger = &found.partitions[0];
        assert_eq!((ledger.to_offset, ledger.records, ledger.duplicate), (Some(RECORDS), RECORDS, 0));
        assert_eq!(ledger.holes, []);
    }
}

#[test]
fn a_writer_suspended_inside_copy_is_replaced_and_commits_nothing_afterwards() {
    let Some(stage) = stage() else { return };
    let frozen = stage.frozen_writer();
    frozen.signal(Signal::STOP);
    assert_eq!(stage.rows(), 0);

    let other = writer(&stage.toml);
    wait_until("the other writer has stored everything", || stage.rows() == RECORDS);
    wait_until("it says that it ended the frozen one", || other.log().contains("does not answer"));

    // The frozen one goes on where it stopped: what it had to say is refused, and it comes back as any other writer.
    stage.proxy.set(Link::Pass);
    frozen.signal(Signal::CONT);
    wait_until("the frozen one has noticed", || frozen.log().contains("gave up every claim"));
    stage.assert_exact();
    other.signal(Signal::TERM);
    assert_eq!(other.finish().0, Some(0));
    let claimed = "SELECT count(*) FROM webmon.partition_offsets WHERE owner IS NOT NULL";
    wait_until("the frozen one takes over", || stage.database.number(claimed) == 1);
    frozen.signal(Signal::TERM);
    assert_eq!(frozen.finish().0, Some(0));
    stage.assert_exact();
}

#[test]
fn a_writer_cut_off_inside_copy_without_being_told_is_replaced() {
    let Some(stage) = stage() else { return };
    let lost = stage.frozen_writer();
    let other = writer(&stage.toml);
    wait_until("the other writer has stored everything", || stage.rows() == RECORDS);
    stage.proxy.set(Link::Pass);
    wait_until("the one cut off has noticed", || lost.log().contains("gave up every claim"));
    stage.assert_exact();
    for writer in [lost, other] {
        writer.signal(Signal::TERM);
        assert_eq!(writer.finish().0, Some(0));
    }
    stage.assert_exact();
}

/// The server has the COMMIT, the writer has no answer: the offset tells it that the batch is stored.
#[test]
fn a_commit_of_unknown_outcome_is_neither_lost_nor_repeated() {
    let Some(stage) = stage() else { return };
    let writer = stage.frozen_writer();
    stage.proxy.hold_behind(b"COMMIT\0");
    stage.proxy.set(Link::Pass);
    stage.proxy.wait_until_held();
    wait_until("the server has committed", || stage.rows() == RECORDS);
    stage.proxy.set(Link::Cut);
    stage.proxy.set(Link::Pass);
    wait_until("the writer has noticed", || writer.log().contains("gave up every claim"));
    let epoch = "SELECT max(epoch) FROM webmon.partition_offsets";
    wait_until("it has claimed the partition again", || stage.database.number(epoch) == 2);
    writer.signal(Signal::TERM);
    assert_eq!(writer.finish().0, Some(0));
    stage.assert_exact();
}

/// The other writer waits for rows of the frozen one, in the middle of a batch of its own.
#[test]
fn a_writer_that_waits_for_the_rows_of_a_frozen_one_ends_it() {
    let Some(database) = database() else { return };
    let log = support::log::Log::new(2);
    for i in 0..RECORDS {
        log.append(0, value(result("shop", i, Outcome::Success)));
    }
    let config = support::config("127.0.0.1:1", "log", &database.url, "");
    log.store(&config).unwrap();
    let rows = || database.number("SELECT count(*) FROM webmon.check_results");
    assert_eq!(rows(), RECORDS);

    // Partition 1 is the frozen one's, and so are, not committed, all rows that are stored again from partition 0.
    store::replay(&mut database.client(), "log", 0, 0).unwrap();
    let claim = "UPDATE webmon.partition_offsets SET owner = 'frozen', leased_at = now() - interval '2 s', \
                 lease_until = now() - interval '1 s' WHERE partition = 1";
    database.client().batch_execute(claim).unwrap();
    let mut frozen = database.client();
    frozen.batch_execute("SET application_name = 'webmon-store:frozen'").unwrap();
    let mut transaction = frozen.transaction().unwrap();
    transaction.batch_execute(claim).unwrap();
    assert_eq!(transaction.execute("DELETE FROM webmon.check_results", &[]).unwrap() as i64, RECORDS);

    log.store(&config).unwrap();
    assert!(transaction.commit().is_err(), "the frozen one could commit");
    assert_eq!(rows(), RECORDS);
    assert_eq!(
        database.number("SELECT next_offset FROM webmon.partition_offsets WHERE partition = 0"),
        RECORDS
    );
}
