//! The certificates for tests over TLS, in `.dev/certs`; `dev/certificates --help` lists them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::lock::Lock;
use crate::project::Project;
use crate::{file, say};

const DAY: u64 = 86_400;
/// How long they last, and how much of it must be left for them to stay.
const VALID_DAYS: i64 = 365;
const SPARE_DAYS: u64 = 30;
/// What was made by another version of this file is made again.
const VERSION: &str = "2";
const LOCK: Duration = Duration::from_secs(300);

/// Makes all, unless they are there and good for another 30 days.
pub fn need(project: &Project) -> Result<()> {
    let directory = project.certificates();
    if are_good(&directory) {
        return Ok(());
    }
    // The services of several instances may want them at once.
    let _lock = Lock::take(&project.shared().join("certs.lock"), LOCK)?;
    if are_good(&directory) {
        return Ok(());
    }
    say!("making certificates in {}", directory.display());
    remove_unfinished(&project.shared())?;
    // Whole or not at all; closed to others.
    let new = tempfile::Builder::new()
        .prefix("certs.new.")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(project.shared())?;
    make_all(new.path())?;
    file::remove(&directory)?;
    fs::rename(new.keep(), &directory).with_context(|| format!("cannot make {}", directory.display()))
}

fn remove_unfinished(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("certs.new.") {
            file::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The file `version` holds the version, and the second of the Unix clock up to which all is valid.
fn are_good(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join("version")).unwrap_or_default();
    let until = text.strip_prefix(VERSION).and_then(|rest| rest.trim().parse::<u64>().ok());
    until.is_some_and(|until| until > seconds(SystemTime::now()) + SPARE_DAYS * DAY)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn make_all(directory: &Path) -> Result<()> {
    let issuer = make_authority(directory, "ca")?;
    make_authority(directory, "other-ca")?;
    let local = ["localhost", "127.0.0.1"];
    let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    for (name, purpose, subject, names, days) in [
        ("server", &server, "localhost", &local[..], -1..VALID_DAYS),
        ("server-expired", &server, "localhost", &local[..], -60..-30),
        ("server-wrong-name", &server, "wrong.example", &["wrong.example"][..], -1..VALID_DAYS),
        ("client", &client, "webmon", &[][..], -1..VALID_DAYS),
        ("client-expired", &client, "webmon", &[][..], -60..-30),
    ] {
        let mut params = params(subject, names, days.start, days.end)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        write_pair(directory, name, &key, &certificate)?;
        // As Kafka wants it.
        write(&directory.join(format!("{name}.keystore.pem")), &(key.serialize_pem() + &certificate))?;
    }
    let until = seconds(SystemTime::now()) + VALID_DAYS.unsigned_abs() * DAY;
    write(&directory.join("version"), &format!("{VERSION}\n{until}\n"))
}

fn make_authority(directory: &Path, name: &str) -> Result<Issuer<'static, KeyPair>> {
    let mut params = params(&format!("webmon test {name}"), &[], -1, VALID_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    write_pair(directory, name, &key, &params.self_signed(&key)?.pem())?;
    Ok(Issuer::new(params, key))
}

/// Keys are P-256, rcgen's default: all who read them here take it.
fn params(subject: &str, names: &[&str], from_day: i64, to_day: i64) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = in_days(from_day).into();
    params.not_after = in_days(to_day).into();
    Ok(params)
}

fn in_days(days: i64) -> SystemTime {
    let span = Duration::from_secs(days.unsigned_abs() * DAY);
    if days < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
}

fn write_pair(directory: &Path, name: &str, key: &KeyPair, certificate: &str) -> Result<()> {
    write(&directory.join(format!("{name}.key")), &key.serialize_pem())?;
    write(&directory.join(format!("{name}.pem")), certificate)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_stay_while_they_are_good() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        let authority = || fs::read_to_string(project.certificates().join("ca.pem")).unwrap();
        fs::create_dir_all(project.shared().join("certs.new.left")).unwrap();
        need(&project).unwrap();
        let first = authority();
        need(&project).unwrap();
        assert_eq!(authority(), first);
        assert!(!project.shared().join("certs.new.left").exists());

        for stale in [format!("{VERSION}\n{}\n", seconds(in_days(29))), "1\n".to_owned(), String::new()] {
            fs::write(project.certificates().join("version"), stale).unwrap();
            let before = authority();
            need(&project).unwrap();
            assert_ne!(authority(), before);
        }
        assert_eq!(fs::read_dir(project.certificates()).unwrap().count(), 7 * 2 + 5 + 1);
    }

    #[test]
    fn a_keystore_is_the_key_and_the_certificate() {
        let directory = tempfile::tempdir().unwrap();
        make_all(directory.path()).unwrap();
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("server.keystore.pem"), read("server.key") + &read("server.pem"));
        assert!(read("server.key").starts_with("-----BEGIN PRIVATE KEY-----"));
        let mode = fs::metadata(directory.path().join("server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
