//! What distinguishes two rows of `site_certificates`.

use jiff::Timestamp;
use postgres::types::{Json, ToSql};
use postgres::{Statement, Transaction};

use super::columns::Instant;
use super::per_site::{ENTRY_BYTES, OfSite};
use crate::record::{Certificate, CheckResult};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteCertificate {
    certificate: Certificate,
    not_after: Option<Timestamp>,
}

impl SiteCertificate {
    pub(super) fn of(result: &CheckResult) -> Option<SiteCertificate> {
        let certificate = result.certificate.clone()?;
        Some(SiteCertificate { certificate, not_after: result.cert_not_after })
    }

    pub(super) fn is_of(&self, result: &CheckResult) -> bool {
        result.certificate.as_ref() == Some(&self.certificate) && result.cert_not_after == self.not_after
    }
}

impl OfSite for SiteCertificate {
    const DOING: &'static str = "cannot store the certificates of sites";
    const LOOK_UP: &'static str = include_str!("../../../sql/queries/ingest/look_up_site_certificates.sql");
    const INSERT: &'static str = include_str!("../../../sql/queries/ingest/insert_site_certificates.sql");

    fn bytes(&self) -> usize {
        let names = self.certificate.subject_names.iter().map(|name| ENTRY_BYTES + name.len()).sum::<usize>();
        ENTRY_BYTES + self.certificate.sha256.len() + self.certificate.issuer.len() + names
    }

    fn query(
        rows: &[&(i32, SiteCertificate)],
        transaction: &mut Transaction<'_>,
        statement: &Statement,
    ) -> Result<Vec<postgres::Row>, postgres::Error> {
        let site_ids: Vec<i32> = rows.iter().map(|(site, _)| *site).collect();
        let certificates = || rows.iter().map(|(_, row)| &row.certificate);
        let sha256: Vec<&str> = certificates().map(|certificate| certificate.sha256.as_str()).collect();
        let issuers: Vec<&str> = certificates().map(|certificate| certificate.issuer.as_str()).collect();
        let names: Vec<Json<&[String]>> =
            certificates().map(|certificate| Json(certificate.subject_names.as_slice())).collect();
        let not_after: Vec<Option<Instant>> =
            rows.iter().map(|(_, row)| row.not_after.map(Instant)).collect();
        let chain: Vec<Option<Instant>> =
            certificates().map(|certificate| certificate.chain_not_after.map(Instant)).collect();
        let parameters: [&(dyn ToSql + Sync); 6] = [&site_ids, &sha256, &issuers, &names, &not_after, &chain];
        transaction.query(statement, &parameters)
    }
}
