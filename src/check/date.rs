//! Asks a site what time it is, if its certificate has expired or is not valid yet: the checker's own clock may be
//! wrong.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::Seen;
use super::dial::dial;
use super::fault::Fault;
use super::hop::remaining;
use super::wire::Socket;

/// How long asking may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes read of the answer.
const MAX_ANSWER: u64 = 16 * 1024;
/// Clocks that differ by at most this much agree.
const AGREE: Duration = Duration::from_secs(60);

/// A site that has a clock, and how it is reached.
pub(super) struct Clock {
    pub(super) address: SocketAddr,
    /// The address of this host to connect from.
    pub(super) source: Option<IpAddr>,
    pub(super) name: ServerName<'static>,
}

/// Adds it to `fault` if that is about the validity of `certificate` in time, and the certificate is valid by the
/// site's clock. Nobody can tell here which of the two clocks is wrong.
pub(super) fn ask_whose_clock_is_wrong(
    fault: &mut Fault,
    certificate: &Seen,
    site: Clock,
    deadline: Instant,
) {
    let detail = match fault.detail {
        "certificate_expired" => "certificate_expired_clocks_differ",
        "certificate_not_yet_valid" => "certificate_not_yet_valid_clocks_differ",
        _ => return,
    };
    let Some(date) = ask(site, deadline.min(Instant::now() + PATIENCE)) else { return };
    let now = Timestamp::now();
    if certificate.is_valid_at(date) && now.duration_since(date).unsigned_abs() > AGREE {
        fault.detail = detail;
        fault.message += &format!(
            "; it is valid by the site's own clock, which says {date}, while the checker's says {now:.0}: one is wrong"
        );
    }
}

/// Returns the `Date` of an answer of the site, over a connection that trusts any certificate. Nothing of the check is
/// sent there, and only a time is taken from it.
fn ask(site: Clock, deadline: Instant) -> Option<Timestamp> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let request = format!("HEAD / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", site.name.to_str());
    let stream = dial(&site.address, site.source, remaining(deadline)?).ok()?;
    let session = ClientConnection::new(Arc::new(config), site.name).ok()?;
    let mut stream = StreamOwned::new(session, Socket { stream, deadline });
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // What came before the connection broke is enough.
    let _ = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    date_in(&String::from_utf8_lossy(&answer))
}

fn date_in(answer: &str) -> Option<Timestamp> {
    let head = answer.lines().take_while(|line| !line.is_empty());
    let date =
        head.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("date"))?;
    rfc2822::DateTimeParser::new().parse_timestamp(date.1.trim()).ok()
}

/// Accepts every certificate, but only from a server that has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_read_from_the_head_alone() {
        let at = "2021-03-01T12:00:00Z".parse().unwrap();
        let date = "Mon, 01 Mar 2021 12:00:00 GMT";
        assert_eq!(date_in(&format!("HTTP/1.1 200 OK\r\nDATE: {date}\r\n\r\n")), Some(at));
        assert_eq!(date_in(&format!("HTTP/1.1 200 OK\r\nserver: x\r\n\r\ndate: {date}\r\n")), None);
        assert_eq!(date_in("HTTP/1.1 200 OK\r\ndate: yesterday\r\n\r\n"), None);
    }
}
