//! TLS as one site wants it: whom it trusts, what it shows of itself, and what is recorded of the certificates it saw.

#![cfg(feature = "check")]

#[path = "support/checked.rs"]
mod checked;
#[path = "support/sites.rs"]
mod sites;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webmon::check::{Checker, Resolve, ResolveError, Settings};
use webmon::config::{Config, ConfigError, Role};
use webmon::record::{CheckResult, ErrorType, Expectation, TlsVersion};
use webmon::site::{Origin, Site};

use checked::{assert_error, assert_success, valid};
use sites::{Authority, Heard, Server, read_head, response};

/// Every name is this host.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

fn settings(roots: &[CertificateDer<'static>]) -> Settings {
    let mut settings = Settings::with_resolver(Arc::new(Loopback));
    settings.extra_roots = roots.to_vec();
    settings
}

/// A folder with files, and a configuration in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            std::fs::write(folder.path().join(name), contents).unwrap();
        }
        Folder(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, toml: &str, role: Role) -> Result<Config, ConfigError> {
        let path = self.path().join("config.toml");
        std::fs::write(
            &path,
            format!("kafka.brokers = [\"h:1\"]\npostgres.url = \"postgres://h/d\"\n{toml}"),
        )
        .unwrap();
        Config::load_with(&path, [], role)
    }

    /// A site as `[[site]]` with `more` makes it.
    fn site(&self, url: &str, more: &str) -> Site {
        let config = self.load(&one(url, more), Role::Check);
        Site::clone(&config.unwrap_or_else(|error| panic!("{error}")).sites[0])
    }

    /// The only fault of a site with this `tls`, without the folder's path.
    fn fault(&self, tls: &str) -> String {
        let error = self.load(&one("https://h/", &format!("tls = {{ {tls} }}")), Role::Check).unwrap_err();
        let ConfigError::Faults(faults) = &error else { panic!("{error}") };
        assert_eq!(faults.len(), 1, "{error}");
        let path = format!("{}/", self.path().display());
        faults[0].to_string().replace(&path, "").trim_start_matches("config.toml:7: ").to_owned()
    }
}

fn one(url: &str, more: &str) -> String {
    format!("[[site]]\nname = \"shop\"\nurl = {url:?}\nschedule = \"@hourly\"\n{more}\n")
}

fn check(settings: &Settings, site: &Site) -> CheckResult {
    valid(Checker::new(settings).unwrap().check_now(site, &Origin::new("here", "test")))
}

fn ok() -> Vec<u8> {
    response("200 OK", &[], b"fine")
}

fn year(year: i16) -> Timestamp {
    jiff::civil::date(year, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

fn url(host: &str, server: &Server) -> String {
    format!("https://{host}:{}/", server.address.port())
}

/// A server that answers with what `answer` makes of the session and the request's head.
fn serve(
    config: Arc<ServerConfig>,
    answer: impl Fn(&ServerConnection, &str) -> Vec<u8> + Send + Sync + 'static,
) -> Server {
    Server::start(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let head = read_head(&mut stream);
        if head.is_empty() {
            return;
        }
        let answer = answer(&stream.conn, &head);
        let _ = stream.write_all(&answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

/// A server's configuration, and what a test wants to be otherwise.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    clients: Option<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn params(name: &str, names: &[&str], to_year: i32, is_ca: bool) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(to_year, 1, 1));
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn root(name: &str, to_year: i32) -> Issuer {
    CertifiedIssuer::self_signed(params(name, &[], to_year, true), KeyPair::generate().unwrap()).unwrap()
}

/// An authority with this key that `above` vouches for.
fn below(above: &Issuer, name: &str, to_year: i32, key: &KeyPair) -> Issuer {
    let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    CertifiedIssuer::signed_by(params(name, &[], to_year, true), key, above).unwrap()
}

fn leaf(above: &Issuer, names: &[&str], to_year: i32) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params("a leaf", names, to_year, false).signed_by(&key, above).unwrap(), key)
}

fn https(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Server {
    Server::https(0, config(chain, key, None, rustls::DEFAULT_VERSIONS), ok()).unwrap()
}

// ---- Whom the site trusts.

#[test]
fn a_ca_of_the_sites_own_is_trusted_alone() {
    let (own, common) = (Authority::new("its own"), Authority::new("everybody's"));
    let server = |authority: &Authority| {
        Server::https(0, authority.server(&["shop.example"], 2020, 2040), ok()).unwrap()
    };
    let (of_own, of_common) = (server(&own), server(&common));
    let settings = settings(&[common.root()]);
    let folder = Folder::new(&[("own.pem", &own.pem())]);
    let with = |server: &Server, tls: &str| {
        let result = check(&settings, &folder.site(&url("shop.example", server), tls));
        assert_eq!(result.certificate.is_some(), result.cert_not_after.is_some());
        result
    };
    let own_ca = "tls = { ca = \"own.pem\" }";
    assert_success(&with(&of_own, own_ca));
    assert_error(&with(&of_common, own_ca), ErrorType::Tls, "unknown_issuer");
    for tls in ["", "tls = {}", "tls = { verify = true, min_version = \"1.2\" }"] {
        assert_success(&with(&of_common, tls));
        assert_error(&with(&of_own, tls), ErrorType::Tls, "unknown_issuer");
    }
    // A certificate may be trusted itself, although it calls itself an authority.
    let (config, certificate) = sites::self_signed_authority(&["shop.example"], 2040);
    let itself = Server::https(0, config, ok()).unwrap();
    assert_error(&with(&itself, own_ca), ErrorType::Tls, "self_signed");
    let mut site = folder.site(&url("shop.example", &itself), "");
    let options = webmon::site::TlsOptions { ca: Some(pem(&certificate).into()), ..Default::default() };
    site.tls = Some(Arc::new(webmon::site::Tls::new(&options).unwrap()));
    assert_success(&check(&settings, &site));
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn without_verification_any_certificate_serves_and_is_recorded() {
    let stranger = Authority::new("a stranger");
    let settings = settings(&[]);
    let folder = Folder::new(&[]);
    for config in [
        stranger.server(&["shop.example"], 2020, 2040),
        stranger.server(&["other.example"], 2020, 2021),
        sites::self_signed(&["shop.example"]),
    ] {
        let server = Server::https(0, config, ok()).unwrap();
        let site = folder.site(&url("shop.example", &server), "tls = { verify = false }");
        assert!(!site.tls.as_ref().unwrap().verifies());
        let result = check(&settings, &site);
        assert_success(&result);
        assert_eq!(result.certificate.unwrap().chain_not_after, result.cert_not_after);
    }
    // Where the site redirects, certificates are verified.
    let elsewhere = Server::https(0, stranger.server(&["shop.example"], 2020, 2040), ok()).unwrap();
    let location = format!("location: {}", url("shop.example", &elsewhere));
    let redirecting = serve(stranger.server(&["shop.example"], 2020, 2040), move |_, _| {
        response("302 Found", &[&location], b"")
    });
    let site = folder.site(&url("shop.example", &redirecting), "tls = { verify = false }");
    let result = check(&settings, &site);
    assert_error(&result, ErrorType::Tls, "unknown_issuer");
    assert_eq!(result.redirects, 1);
}

/// Old devices have certificates of version 1, which webpki does not read.
#[cfg(feature = "librdkafka")]
#[test]
fn without_verification_a_certificate_of_version_1_serves_but_not_a_wrong_signature() {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::x509::{X509, X509Name};

    #[derive(Debug)]
    struct Always(Arc<rustls::sign::CertifiedKey>);

    impl rustls::server::ResolvesServerCert for Always {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "an old device").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = CertificateDer::from(builder.build().to_der().unwrap());

    let serving = |certificate: &CertificateDer<'static>, key: &[u8]| {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key);
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
        Server::https(0, Arc::new(config), ok()).unwrap()
    };
    let folder = Folder::new(&[]);
    let result =
        |server: &Server, tls: &str| check(&settings(&[]), &folder.site(&url("shop.example", server), tls));
    let server = serving(&certificate, &key.private_key_to_pkcs8().unwrap());
    let recorded = result(&server, "tls = { verify = false }");
    assert_success(&recorded);
    let recorded = recorded.certificate.unwrap();
    assert_eq!(
        (recorded.issuer.as_str(), recorded.subject_names),
        ("CN=an old device", vec!["an old device".into()])
    );
    assert_eq!(result(&server, "").error_type, Some(ErrorType::Tls));

    // Who shows a certificate must have its key.
    let authority = root("an authority", 2040);
    let (shown, _) = leaf(&authority, &["shop.example"], 2040);
    let (_, other) = leaf(&authority, &["shop.example"], 2040);
    let server = serving(shown.der(), &other.serialize_der());
    assert_error(&result(&server, "tls = { verify = false }"), ErrorType::Tls, "invalid_certificate");
}

// ---- What the site is shown.

#[test]
fn a_client_certificate_is_shown_to_the_site_and_to_nobody_it_redirects_to() {
    let authority = root("an authority", 2040);
    let (certificate, key) = leaf(&authority, &["shop.example"], 2040);
    let clients = || {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Some(roots)
    };
    let chain = vec![certificate.der().clone()];
    let server_config = |key: &KeyPair| config(chain.clone(), key, clients(), rustls::DEFAULT_VERSIONS);
    let shown = Heard::default();
    let shows = shown.clone();
    let note = move |session: &ServerConnection| {
        let sent = session.peer_certificates().map_or(0, <[_]>::len);
        shows.push(format!("{sent} for {}", session.server_name().unwrap_or_default()));
    };
    let noting = note.clone();
    let elsewhere = serve(server_config(&key), move |session, _| {
        noting(session);
        ok()
    });
    let location = format!("location: {}", url("shop.example", &elsewhere));
    let server = serve(server_config(&key), move |session, head| {
        note(session);
        match head.starts_with("GET /away") {
            true => response("302 Found", &[&location], b""),
            false => ok(),
        }
    });

    // A chain of two certificates: that of the client, and that of its own authority.
    let above = below(&authority, "the client's authority", 2040, &KeyPair::generate().unwrap());
    let (client, client_key) = leaf(&above, &[], 2040);
    let chain_pem = format!("{}{}", client.pem(), above.pem());
    let folder = Folder::new(&[("client.pem", &chain_pem), ("client.key", &client_key.serialize_pem())]);
    let tls = "tls = { certificate = \"client.pem\", key = \"client.key\" }";
    let settings = settings(&[authority.der().clone()]);
    assert_success(&check(&settings, &folder.site(&url("shop.example", &server), "")));
    assert_success(&check(&settings, &folder.site(&url("shop.example", &server), tls)));
    let away = format!("{}away", url("shop.example", &server));
    assert_success(&check(&settings, &folder.site(&away, tls)));
    let expected = ["0 for shop.example", "2 for shop.example", "2 for shop.example", "0 for shop.example"];
    assert_eq!(shown.all(), expected);
}

#[cfg(feature = "librdkafka")]
#[test]
fn a_clients_key_may_be_pkcs8_pkcs1_or_sec1() {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;

    let authority = root("an authority", 2040);
    let rsa = Rsa::generate(2048).unwrap();
    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let pkcs8 = |key: PKey<_>| String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let (rsa8, ec8) =
        (pkcs8(PKey::from_rsa(rsa.clone()).unwrap()), pkcs8(PKey::from_ec_key(ec.clone()).unwrap()));
    let rsa1 = String::from_utf8(rsa.private_key_to_pem().unwrap()).unwrap();
    let sec1 = String::from_utf8(ec.private_key_to_pem().unwrap()).unwrap();
    for (kind, pkcs8, key) in [
        ("BEGIN PRIVATE", &rsa8, &rsa8),
        ("BEGIN RSA PRIVATE", &rsa8, &rsa1),
        ("BEGIN PRIVATE", &ec8, &ec8),
        ("BEGIN EC PRIVATE", &ec8, &sec1),
    ] {
        assert!(key.contains(kind), "{key}");
        let signing = KeyPair::from_pem(pkcs8).unwrap();
        let certificate = params("a client", &[], 2040, false).signed_by(&signing, &authority).unwrap();
        let folder = Folder::new(&[("c.pem", &certificate.pem()), ("c.key", key)]);
        folder.site("https://h/", "tls = { certificate = \"c.pem\", key = \"c.key\" }");
        // And each is compared with its certificate.
        let other =
            params("b", &[], 2040, false).signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        std::fs::write(folder.path().join("c.pem"), other.pem()).unwrap();
        assert_eq!(
            folder.fault("certificate = \"c.pem\", key = \"c.key\""),
            "site[0] \"shop\": tls.key \"c.key\" cannot be used: it is not the key of the certificate"
        );
    }
}

#[test]
fn the_oldest_version_is_the_sites_own() {
    let authority = root("an authority", 2040);
    let (certificate, key) = leaf(&authority, &["shop.example"], 2040);
    let old = config(vec![certificate.der().clone()], &key, None, &[&rustls::version::TLS12]);
    let old = Server::https(0, old, ok()).unwrap();
    let settings = settings(&[authority.der().clone()]);
    let folder = Folder::new(&[]);
    for tls in ["", "tls = { min_version = \"1.2\" }"] {
        let result = check(&settings, &folder.site(&url("shop.example", &old), tls));
        assert_success(&result);
        assert_eq!(result.tls_version, Some(TlsVersion::Tls12));
    }
    let newer = "tls = { min_version = \"1.3\" }";
    let result = check(&settings, &folder.site(&url("shop.example", &old), newer));
    assert_error(&result, ErrorType::Tls, "protocol_version");
    let both = https(vec![certificate.der().clone()], &key);
    let result = check(&settings, &folder.site(&url("shop.example", &both), newer));
    assert_success(&result);
    assert_eq!(result.tls_version, Some(TlsVersion::Tls13));
}

#[test]
fn the_name_asked_for_and_verified_may_be_another_than_the_hosts() {
    let authority = root("an authority", 2040);
    let (certificate, key) = leaf(&authority, &["inner.example"], 2040);
    let chain = vec![certificate.der().clone()];
    let heard = Heard::default();
    let hears = heard.clone();
    let elsewhere = https(chain.clone(), &key);
    let location = format!("location: {}", url("shop.example", &elsewhere));
    let server = serve(config(chain, &key, None, rustls::DEFAULT_VERSIONS), move |session, head| {
        let host = head.lines().find(|line| line.starts_with("host: ")).unwrap_or_default();
        hears.push(format!("{} {host}", session.server_name().unwrap_or_default()));
        match head.starts_with("GET /away") {
            true => response("302 Found", &[&location], b""),
            false => ok(),
        }
    });
    let settings = settings(&[authority.der().clone()]);
    let folder = Folder::new(&[]);
    let shop = url("shop.example", &server);
    let result = check(&settings, &folder.site(&shop, ""));
    assert_error(&result, ErrorType::Tls, "name_mismatch");
    let tls = "tls = { server_name = \"inner.example\" }";
    assert_success(&check(&settings, &folder.site(&shop, tls)));
    assert_eq!(heard.all(), [format!("inner.example host: shop.example:{}", server.address.port())]);
    // Elsewhere it is the name of the host again.
    let result = check(&settings, &folder.site(&format!("{shop}away"), tls));
    assert_error(&result, ErrorType::Tls, "name_mismatch");
    assert_eq!(result.redirects, 1);
}

// ---- What is recorded.

#[test]
fn the_record_names_the_certificate_and_when_its_chain_ends() {
    let top = root("a root", 2031);
    let middle = below(&top, "the middle", 2033, &KeyPair::generate().unwrap());
    let (certificate, key) = leaf(&middle, &["shop.example", "*.shop.example", "127.0.0.1", "::1"], 2040);
    let (ends_first, first_key) = leaf(&middle, &["shop.example"], 2032);
    let chain = |leaf: &Certificate, more: &[&Issuer]| {
        let more = more.iter().map(|issuer| issuer.der().clone());
        [leaf.der().clone()].into_iter().chain(more).collect::<Vec<_>>()
    };
    let trusting = settings(&[top.der().clone()]);
    let site = |server: &Server| Folder::new(&[]).site(&url("shop.example", server), "");

    let server = https(chain(&certificate, &[&middle]), &key);
    let result = check(&trusting, &site(&server));
    assert_success(&result);
    assert_eq!(result.cert_not_after, Some(year(2040)));
    let recorded = result.certificate.unwrap();
    let sha256: String = ring::digest::digest(&ring::digest::SHA256, certificate.der())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(recorded.sha256, sha256);
    assert_eq!(recorded.issuer, "CN=the middle");
    assert_eq!(recorded.subject_names, ["shop.example", "*.shop.example", "127.0.0.1", "::1"]);
    assert_eq!(recorded.chain_not_after, Some(year(2033)));

    // A root that is trusted is not part of the way up to it, although the server sends it.
    let server = https(chain(&certificate, &[&middle, &top]), &key);
    let result = check(&trusting, &site(&server));
    assert_eq!(result.certificate.unwrap().chain_not_after, Some(year(2033)));
    // The leaf may be the first.
    let server = https(chain(&ends_first, &[&middle]), &first_key);
    let result = check(&trusting, &site(&server));
    assert_eq!(result.certificate.unwrap().chain_not_after, Some(year(2032)));
    // Nobody is trusted: the first of all that were sent, of a certificate that failed too.
    let server = https(chain(&certificate, &[&middle, &top]), &key);
    let result = check(&settings(&[]), &site(&server));
    assert_error(&result, ErrorType::Tls, "unknown_issuer");
    let recorded = result.certificate.unwrap();
    assert_eq!((recorded.sha256, recorded.chain_not_after), (sha256, Some(year(2031))));
}

#[test]
fn of_several_ways_up_the_one_that_lasts_counts() {
    let (top, gone) = (root("a root", 2040), root("an older root", 2040));
    let key = KeyPair::generate().unwrap();
    let middle = below(&top, "the middle", 2035, &key);
    // The same authority, vouched for by another root with a certificate that is over.
    let crossed = below(&gone, "the middle", 2021, &key);
    let (certificate, leaf_key) = leaf(&middle, &["shop.example"], 2038);
    let settings = settings(&[top.der().clone(), gone.der().clone()]);
    for middles in [[&middle, &crossed], [&crossed, &middle]] {
        let chain = [certificate.der().clone()].into_iter().chain(middles.map(|issuer| issuer.der().clone()));
        let server = https(chain.collect(), &leaf_key);
        let result = check(&settings, &Folder::new(&[]).site(&url("shop.example", &server), ""));
        assert_success(&result);
        assert_eq!(result.certificate.unwrap().chain_not_after, Some(year(2035)));
    }
}

#[test]
fn the_recorded_certificate_is_that_of_the_last_hop() {
    let authority = Authority::new("an authority");
    let end = Server::https(0, authority.server(&["shop.example"], 2020, 2039), ok()).unwrap();
    let location = format!("location: {}", url("shop.example", &end));
    let start = serve(authority.server(&["shop.example"], 2020, 2040), move |_, _| {
        response("302 Found", &[&location], b"")
    });
    let folder = Folder::new(&[]);
    let result = check(&settings(&[authority.root()]), &folder.site(&url("shop.example", &start), ""));
    assert_success(&result);
    assert_eq!(result.certificate.unwrap().chain_not_after, Some(year(2039)));
    let plain = Server::answering(ok());
    assert_eq!(check(&settings(&[]), &folder.site(&plain.url("/"), "")).certificate, None);
}

#[test]
fn the_certificate_that_is_expected_to_last_is_the_first_of_the_chain_to_expire() {
    let top = root("a root", 2080);
    let (year, soon) = (365 * 86_400, jiff::Zoned::now().year() + 3);
    let middle = below(&top, "the middle", soon.into(), &KeyPair::generate().unwrap());
    let (certificate, key) = leaf(&middle, &["shop.example"], 2070);
    let server = https(vec![certificate.der().clone(), middle.der().clone()], &key);
    let mut site = Folder::new(&[]).site(&url("shop.example", &server), "");
    let settings = settings(&[top.der().clone()]);
    site.expect.certificate = Some(Duration::from_secs(year));
    assert_success(&check(&settings, &site));
    site.expect.certificate = Some(Duration::from_secs(5 * year));
    let result = check(&settings, &site);
    assert_eq!(result.failed_expectations, [Expectation::Certificate], "{result:?}");
}

#[test]
fn a_certificate_with_many_names_is_recorded_within_bounds() {
    let authority = root("r".repeat(300).as_str(), 2040);
    let names: Vec<String> = (0..100).map(|i| format!("n{i}.{}.example", "x".repeat(60))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["shop.example"]).collect();
    let (certificate, key) = leaf(&authority, &names, 2040);
    let server = https(vec![certificate.der().clone()], &key);
    let site = Folder::new(&[]).site(&url("shop.example", &server), "");
    let recorded = check(&settings(&[authority.der().clone()]), &site).certificate.unwrap();
    assert_eq!(recorded.subject_names.len(), webmon::limits::MAX_SUBJECT_NAMES);
    assert_eq!(recorded.issuer.len(), webmon::limits::MAX_TEXT);
}

// ---- The configuration.

#[test]
fn each_distinct_setting_is_built_once() {
    let authority = Authority::new("an authority");
    let folder = Folder::new(&[("a.pem", &authority.pem())]);
    let site = |name: &str, tls: &str| format!("[[site]]\nname = {name:?}\nurl = \"https://h/\"\n{tls}\n");
    let toml = [
        "[site_defaults]\nschedule = \"@hourly\"\ntls = { ca = \"a.pem\" }\n".to_owned(),
        site("one", ""),
        site("two", ""),
        site("three", "tls = { ca = \"a.pem\" }"),
        site("four", "tls = { ca = \"a.pem\", min_version = \"1.3\" }"),
    ];
    let config = folder.load(&toml.concat(), Role::Check).unwrap();
    let tls = |index: usize| config.sites[index].tls.as_ref().unwrap();
    assert!(Arc::ptr_eq(tls(0), tls(1)) && Arc::ptr_eq(tls(0), tls(2)));
    assert!(!Arc::ptr_eq(tls(0), tls(3)));
}

#[test]
fn files_that_do_not_serve_are_faults_that_name_key_and_file() {
    let authority = root("an authority", 2040);
    let (certificate, key) = leaf(&authority, &[], 2040);
    let (_, other) = leaf(&authority, &[], 2040);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_root = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let folder = Folder::new(&[
        ("c.pem", &certificate.pem()),
        ("c.key", &key.serialize_pem()),
        ("other.key", &other.serialize_pem()),
        ("encrypted.key", encrypted),
        ("damaged.key", damaged),
        ("no-root.pem", no_root),
        ("empty.pem", "nothing"),
        ("cut.pem", "-----BEGIN CERTIFICATE-----\nsecret"),
    ]);
    for (tls, fault) in [
        ("ca = \"absent.pem\"", "ca \"absent.pem\" cannot be read: No such file or directory (os error 2)"),
        ("ca = \"/dev/zero\"", "ca \"/dev/zero\" cannot be read: it is larger than 4194304 bytes"),
        ("ca = \"empty.pem\"", "ca \"empty.pem\" cannot be used: it holds no certificate in PEM"),
        ("ca = \"cut.pem\"", "ca \"cut.pem\" cannot be used: it is not PEM"),
        (
            "ca = \"no-root.pem\"",
            "ca \"no-root.pem\" cannot be used: certificate 0 in it is no root: invalid peer certificate: BadEncoding",
        ),
        (
            "certificate = \"empty.pem\", key = \"c.key\"",
            "certificate \"empty.pem\" cannot be used: it holds no certificate in PEM",
        ),
        (
            "certificate = \"no-root.pem\", key = \"c.key\"",
            "certificate \"no-root.pem\" cannot be used: invalid peer certificate: BadEncoding",
        ),
        (
            "certificate = \"c.pem\", key = \"encrypted.key\"",
            "key \"encrypted.key\" cannot be used: it holds no private key: expected one in PKCS #8, PKCS #1 or SEC1 that is not encrypted",
        ),
        (
            "certificate = \"c.pem\", key = \"damaged.key\"",
            "key \"damaged.key\" cannot be used: it is of no known kind, or damaged",
        ),
        (
            "certificate = \"c.pem\", key = \"other.key\"",
            "key \"other.key\" cannot be used: it is not the key of the certificate",
        ),
        ("server_name = \"no name\"", "server_name \"no name\" is not a name that a certificate can have"),
    ] {
        assert_eq!(folder.fault(tls), format!("site[0] \"shop\": tls.{fault}"));
    }
}

#[test]
fn every_site_whose_file_does_not_serve_is_named() {
    let folder = Folder::new(&[]);
    let sites = ["one", "two"].map(|name| {
        format!(
            "[[site]]\nname = {name:?}\nurl = \"https://h/\"\nschedule = \"@hourly\"\n\
             tls = {{ ca = \"absent.pem\", certificate = \"absent.pem\", key = \"absent.key\" }}\n"
        )
    });
    let error = folder.load(&sites.concat(), Role::Check).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 2 * 3, "{error}");
}

/// It may run where the checkers' files are not.
#[test]
fn the_store_needs_no_file_of_a_site() {
    let folder = Folder::new(&[]);
    let toml = one("https://h/", "tls = { ca = \"absent.pem\" }");
    assert!(folder.load(&toml, Role::Store).is_ok());
    assert!(folder.load(&toml.replace("ca =", "cb ="), Role::Store).is_err());
}

#[test]
fn what_a_variable_stands_for_is_told_by_no_fault_and_no_result() {
    let authority = Authority::new("an authority");
    let server = Server::https(0, authority.server(&["shop.example"], 2020, 2040), ok()).unwrap();
    let folder = Folder::new(&[]);
    let path = folder.path().join("config.toml");
    let load = |tls: &str, name: &str| {
        let toml = one(&url("shop.example", &server), &format!("tls = {{ {tls} }}"));
        std::fs::write(&path, format!("kafka.brokers = [\"h:1\"]\n{toml}")).unwrap();
        Config::load_with(&path, [("NAME".to_owned(), name.to_owned())], Role::Check)
    };
    let config = load("server_name = \"${NAME}\"", "s3cr3t.example").unwrap();
    let result = check(&settings(&[authority.root()]), &config.sites[0]);
    assert_error(&result, ErrorType::Tls, "name_mismatch");
    let shown = format!("{result:?} {:?}", config.sites[0]);
    assert!(shown.contains("(hidden)") && !shown.contains("s3cr3t"), "{shown}");

    // Of a pair of files the one that is not at fault is not told either.
    let authority = root("an authority", 2040);
    let (certificate, _) = leaf(&authority, &[], 2040);
    let (_, other_key) = leaf(&authority, &[], 2040);
    std::fs::write(folder.path().join("s3cr3t.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("c.key"), other_key.serialize_pem()).unwrap();
    let error = load("certificate = \"${NAME}\", key = \"c.key\"", "s3cr3t.pem").unwrap_err().to_string();
    assert!(error.contains("tls.key") && !error.contains("s3cr3t"), "{error}");
}

#[test]
fn a_clients_key_is_shown_nowhere() {
    let authority = root("an authority", 2040);
    let (certificate, key) = leaf(&authority, &[], 2040);
    let folder = Folder::new(&[("c.pem", &certificate.pem()), ("c.key", &key.serialize_pem())]);
    let site = folder.site("https://h/", "tls = { certificate = \"c.pem\", key = \"c.key\" }");
    let der = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let shown = format!("{site:?}");
    assert!(shown.contains("client: true"), "{shown}");
    let bytes: Vec<String> = der.secret_der()[30..40].iter().map(ToString::to_string).collect();
    assert!(!shown.contains(&bytes.join(", ")) && !shown.contains("PRIVATE"), "{shown}");
}

#[cfg(feature = "cli")]
#[test]
fn sites_that_nobody_verifies_are_said_by_validate_and_at_the_start() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let folder = Folder::new(&[]);
    let path = folder.path().join("config.toml");
    let with = |tls: &str| {
        let toml = one("https://127.0.0.1:1/", tls);
        // Nobody is there.
        std::fs::write(&path, format!("kafka.brokers = [\"127.0.0.1:1\"]\ncheck.threads = 1\n{toml}"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_webmon-check"));
        command.arg("--config").arg(&path).stderr(Stdio::piped()).stdout(Stdio::null());
        command
    };
    let warning = "tls.verify is false for \"shop\"";
    for (tls, warned) in [("tls = { verify = false }", true), ("tls = {}", false)] {
        let output = with(tls).arg("validate").output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap().contains(warning), warned);
        let output = with(tls).args(["validate", "--json"]).stdout(Stdio::piped()).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let warnings = told["warnings"].as_array().unwrap();
        let is_it = |told: &serde_json::Value| told.as_str().is_some_and(|told| told.starts_with(warning));
        assert_eq!(warnings.iter().any(is_it), warned, "{told}");
    }
    let mut child = with("tls = { verify = false }").arg("run").spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    // The warning comes before the first line that tells that Kafka is not there.
    for line in lines.map_while(Result::ok) {
        let done = line.contains("tls.verify is false for") || line.contains("kafka does not answer");
        seen.push(line);
        if done {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.iter().any(|line| line.contains("tls.verify is false for")), "{seen:#?}");
}
