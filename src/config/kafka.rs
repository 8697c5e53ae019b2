//! `[kafka]`: where the results go through.

use std::path::PathBuf;

use super::credentials::{certificate_and_key, password_file};
use super::role::Role;
use super::table::Table;
use crate::limits::MAX_TEXT;
use crate::secret::Secret;
use crate::text::quoted;

/// `[kafka]`: where the results go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port` of at least one broker. Further ones are used if it is down. Empty only if the role needs no Kafka.
    pub brokers: Vec<String>,
    /// The topic of the results. Default: `webmon.check-results.v1`.
    pub topic: String,
    /// The client library. Default: librdkafka.
    pub client: KafkaClient,
    /// The consumer group to which the writers commit the stored offsets, for other tools to read. None: no group.
    /// Default: `webmon-store`.
    pub group: Option<String>,
    /// `[kafka.tls]`. If it is there, TLS is on.
    pub tls: Option<KafkaTls>,
    /// `[kafka.sasl]`: user and password. They are sent over TLS if `tls` is there too.
    pub sasl: Option<Sasl>,
}

/// The client library that speaks to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaClient {
    /// librdkafka: any broker from 0.11 on, TLS and SASL.
    Librdkafka,
    /// kafka-rust: brokers up to 3.9, TLS, no SASL.
    KafkaRust,
}

/// `[kafka.tls]`: files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTls {
    /// The CA certificates to trust; by default the system's. At Aiven: `ca.pem`.
    pub ca: Option<PathBuf>,
    /// The client's certificate, if the broker asks for one. At Aiven: `service.cert`.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, not encrypted. At Aiven: `service.key`.
    pub key: Option<PathBuf>,
}

/// `[kafka.sasl]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// The password, from `password` or the first line of `password_file`.
    pub password: Secret,
}

impl Kafka {
    /// Settings that need only brokers: plain text, the default topic, client and group.
    pub fn new(brokers: Vec<String>) -> Kafka {
        Kafka {
            brokers,
            topic: "webmon.check-results.v1".to_owned(),
            client: if cfg!(feature = "librdkafka") {
                KafkaClient::Librdkafka
            } else {
                KafkaClient::KafkaRust
            },
            group: Some("webmon-store".to_owned()),
            tls: None,
            sasl: None,
        }
    }
}

pub(super) fn kafka(table: &Table, role: Role) -> Kafka {
    let brokers: Vec<String> = match table.list("brokers", 1, 32) {
        Some(items) => items.iter().filter_map(|item| item.parse(broker)).collect(),
        None => {
            if !table.raw().contains_key("brokers") && matches!(role, Role::Check | Role::Store) {
                table.missing("brokers", "an array such as [\"127.0.0.1:9092\"]");
            }
            Vec::new()
        }
    };
    let topic = table.get("topic").and_then(|entry| {
        let text = entry.text(249)?;
        // Kafka's own rule (org.apache.kafka.common.internals.Topic).
        let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !legal || text == "." || text == ".." {
            return entry.refuse(format_args!(
                "{} is not a topic: expected letters, digits, \".\", \"_\" or \"-\"",
                quoted(&text)
            ));
        }
        Some(text)
    });
    let client = table.get("client").and_then(|entry| match entry.text(MAX_TEXT)?.as_str() {
        "librdkafka" if cfg!(feature = "librdkafka") => Some(KafkaClient::Librdkafka),
        "kafka-rust" if cfg!(feature = "kafka-rust") => Some(KafkaClient::KafkaRust),
        name @ ("librdkafka" | "kafka-rust") => entry.refuse(format_args!(
            "{name:?} is not built in: expected the other client, or a build with this one"
        )),
        other => {
            entry.refuse(format_args!("{other:?} is unknown: expected \"librdkafka\" or \"kafka-rust\""))
        }
    });
    let default = Kafka::new(brokers);
    let client = client.unwrap_or(default.client);
    let group = match table.text("group", 249) {
        Some(group) => Some(group).filter(|group| group != "off"),
        None => default.group,
    };
    let tls = table.table("tls").map(|table| kafka_tls(&table));
    let sasl = table.table("sasl").and_then(|table| sasl(&table));
    if client == KafkaClient::KafkaRust
        && let Some(entry) = table.get("sasl")
    {
        entry.refuse::<()>("cannot be used with client \"kafka-rust\": expected client = \"librdkafka\"");
    }
    table.refuse_unknown();
    Kafka { brokers: default.brokers, topic: topic.unwrap_or(default.topic), client, group, tls, sasl }
}

fn kafka_tls(table: &Table) -> KafkaTls {
    let tls =
        KafkaTls { ca: table.file("ca"), certificate: table.file("certificate"), key: table.file("key") };
    certificate_and_key(table, tls.certificate.as_ref(), tls.key.as_ref());
    table.refuse_unknown();
    tls
}

fn sasl(table: &Table) -> Option<Sasl> {
    let mechanism = match table.get("mechanism") {
        None => {
            table.missing("mechanism", "\"SCRAM-SHA-256\", \"SCRAM-SHA-512\" or \"PLAIN\"");
            None
        }
        Some(entry) => entry.text(MAX_TEXT).and_then(|text| match text.as_str() {
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => Some(text),
            other => entry.refuse(format_args!(
                "{other:?} is unknown: expected \"SCRAM-SHA-256\", \"SCRAM-SHA-512\" or \"PLAIN\""
            )),
        }),
    };
    let username = match table.get("username") {
        None => {
            table.missing("username", "a text");
            None
        }
        Some(entry) => entry.text(MAX_TEXT),
    };
    let password = match (table.get("password"), password_file(table)) {
        (Some(entry), None) => entry.secret(),
        (None, Some(password)) => password,
        (Some(entry), Some(_)) => entry.refuse("is given as well as password_file: expected one of them"),
        (None, None) => {
            table.missing("password", "a text, or password_file");
            None
        }
    };
    table.refuse_unknown();
    Some(Sasl { mechanism: mechanism?, username: username?, password: password? })
}

fn broker(text: &str) -> Result<String, String> {
    let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', ' ', '@', ','])
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a broker: expected \"host:port\""))
    }
}
