//! What the certificates of a server say. Each chain is read once; later checks find it by its SHA-256.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use ring::digest::{Context, Digest, SHA256, SHA256_OUTPUT_LEN, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::limits::{MAX_NAME, MAX_SUBJECT_NAMES, MAX_TEXT};
use crate::mutex::lock;
use crate::record::Certificate;
use crate::site::Trust;
use crate::text::truncated;

/// The most certificates of a chain that are read.
const MAX_CHAIN: usize = 16;
/// About half of the chains that are kept, each about 1 kB.
const MAX_KEPT: usize = 4_096;

/// What a server's certificates say, verified or not.
#[derive(Debug)]
pub(super) struct Seen {
    /// When the server's own begins to be valid, and when it expires; `None` if it could not be read.
    pub(super) valid: Option<(Timestamp, Timestamp)>,
    /// Whether it names itself as its issuer.
    pub(super) self_signed: bool,
    pub(super) certificate: Certificate,
}

impl Seen {
    pub(super) fn is_valid_at(&self, at: Timestamp) -> bool {
        self.valid.is_some_and(|(from, to)| (from..=to).contains(&at))
    }
}

type Key = [u8; SHA256_OUTPUT_LEN];

/// The chains that were read, by their own SHA-256 and that of whom they lead up to. The old ones are dropped when the
/// young ones are as many.
struct Kept {
    young: BTreeMap<Key, Arc<Seen>>,
    old: BTreeMap<Key, Arc<Seen>>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { young: BTreeMap::new(), old: BTreeMap::new() });

impl Kept {
    fn get(&mut self, key: &Key) -> Option<Arc<Seen>> {
        if let Some(seen) = self.young.get(key) {
            return Some(Arc::clone(seen));
        }
        let seen = self.old.remove(key)?;
        self.keep(*key, Arc::clone(&seen));
        Some(seen)
    }

    fn keep(&mut self, key: Key, seen: Arc<Seen>) {
        if self.young.len() >= MAX_KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, seen);
    }
}

/// What `leaf` says, and the `others` that the server sent with it, to whoever trusts `trust`.
pub(super) fn seen(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], trust: &Trust) -> Arc<Seen> {
    let mut context = Context::new(&SHA256);
    context.update(&trust.id.to_ne_bytes());
    for certificate in [leaf].into_iter().chain(others) {
        context.update(&certificate.len().to_ne_bytes());
        context.update(certificate);
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    if let Some(seen) = lock(&KEPT).get(&key) {
        return seen;
    }
    let seen = Arc::new(read(leaf, others, trust));
    lock(&KEPT).keep(key, Arc::clone(&seen));
    seen
}

fn read(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], trust: &Trust) -> Seen {
    let sha256 = hexadecimal(digest(&SHA256, leaf));
    let mut chain = Vec::new();
    for certificate in [leaf].into_iter().chain(others).take(MAX_CHAIN) {
        match X509Certificate::from_der(certificate) {
            Ok((_, certificate)) => chain.push(certificate),
            // Without the first there is no chain.
            Err(_) if chain.is_empty() => break,
            Err(_) => {}
        }
    }
    let Some(leaf) = chain.first() else {
        let certificate =
            Certificate { sha256, issuer: String::new(), subject_names: Vec::new(), chain_not_after: None };
        return Seen { valid: None, self_signed: false, certificate };
    };
    let certificate = Certificate {
        sha256,
        issuer: truncated(&leaf.issuer().to_string(), MAX_TEXT),
        subject_names: names(leaf),
        chain_not_after: not_after(&chain, trust),
    };
    Seen {
        valid: at(leaf.validity().not_before).zip(at(leaf.validity().not_after)),
        self_signed: leaf.issuer() == leaf.subject(),
        certificate,
    }
}

/// When the first certificate of the way up from the first of `chain` to somebody trusted expires. The way is that of
/// the names of issuers. If there are several, it is the one that lasts longest, because one is enough for a client. If
/// none leads to anybody trusted, it is the first of all certificates that expires.
fn not_after(chain: &[X509Certificate<'_>], trust: &Trust) -> Option<Timestamp> {
    let expiry: Vec<Option<Timestamp>> =
        chain.iter().map(|certificate| at(certificate.validity().not_after)).collect();
    // Until when the best way from the first certificate to this one is valid, if there is a way.
    let mut until: Vec<Option<Timestamp>> = vec![None; chain.len()];
    until[0] = expiry[0];
    // The longest way has as many steps as there are certificates.
    for _ in chain {
        for (above, authority) in chain.iter().enumerate().skip(1) {
            let issued = chain
                .iter()
                .zip(&until)
                .filter(|(below, _)| below.issuer().as_raw() == authority.subject().as_raw())
                .filter_map(|(_, until)| *until)
                .max();
            let here = issued.zip(expiry[above]).map(|(below, own)| below.min(own));
            until[above] = until[above].max(here);
        }
    }
    let trusted = chain
        .iter()
        .zip(&until)
        .filter(|(last, _)| trust.has_authority(last.issuer().as_raw()))
        .filter_map(|(_, until)| *until)
        .max();
    trusted.or_else(|| expiry.iter().flatten().min().copied())
}

/// The names and addresses that the certificate is for; the name of its subject if there are none.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let named = alternative.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    let named: Vec<String> = named.take(MAX_SUBJECT_NAMES).map(|name| truncated(&name, MAX_NAME)).collect();
    if !named.is_empty() {
        return named;
    }
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    common.take(1).map(|name| truncated(name, MAX_NAME)).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn at(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

fn hexadecimal(digest: Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
