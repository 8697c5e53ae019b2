//! `tls` of a site: whom it trusts, and what it shows of itself.

#[cfg(feature = "check")]
use std::sync::Arc;

use super::built_tls::SiteTls;
use super::credentials::certificate_and_key;
use super::entry::Entry;
#[cfg(feature = "check")]
use super::role::Role;
use super::table::Table;
use crate::limits::MAX_TEXT;
use crate::record::TlsVersion;
use crate::site::Site;
#[cfg(feature = "check")]
use crate::site::Tls;

/// What a site has of it.
#[cfg(feature = "check")]
pub(super) type Built = Arc<Tls>;
/// Without checks nothing of it is of use.
#[cfg(not(feature = "check"))]
pub(super) type Built = ();

/// Reads it, and the files that it names unless the program makes no checks.
pub(super) fn site_tls(table: &Table) -> Option<Built> {
    let written = written(table)?;
    #[cfg(feature = "check")]
    if !matches!(table.context().role, Role::Store | Role::Page) {
        return match table.context().tls.of(&written) {
            Ok(tls) => Some(tls),
            Err(problems) => {
                for (key, problem) in problems {
                    if let Some(entry) = table.get(key) {
                        let _: Option<()> = entry.refuse(problem);
                    }
                }
                None
            }
        };
    }
    let _ = written;
    None
}

pub(super) fn apply(tls: Option<Built>, site: &mut Site) {
    #[cfg(feature = "check")]
    if tls.is_some() {
        site.tls = tls;
    }
    #[cfg(not(feature = "check"))]
    let _ = (tls, site);
}

fn written(table: &Table) -> Option<SiteTls> {
    let tls = SiteTls {
        ca: table.file("ca"),
        certificate: table.file("certificate"),
        key: table.file("key"),
        verify: table.bool("verify").unwrap_or(true),
        min_version: table
            .get("min_version")
            .and_then(|entry| min_version(&entry))
            .unwrap_or(TlsVersion::Tls12),
        server_name: table.text("server_name", 255),
    };
    certificate_and_key(table, tls.certificate.as_ref(), tls.key.as_ref());
    table.refuse_unknown();
    if let Some(entry) = table.get("ca").filter(|_| !tls.verify) {
        return entry.refuse("is of no use with verify = false: expected one of them");
    }
    // What belongs together is read together.
    (tls.certificate.is_some() == tls.key.is_some()).then_some(tls)
}

fn min_version(entry: &Entry) -> Option<TlsVersion> {
    match entry.text(MAX_TEXT)?.as_str() {
        "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        other => entry.refuse(format_args!("{other:?} is not supported: expected \"1.2\" or \"1.3\"")),
    }
}
