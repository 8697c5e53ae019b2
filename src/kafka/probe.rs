//! A connection of our own to a broker, to find out what the clients do not report: whether both sides trust each
//! other, and which versions of the protocol the broker speaks.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::ssl::{HandshakeError, SslConnector, SslFiletype, SslMethod};
use openssl::x509::X509VerifyResult;

use super::error::KafkaError;
use crate::config::Kafka;

/// The client's name in requests.
pub(super) const CLIENT: &str = "webmon";
/// How long a broker may take to accept a connection, and then for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a broker says of itself: the oldest versions of two requests that it still answers.
#[cfg_attr(not(feature = "kafka-rust"), allow(dead_code, reason = "librdkafka asks about trust only"))]
pub(super) struct Answer {
    pub broker: String,
    pub oldest_fetch: i16,
    pub oldest_offsets: i16,
}

/// How to speak TLS to the brokers, if there is a `[kafka.tls]`.
pub(super) fn tls_connector(config: &Kafka) -> Result<Option<SslConnector>, KafkaError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let build = || -> Result<SslConnector, openssl::error::ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        if let Some(ca) = &tls.ca {
            builder.set_ca_file(ca)?;
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            builder.set_certificate_chain_file(certificate)?;
            builder.set_private_key_file(key, SslFiletype::PEM)?;
            builder.check_private_key()?;
        }
        Ok(builder.build())
    };
    build().map(Some).map_err(|error| KafkaError::Config(format!("kafka.tls cannot be used: {error}")))
}

/// Asks the brokers in turn, until one answers or the two sides do not trust each other.
///
/// # Errors
/// [`KafkaError::Security`] from the first broker that can be reached but is not trusted or does not trust us;
/// [`KafkaError::Unreachable`] if none can be reached.
pub(super) fn ask_any(config: &Kafka) -> Result<Answer, KafkaError> {
    let connector = tls_connector(config)?;
    let mut detail = String::new();
    for broker in &config.brokers {
        match ask(broker, connector.as_ref()) {
            Ok(answer) => return Ok(answer),
            Err(Refusal::Tls(detail)) => {
                return Err(KafkaError::Security { brokers: broker.clone(), detail });
            }
            Err(Refusal::Io(error)) => detail = error.to_string(),
        }
    }
    Err(KafkaError::Unreachable { brokers: config.brokers.join(","), detail })
}

enum Refusal {
    Io(Error),
    Tls(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Io(error)
    }
}

fn ask(broker: &str, connector: Option<&SslConnector>) -> Result<Answer, Refusal> {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let address = broker.to_socket_addrs()?.next().ok_or_else(|| Error::from(ErrorKind::AddrNotAvailable))?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let Some(connector) = connector else { return Ok(ask_versions(broker, stream)?) };
    match connector.connect(host, stream) {
        // With TLS 1.3 a refused client certificate shows only when the first answer is read.
        Ok(stream) => ask_versions(broker, stream).map_err(|error| match error.kind() {
            ErrorKind::Other => Refusal::Tls(error.to_string()),
            _ => Refusal::Io(error),
        }),
        Err(HandshakeError::Failure(failed)) => {
            let verified = failed.ssl().verify_result();
            match failed.error().io_error() {
                Some(error) => Err(Refusal::Io(Error::new(error.kind(), error.to_string()))),
                None if verified != X509VerifyResult::OK => {
                    Err(Refusal::Tls(verified.error_string().to_owned()))
                }
                None => Err(Refusal::Tls(failed.error().to_string())),
            }
        }
        Err(error) => Err(Refusal::Tls(error.to_string())),
    }
}

/// Sends `ApiVersions` version 0, which every broker answers (protocol guide; KIP-35, KIP-896).
fn ask_versions(broker: &str, mut stream: impl Read + Write) -> Result<Answer, Error> {
    const FETCH: i16 = 1;
    const LIST_OFFSETS: i16 = 2;
    const API_VERSIONS: i16 = 18;
    /// An answer has some 80 entries of 6 bytes. A peer that announces much more is no broker.
    const LONGEST: usize = 64 * 1024;

    let mut request = Vec::new();
    request.extend(API_VERSIONS.to_be_bytes());
    request.extend(0_i16.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend((CLIENT.len() as i16).to_be_bytes());
    request.extend(CLIENT.as_bytes());
    let mut framed = (request.len() as i32).to_be_bytes().to_vec();
    framed.extend(request);
    stream.write_all(&framed)?;

    let no_broker = || Error::new(ErrorKind::InvalidData, "the peer does not speak Kafka's protocol");
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length =
        usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| (10..=LONGEST).contains(length));
    let mut answer = vec![0; length.ok_or_else(no_broker)?];
    stream.read_exact(&mut answer)?;
    // Correlation id, error code and the number of entries come first.
    let mut told = Answer { broker: broker.to_owned(), oldest_fetch: i16::MAX, oldest_offsets: i16::MAX };
    for entry in answer[10..].chunks_exact(6) {
        let minimum = i16::from_be_bytes([entry[2], entry[3]]);
        match i16::from_be_bytes([entry[0], entry[1]]) {
            FETCH => told.oldest_fetch = minimum,
            LIST_OFFSETS => told.oldest_offsets = minimum,
            _ => {}
        }
    }
    if told.oldest_fetch == i16::MAX { Err(no_broker()) } else { Ok(told) }
}
