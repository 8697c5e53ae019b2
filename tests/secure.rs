//! TLS and passwords on real listeners: what is right gets through, what is wrong gets one exact message and is
//! not tried again, and no secret shows.

mod support;

use std::time::{Duration, Instant};

use support::{Signal, config_toml, database, empty_database, program, result, unique, value, wait_until};
use webmon::config::{Config, Role};
use webmon::database::{Connector, DatabaseError};
use webmon::kafka::{self, Delivery, FetchLimits, KafkaError, NewTopic, Outgoing};
use webmon::record::Outcome;

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");
const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");

/// What the two clients are tried on: their name, and the prefix of their broker's variables.
const CLIENTS: [(&str, &str); 2] =
    [("librdkafka", "WEBMON_TEST_KAFKA"), ("kafka-rust", "WEBMON_TEST_KAFKA39")];

fn tls(certificates: &str, ca: &str, client: Option<&str>) -> String {
    let own = client.map_or(String::new(), |client| {
        format!("certificate = \"{certificates}/{client}.pem\"\nkey = \"{certificates}/{client}.key\"\n")
    });
    format!("[kafka.tls]\nca = \"{certificates}/{ca}.pem\"\n{own}")
}

fn kafka_config(brokers: &str, topic: &str, client: &str, more: &str) -> Config {
    let toml = format!("[kafka]\nbrokers = [{brokers:?}]\ntopic = {topic:?}\nclient = {client:?}\n{more}");
    let path = std::env::temp_dir();
    let file = path.join(unique("config") + ".toml");
    std::fs::write(
        &file,
        toml + "\n[[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nschedule = \"@hourly\"\n",
    )
    .unwrap();
    let config = Config::load_with(&file, [], Role::Check).unwrap();
    std::fs::remove_file(&file).unwrap();
    config
}

/// Produces through `config` and fetches the same record back.
fn assert_round_trip(config: &Config) {
    let records: Vec<Outgoing> = (0..200)
        .map(|n| Outgoing {
            key: format!("site-{n}"),
            value: value(result(&format!("site-{n}"), n, Outcome::Success)),
        })
        .collect();
    for delivery in kafka::producer(&config.kafka).unwrap().produce(&records) {
        assert!(matches!(delivery, Delivery::Delivered), "{delivery:?}");
    }
    let mut consumer = kafka::consumer(&config.kafka).unwrap();
    assert_eq!(consumer.partitions().unwrap(), 1);
    consumer.assign(&[(0, 0)]).unwrap();
    let mut fetched = Vec::new();
    let limits =
        FetchLimits { records: 1_000, bytes: 1 << 20, wait: Duration::from_secs(1), linger: Duration::ZERO };
    wait_until("all records are back", || {
        consumer.fetch(limits, &mut |record| fetched.push(record.value.unwrap().to_vec())).unwrap();
        fetched.len() >= records.len()
    });
    let sent: Vec<Vec<u8>> = records.into_iter().map(|record| record.value).collect();
    assert_eq!(fetched, sent);
}

fn plain_topic(plain_brokers: &str) -> String {
    let topic = unique("secure");
    let config = kafka_config(plain_brokers, &topic, "librdkafka", "");
    let new = NewTopic { partitions: 1, replication: 1, retention: Duration::from_secs(86_400) };
    kafka::create_topic(&config.kafka, &new).unwrap();
    topic
}

#[test]
fn each_client_gets_through_with_a_client_certificate() {
    let Some(certificates) = support::service("WEBMON_TEST_CERTS") else { return };
    for (client, prefix) in CLIENTS {
        let (Some(plain), Some(ssl)) = (support::service(prefix), support::service(&format!("{prefix}_SSL")))
        else {
            return;
        };
        let topic = plain_topic(&plain);
        assert_round_trip(&kafka_config(&ssl, &topic, client, &tls(&certificates, "ca", Some("client"))));
    }
}

#[test]
fn librdkafka_gets_through_with_both_scram_mechanisms() {
    let (Some(certificates), Some(plain), Some(brokers), Some(user), Some(password)) = (
        support::service("WEBMON_TEST_CERTS"),
        support::kafka(),
        support::service("WEBMON_TEST_KAFKA_SASL_SSL"),
        support::service("WEBMON_TEST_SASL_USERNAME"),
        support::service("WEBMON_TEST_SASL_PASSWORD"),
    ) else {
        return;
    };
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let sasl = format!(
            "[kafka.sasl]\nmechanism = {mechanism:?}\nusername = {user:?}\npassword = {password:?}\n"
        );
        let topic = plain_topic(&plain);
        assert_round_trip(&kafka_config(
            &brokers,
            &topic,
            "librdkafka",
            &(tls(&certificates, "ca", None) + &sasl),
        ));
    }
}

/// The error of the first contact, which both directions must give, within seconds.
fn distrust(config: &Config) -> String {
    let begun = Instant::now();
    let mut details = Vec::new();
    for error in [
        kafka::producer(&config.kafka).unwrap().partitions().unwrap_err(),
        kafka::consumer(&config.kafka).unwrap().partitions().unwrap_err(),
    ] {
        match error {
            KafkaError::Security { brokers, detail } => {
                assert_eq!(brokers, config.kafka.brokers[0]);
                details.push(detail);
            }
            other => panic!("not distrust: {other}"),
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
    details.remove(0)
}

#[test]
fn each_client_says_exactly_why_there_is_no_trust() {
    let Some(certificates) = support::service("WEBMON_TEST_CERTS") else { return };
    for (client, prefix) in CLIENTS {
        let listener = |suffix: &str| support::service(&format!("{prefix}{suffix}"));
        let (Some(ssl), Some(wrong_name), Some(expired)) =
            (listener("_SSL"), listener("_SSL_WRONG_NAME"), listener("_SSL_EXPIRED"))
        else {
            return;
        };
        for (what, brokers, ca, own, words) in [
            (
                "a wrong CA",
                &ssl,
                "other-ca",
                Some("client"),
                &[
                    "certificate verify failed",
                    "unable to get local issuer",
                    "self-signed certificate",
                    "self signed",
                ][..],
            ),
            ("a wrong host name", &wrong_name, "ca", None, &["mismatch", "verify failed"]),
            ("an expired server", &expired, "ca", None, &["expired", "verify failed"]),
            ("an expired client", &ssl, "ca", Some("client-expired"), &["expired", "alert", "unknown"]),
        ] {
            let config = kafka_config(brokers, "any", client, &tls(&certificates, ca, own));
            let detail = distrust(&config);
            assert!(words.iter().any(|word| detail.contains(word)), "{client}, {what}: {detail}");
        }
    }
}

#[test]
fn a_wrong_sasl_password_is_one_error_without_the_password() {
    let (Some(certificates), Some(brokers)) =
        (support::service("WEBMON_TEST_CERTS"), support::service("WEBMON_TEST_KAFKA_SASL_SSL"))
    else {
        return;
    };
    let sasl = "[kafka.sasl]\nmechanism = \"SCRAM-SHA-512\"\nusername = \"webmon\"\npassword = \"not-the-password\"\n";
    let config = kafka_config(&brokers, "any", "librdkafka", &(tls(&certificates, "ca", None) + sasl));
    let detail = distrust(&config);
    assert!(detail.to_lowercase().contains("authentication"), "{detail}");
    assert!(!format!("{config:?} {detail}").contains("not-the-password"));
}

#[test]
fn the_programs_end_at_once_when_kafka_does_not_trust_them() {
    let (Some(certificates), Some(brokers), Some(database)) =
        (support::service("WEBMON_TEST_CERTS"), support::service("WEBMON_TEST_KAFKA_SASL_SSL"), database())
    else {
        return;
    };
    let more = format!(
        "{}[kafka.sasl]\nmechanism = \"SCRAM-SHA-256\"\nusername = \"webmon\"\npassword = \"not-the-password\"\n\
         [[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nschedule = \"@hourly\"\n",
        tls(&certificates, "ca", None)
    );
    let toml = config_toml(&brokers, "any", &database.url, &more);
    for binary in [STORE, CHECK] {
        let (code, _, log) = program(binary, &toml, &["--log-level", "debug", "run"]).finish();
        assert_eq!(code, Some(1), "{log}");
        let last = log.lines().last().unwrap();
        assert!(last.contains(&format!("{brokers} and webmon do not trust each other: ")), "{log}");
        assert!(!log.contains("not-the-password"), "{log}");
    }
}

#[test]
fn kafka_rust_on_a_broker_from_4_0_on_names_the_client_to_choose() {
    let Some(brokers) = support::kafka() else { return };
    let config = kafka_config(&brokers, "any", "kafka-rust", "");
    let error = kafka::producer(&config.kafka).unwrap().partitions().unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "broker {brokers} is too new for kafka.client \"kafka-rust\" (brokers up to 3.9): set it to \"librdkafka\""
        )
    );
}

/// Connects to the database of the tests' own server with `postgres` settings.
fn connect(url: &str, more: &str) -> Result<postgres::Client, DatabaseError> {
    let toml = format!("kafka.brokers = [\"127.0.0.1:1\"]\n[postgres]\nurl = {url:?}\n{more}");
    let config = Config::from_toml(&toml, Role::Store).unwrap();
    Connector::new(&config.postgres, "test")?.connect()
}

#[test]
fn every_sslmode_does_what_it_says() {
    let (Some(certificates), Some(url)) =
        (support::service("WEBMON_TEST_CERTS"), support::service("WEBMON_TEST_PG_TLS_URL"))
    else {
        return;
    };
    let ca = format!("ca = \"{certificates}/ca.pem\"");
    let other_ca = format!("ca = \"{certificates}/other-ca.pem\"");
    let encrypted = |mode: &str, more: &str| {
        let mut client = connect(&format!("{url}?sslmode={mode}"), more)?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok::<bool, DatabaseError>(client.query_one(sql, &[]).unwrap().get(0))
    };
    assert!(encrypted("require", "").unwrap());
    assert!(encrypted("prefer", "").unwrap());
    assert!(encrypted("verify-ca", &ca).unwrap());
    assert!(encrypted("verify-full", &ca).unwrap());
    // The server takes this user over TLS only.
    let refused = encrypted("disable", "").unwrap_err().to_string();
    assert!(refused.contains("no encryption"), "{refused}");
    for mode in ["verify-ca", "verify-full"] {
        let refused = encrypted(mode, &other_ca).unwrap_err().to_string();
        assert!(refused.contains("certificate verify failed"), "{refused}");
    }
    let other_name = url.replace("@127.0.0.1:", "@wrong.invalid:") + "?hostaddr=127.0.0.1";
    connect(&format!("{other_name}&sslmode=verify-ca"), &ca).unwrap();
    let refused = connect(&format!("{other_name}&sslmode=verify-full"), &ca).err().unwrap().to_string();
    assert!(
        refused.contains("ostname mismatch") || refused.contains("certificate verify failed"),
        "{refused}"
    );
    let wrong_password = url.replacen("webmon_tls:", "webmon_tls:wrong", 1);
    let refused = connect(&format!("{wrong_password}?sslmode=require"), "").err().unwrap().to_string();
    assert!(
        refused.starts_with("cannot connect to PostgreSQL: password authentication failed for user"),
        "{refused}"
    );
    assert!(!refused.contains("wrong"), "{refused}");
}

#[test]
fn a_client_certificate_logs_in_without_a_password() {
    let (Some(certificates), Some(url)) =
        (support::service("WEBMON_TEST_CERTS"), support::service("WEBMON_TEST_PG_CERT_URL"))
    else {
        return;
    };
    let own = |name: &str| {
        format!("certificate = \"{certificates}/{name}.pem\"\nkey = \"{certificates}/{name}.key\"\n")
    };
    let trusted = format!("ca = \"{certificates}/ca.pem\"\n");
    connect(&format!("{url}?sslmode=verify-full"), &(trusted.clone() + &own("client"))).unwrap();
    assert!(connect(&format!("{url}?sslmode=verify-full"), &(trusted + &own("client-expired"))).is_err());
}

#[test]
fn a_wrong_database_password_ends_the_store_at_once() {
    let (Some(brokers), Some(url), Some(_)) =
        (support::kafka(), support::service("WEBMON_TEST_PG_TLS_URL"), empty_database())
    else {
        return;
    };
    let url = url.replacen("webmon_tls:", "webmon_tls:wrong-", 1) + "?sslmode=require";
    let begun = Instant::now();
    let (code, _, log) = program(STORE, &config_toml(&brokers, "any", &url, ""), &["run"]).finish();
    assert_eq!(code, Some(1), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(log.matches("password authentication failed").count(), 1, "{log}");
    assert!(!log.contains("wrong-"), "{log}");
}

#[test]
fn a_database_that_is_not_trusted_ends_the_store_at_once() {
    let (Some(certificates), Some(brokers), Some(url)) =
        (support::service("WEBMON_TEST_CERTS"), support::kafka(), support::service("WEBMON_TEST_PG_TLS_URL"))
    else {
        return;
    };
    let other_ca = format!("postgres.ca = \"{certificates}/other-ca.pem\"");
    let toml = config_toml(&brokers, "any", &(url + "?sslmode=verify-full"), &other_ca);
    let (code, _, log) = program(STORE, &toml, &["run"]).finish();
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(log.matches("cannot connect to PostgreSQL").count(), 1, "{log}");
    assert!(log.contains("certificate verify failed"), "{log}");
}

#[test]
fn a_password_file_serves_as_well_as_a_password() {
    let Some(url) = support::service("WEBMON_TEST_PG_TLS_URL") else { return };
    let (user, rest) = url.split_once('@').unwrap();
    let (user, password) = user.rsplit_once(':').unwrap();
    let file = std::env::temp_dir().join(unique("password"));
    std::fs::write(&file, format!("{password}\nanything else\n")).unwrap();
    let more = format!("password_file = {:?}\n", file.display().to_string());
    let connected = connect(&format!("{user}@{rest}?sslmode=require"), &more);
    std::fs::remove_file(&file).unwrap();
    connected.unwrap();
}

/// The pipeline with each client on each side, on the broker that both can speak to.
#[test]
fn every_pair_of_clients_makes_a_pipeline() {
    let Some(brokers) = support::service("WEBMON_TEST_KAFKA39") else { return };
    for (checking, storing) in [
        ("librdkafka", "librdkafka"),
        ("librdkafka", "kafka-rust"),
        ("kafka-rust", "librdkafka"),
        ("kafka-rust", "kafka-rust"),
    ] {
        let Some(database) = database() else { return };
        let topic = plain_topic(&brokers);
        let site = "[[site]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nschedule = \"* * * * * *\"\ntimeout = \"500ms\"\n";
        let toml = |client: &str| {
            config_toml(&brokers, &topic, &database.url, &format!("kafka.client = {client:?}\n{site}"))
        };
        let store = program(STORE, &toml(storing), &["run"]);
        let check = program(CHECK, &toml(checking), &["run"]);
        wait_until(&format!("{checking} to {storing}: results are stored"), || {
            database.number("SELECT count(*) FROM webmon.checks WHERE outcome = 'failure'") >= 3
        });
        check.signal(Signal::TERM);
        assert_eq!(check.finish().0, Some(0));
        store.signal(Signal::TERM);
        assert_eq!(store.finish().0, Some(0));
    }
}
