//! TLS: one client configuration for all checks, and a verifier that notes the certificate before judging it.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::seen;
use super::error::SetupError;
use super::hop::SharedHop;
use crate::record::TlsVersion;
use crate::site::{Tls, Trust};

/// What all checks share.
pub(super) struct SharedTls {
    /// Whom those trust whose site trusts nobody else.
    trust: Arc<Trust>,
    config: ClientConfig,
    /// The same without TLS 1.2.
    config13: ClientConfig,
}

impl SharedTls {
    /// Trusts the public authorities and `extra_roots`.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<SharedTls, SetupError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (index, root) in extra_roots.iter().enumerate() {
            roots.add(root.clone()).map_err(|source| SetupError::Root { index, source })?;
        }
        let trust = Arc::new(Trust::new(roots, extra_roots.to_vec()).map_err(SetupError::Tls)?);
        let config = client_config(rustls::DEFAULT_VERSIONS, &trust)?;
        let config13 = client_config(&[&rustls::version::TLS13], &trust)?;
        Ok(SharedTls { trust, config, config13 })
    }

    /// The configuration for one thread: its verifier notes certificates in the thread's hop.
    pub(super) fn for_thread(&self, hop: &SharedHop) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        let verifier = NotingVerifier { hop: hop.clone(), trust: Arc::clone(&self.trust), verify: true };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }

    /// As [`SharedTls::for_thread`], with the settings of a site. What is costly of them is built already.
    pub(super) fn for_site(&self, tls: &Tls, hop: &SharedHop) -> Arc<ClientConfig> {
        let mut config = match tls.min_version {
            TlsVersion::Tls12 => self.config.clone(),
            TlsVersion::Tls13 => self.config13.clone(),
        };
        let trust = Arc::clone(tls.trust.as_ref().unwrap_or(&self.trust));
        let verifier = NotingVerifier { hop: hop.clone(), trust, verify: tls.verify };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        if let Some(client) = &tls.client {
            config.client_auth_cert_resolver = Arc::clone(client);
        }
        Arc::new(config)
    }
}

fn client_config(
    versions: &[&'static SupportedProtocolVersion],
    trust: &Trust,
) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| SetupError::Tls(error.to_string()))?
        .with_webpki_verifier(Arc::clone(&trust.verifier))
        .with_no_client_auth();
    // A resumed session shows no certificate and skips half of what we measure.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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
    trust: Arc<Trust>,
    /// Whether a certificate is verified at all.
    verify: bool,
}

impl NotingVerifier {
    /// The verdict on a signature. Without verification only one that is wrong counts, and not a certificate that
    /// webpki does not read, such as one of version 1.
    fn signed(
        &self,
        verdict: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match verdict {
            Err(rustls::Error::InvalidCertificate(error))
                if !self.verify && error != CertificateError::BadSignature =>
            {
                Ok(HandshakeSignatureValid::assertion())
            }
            verdict => verdict,
        }
    }
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
        let certificate = seen(end_entity, intermediates, &self.trust);
        self.hop.lock().certificate = Some(Arc::clone(&certificate));
        if !self.verify {
            return Ok(ServerCertVerified::assertion());
        }
        let verifier = &self.trust.verifier;
        let verdict = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let at = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
        match verdict {
            // webpki refuses a CA as a server's certificate, but many self-made certificates are CAs. This very one is
            // trusted.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.trust.own.contains(end_entity)
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
        self.signed(self.trust.verifier.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(self.trust.verifier.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.verifier.supported_verify_schemes()
    }
}
