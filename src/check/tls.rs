//! TLS: one client configuration for all checks, and a verifier that notes the certificate before judging it.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::error::SetupError;
use super::hop::{SeenCertificate, SharedHop};
use crate::record::TlsVersion;

/// The configuration and the verifier that all checks share.
pub(super) fn client_config(
    extra_roots: &[CertificateDer<'static>],
) -> Result<(ClientConfig, Arc<WebPkiServerVerifier>), SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for (index, root) in extra_roots.iter().enumerate() {
        roots.add(root.clone()).map_err(|source| SetupError::Root { index, source })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| SetupError::Tls(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.to_string()))?
        .with_webpki_verifier(Arc::clone(&verifier))
        .with_no_client_auth();
    // A resumed session shows no certificate and skips half of what we measure.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, verifier))
}

/// The shared configuration for one thread: its verifier notes certificates in the thread's hop.
pub(super) fn for_thread(
    shared: &ClientConfig,
    verifier: &Arc<WebPkiServerVerifier>,
    own_roots: &Arc<[CertificateDer<'static>]>,
    hop: &SharedHop,
) -> Arc<ClientConfig> {
    let mut config = shared.clone();
    let verifier =
        NotingVerifier { hop: hop.clone(), verifier: Arc::clone(verifier), own_roots: Arc::clone(own_roots) };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    Arc::new(config)
}

/// The record's word for a negotiated version.
pub(super) fn version(version: ProtocolVersion) -> Option<TlsVersion> {
    match version {
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
        _ => None,
    }
}

/// Notes the server's certificate, then leaves the verdict to webpki. rustls itself keeps only certificates that
/// passed.
#[derive(Debug)]
struct NotingVerifier {
    hop: SharedHop,
    verifier: Arc<WebPkiServerVerifier>,
    own_roots: Arc<[CertificateDer<'static>]>,
}

impl ServerCertVerifier for NotingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = seen(end_entity);
        self.hop.lock().certificate = Some(certificate);
        let verdict =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let at = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
        match verdict {
            // webpki refuses a CA as a server's certificate, but many self-made certificates are CAs. This very one is
            // trusted.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.own_roots.contains(end_entity)
                    && at.is_some_and(|at| certificate.is_valid_at(at)) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn seen(certificate: &CertificateDer<'_>) -> SeenCertificate {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => {
            let at = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
            let validity = parsed.validity();
            SeenCertificate {
                valid: at(validity.not_before).zip(at(validity.not_after)),
                self_signed: parsed.issuer() == parsed.subject(),
            }
        }
        Err(_) => SeenCertificate { valid: None, self_signed: false },
    }
}
