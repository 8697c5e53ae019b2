//! Connections to PostgreSQL: libpq's `sslmode`, all five that make sense, over native-tls.

use std::path::Path;
use std::time::Duration;

use native_tls::{Certificate, Identity, TlsConnector};
use postgres::config::SslMode as DriverMode;
use postgres::{CancelToken, Client};
use postgres_native_tls::MakeTlsConnector;

use super::StoreError;
use crate::config::Postgres;

/// What `sslmode` asks for (PostgreSQL manual, "libpq: SSL Support").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// How to connect: parsed once, used for every connection and reconnection.
#[derive(Clone)]
pub struct Connector {
    config: postgres::Config,
    tls: MakeTlsConnector,
}

impl Connector {
    /// Reads `[postgres]`; `application` is shown in `pg_stat_activity`.
    ///
    /// # Errors
    /// [`StoreError::Config`] for a URL or a CA file that cannot be used.
    pub fn new(postgres: &Postgres, application: &str) -> Result<Connector, StoreError> {
        let (url, mode) = split_ssl_mode(postgres.url.reveal())?;
        // The driver's own message could quote the URL, and with it a password.
        let mut config: postgres::Config = url.parse().map_err(|_| {
            invalid("url", "is not a PostgreSQL URL: expected \"postgres://user@host:5432/database\"")
        })?;
        config
            .ssl_mode(match mode {
                SslMode::Disable => DriverMode::Disable,
                SslMode::Prefer => DriverMode::Prefer,
                _ => DriverMode::Require,
            })
            .connect_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        if let Some(password) = &postgres.password
            && config.get_password().is_none()
        {
            config.password(password.reveal());
        }

        let mut tls = TlsConnector::builder();
        tls.danger_accept_invalid_certs(matches!(mode, SslMode::Prefer | SslMode::Require));
        tls.danger_accept_invalid_hostnames(mode != SslMode::VerifyFull);
        if let Some(path) = &postgres.ca {
            let pem = read("ca", path)?;
            let certificates = Certificate::stack_from_pem(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| invalid("ca", &format!("{} holds no PEM certificate", path.display())))?;
            tls.disable_built_in_roots(true);
            for certificate in certificates {
                tls.add_root_certificate(certificate);
            }
        }
        if let (Some(certificate), Some(key)) = (&postgres.certificate, &postgres.key) {
            let identity = Identity::from_pkcs8(&read("certificate", certificate)?, &read("key", key)?)
                .map_err(|error| invalid("key", &format!("does not fit the certificate: {error}")))?;
            tls.identity(identity);
        }
        let tls = tls.build().map_err(|error| invalid("ca", &format!("cannot be used: {error}")))?;
        Ok(Connector { config, tls: MakeTlsConnector::new(tls) }.named(application))
    }

    /// The same under another name.
    pub(crate) fn named(&self, application: &str) -> Connector {
        let mut connector = self.clone();
        // NAMEDATALEN: the server would cut it off, with a notice.
        connector.config.application_name(&crate::result::truncated(application, 63));
        connector
    }

    /// Opens a connection, within 10 s.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn connect(&self) -> Result<Client, StoreError> {
        self.config.connect(self.tls.clone()).map_err(StoreError::database("cannot connect to PostgreSQL"))
    }

    /// Cancels what a connection is at, within 10 s.
    pub(crate) fn cancel(&self, token: &CancelToken) -> Result<(), StoreError> {
        token.cancel_query(self.tls.clone()).map_err(StoreError::database("cannot cancel a statement"))
    }
}

/// Takes `sslmode` out of the URL: the driver knows only the first three.
fn split_ssl_mode(url: &str) -> Result<(String, SslMode), StoreError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid("url", "is not a PostgreSQL URL: expected it to start with \"postgres://\""));
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut mode = SslMode::Prefer;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => {
                mode = match value {
                    "disable" => SslMode::Disable,
                    "prefer" => SslMode::Prefer,
                    "require" => SslMode::Require,
                    "verify-ca" => SslMode::VerifyCa,
                    "verify-full" => SslMode::VerifyFull,
                    other => {
                        return Err(invalid(
                            "url",
                            &format!(
                                "has sslmode {other:?}: expected disable, prefer, require, verify-ca or verify-full"
                            ),
                        ));
                    }
                }
            }
            _ => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, mode))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(|error| invalid(key, &format!("{} cannot be read: {error}", path.display())))
}

fn invalid(key: &'static str, problem: &str) -> StoreError {
    StoreError::Config { key, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn connector(url: &str) -> Result<Connector, StoreError> {
        let postgres =
            Postgres { url: Secret::new(url), password: None, ca: None, certificate: None, key: None };
        Connector::new(&postgres, "test")
    }

    #[test]
    fn every_sslmode_of_libpq_but_allow_is_understood() {
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            let url =
                format!("postgres://webmon:secret@127.0.0.1:5432/webmon?connect_timeout=3&sslmode={mode}");
            let (url, _) = split_ssl_mode(&url).unwrap();
            assert_eq!(url, "postgres://webmon:secret@127.0.0.1:5432/webmon?connect_timeout=3");
            assert!(connector(&url).is_ok(), "{mode}");
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_being_quoted() {
        for url in [
            "postgres://webmon:secret@127.0.0.1/webmon?sslmode=allow",
            "mysql://webmon:secret@127.0.0.1/webmon",
            "postgres://webmon:secret@127.0.0.1:port/webmon",
        ] {
            let error = connector(url).err().expect(url).to_string();
            assert!(error.starts_with("postgres.url "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
