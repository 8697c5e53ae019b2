//! Connections to PostgreSQL: libpq's `sslmode`, all five that make sense, over native-tls; and an end to every wait.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use native_tls::{Certificate, Identity, TlsConnector};
use postgres::config::{Host, SslMode as DriverMode, SslNegotiation};
use postgres::{CancelToken, Client};

use super::error::DatabaseError;
use super::stream::{CONNECT, Line, MakeStream, SslMode, WeakLine};
use crate::config::Postgres;
use crate::mutex::lock;

/// How long a server may be silent while somebody waits for it, unless told.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The same where whoever waits has somebody else waiting: for another writer, for the renewal of a lease.
pub(crate) const STEADY_PATIENCE: Duration = Duration::from_secs(30);

/// How to connect: parsed once, used for every connection and reconnection.
///
/// No wait for the server is without an end: a call on a connection fails when for [`Connector::patience`] no byte has
/// moved in either direction, and the connection with it. A connection that nobody waits on may rest for ever. Over a
/// Unix socket there is no such end: the server is on the same machine.
#[derive(Clone)]
pub struct Connector {
    config: postgres::Config,
    mode: SslMode,
    tls: TlsConnector,
    patience: Duration,
    lines: Arc<Mutex<Vec<WeakLine>>>,
}

impl Connector {
    /// Reads `[postgres]`; `application` is shown in `pg_stat_activity`.
    ///
    /// # Errors
    /// [`DatabaseError::Config`] for a URL or a CA file that cannot be used.
    pub fn new(postgres: &Postgres, application: &str) -> Result<Connector, DatabaseError> {
        let (url, mode) = split_ssl_mode(postgres.url.reveal())?;
        // The driver's own message could quote the URL, and with it a password.
        let mut config: postgres::Config = url.parse().map_err(|_| {
            invalid("url", "is not a PostgreSQL URL: expected \"postgres://user@host:5432/database\"")
        })?;
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            return Err(invalid("url", "has sslnegotiation=direct: expected it to be left out"));
        }
        if config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
            // There the driver asks for no stream of ours.
            config.ssl_mode(match mode {
                SslMode::Disable => DriverMode::Disable,
                SslMode::Prefer => DriverMode::Prefer,
                _ => DriverMode::Require,
            });
        } else {
            // It leaves all of it to us, whatever the mode.
            config.ssl_mode(DriverMode::Require).ssl_negotiation(SslNegotiation::Direct);
        }
        if config.get_hosts().is_empty() {
            // Without a name it would not.
            for address in config.get_hostaddrs().to_vec() {
                config.host(&address.to_string());
            }
        }
        config
            .connect_timeout(CONNECT)
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
        Ok(Connector { config, mode, tls, patience: PATIENCE, lines: Arc::default() }.named(application))
    }

    /// The same with another patience: [`PATIENCE`] unless told, and longer for statements that take long without a
    /// word, such as those of a migration. Too short, and what is slow is taken for dead and begun anew; too long, and
    /// what is dead is noticed late.
    pub fn patience(mut self, patience: Duration) -> Connector {
        self.patience = patience;
        self
    }

    /// The same under another name.
    pub(crate) fn named(&self, application: &str) -> Connector {
        let mut connector = self.clone();
        // NAMEDATALEN: the server would cut it off, with a notice.
        connector.config.application_name(&crate::text::truncated(application, 63));
        connector
    }

    /// The same, with connections that [`Connector::cut`] does not know of those that were there before.
    pub(crate) fn apart(&self) -> Connector {
        Connector { lines: Arc::default(), ..self.clone() }
    }

    /// Opens a connection, within 10 s for each address that the host has.
    ///
    /// # Errors
    /// [`DatabaseError::Statement`].
    pub fn connect(&self) -> Result<Client, DatabaseError> {
        self.connect_on(&self.line())
    }

    /// A line to be connected, known to [`Connector::cut`].
    pub(crate) fn line(&self) -> Line {
        let line = Line::new();
        let mut lines = lock(&self.lines);
        lines.retain(|line| line.upgrade().is_some());
        lines.push(line.downgrade());
        line
    }

    /// As [`Connector::connect`], on a line that its user can set and ask.
    pub(crate) fn connect_on(&self, line: &Line) -> Result<Client, DatabaseError> {
        let client = self
            .config
            .connect(self.stream(line))
            .map_err(DatabaseError::statement("cannot connect to PostgreSQL"))?;
        line.begun(self.patience);
        Ok(client)
    }

    /// Cancels what a connection is at, within 10 s for each address.
    pub(crate) fn cancel(&self, token: &CancelToken) -> Result<(), DatabaseError> {
        token
            .cancel_query(self.stream(&self.line()))
            .map_err(DatabaseError::statement("cannot cancel a statement"))
    }

    /// Ends all connections of this connector and its clones, whatever they wait for. Those made later are not hit.
    pub(crate) fn cut(&self) {
        let lines = lock(&self.lines);
        lines.iter().filter_map(WeakLine::upgrade).for_each(|line| line.cut());
    }

    fn stream(&self, line: &Line) -> MakeStream {
        MakeStream { mode: self.mode, tls: self.tls.clone(), line: line.clone() }
    }
}

/// Takes `sslmode` out of the URL: the driver knows only the first three.
fn split_ssl_mode(url: &str) -> Result<(String, SslMode), DatabaseError> {
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

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, DatabaseError> {
    std::fs::read(path).map_err(|error| invalid(key, &format!("{} cannot be read: {error}", path.display())))
}

fn invalid(key: &'static str, problem: &str) -> DatabaseError {
    DatabaseError::Config { key, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn connector(url: &str) -> Result<Connector, DatabaseError> {
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
