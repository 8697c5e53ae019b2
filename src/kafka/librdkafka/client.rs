//! The settings of every client.

use std::time::Duration;

use rdkafka::config::ClientConfig;

use crate::config::Kafka;

/// How long the brokers may take to report metadata or offsets: half of the default lease of a claim.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a record may take to be acknowledged before it is returned for another try.
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn client(config: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", "webmon")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        // A missing topic is an error to report, not one to create.
        .set("allow.auto.create.topics", "false");
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (setting, file) in files {
            if let Some(file) = file {
                client.set(setting, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &config.sasl {
        client
            .set("sasl.mechanism", &sasl.mechanism)
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.reveal());
    }
    client
}
