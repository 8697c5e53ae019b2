//! Connections to PostgreSQL: the five values of libpq's `sslmode` that make sense, over native-tls. Every wait has a
//! limit.

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

/// How long a server may be silent while a caller waits for it, by default.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The same if something else depends on the caller: another writer, or the renewal of a lease.
pub(crate) const STEADY_PATIENCE: Duration = Duration::from_secs(30);

/// How to connect. It is parsed once and used for every connection.
///
/// Every wait for the server has a limit: if no byte moves in either direction for [`Connector::patience`], the call
/// fails, and the connection is of no more use. A connection that nobody waits on may rest for ever. Over a Unix socket
/// there is no such limit, because the server is on the same machine.
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
    /// [`DatabaseError::Config`] for a URL, a CA file or a client certificate that cannot be used.
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
            // Over a Unix socket the driver does not ask us for a stream.
            config.ssl_mode(match mode {
                SslMode::Disable => DriverMode::Disable,
                SslMode::Prefer => DriverMode::Prefer,
                _ => DriverMode::Require,
            });
        } else {
            // The driver leaves TLS to us, whatever the mode.
            config.ssl_mode(DriverMode::Require).ssl_negotiation(SslNegotiation::Direct);
        }
        if config.get_hosts().is_empty() {
            // Without a name it would not do so.
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
                .map_err(|error| invalid("key", &format!("does not match the certificate: {error}")))?;
            tls.identity(identity);
        }
        let tls = tls.build().map_err(|error| invalid("ca", &format!("cannot be used: {error}")))?;
        Ok(Connector { config, mode, tls, patience: PATIENCE, lines: Arc::default() }.named(application))
    }

    /// Sets the patience, by default [`PATIENCE`]. Make it longer for statements that take long without an answer, such
    /// as those of a migration. If it is too short, a slow server is taken for dead and the work is done again. If it
    /// is too long, a dead server is noticed late.
    pub fn patience(mut self, patience: Duration) -> Connector {
        self.patience = patience;
        self
    }

    /// The same with another application name.
    pub(crate) fn named(&self, application: &str) -> Connector {
        let mut connector = self.clone();
        // The server would cut a longer name to NAMEDATALEN, with a notice.
        connector.config.application_name(&crate::text::truncated(application, 63));
        connector
    }

    /// The same for a new group of connections: [`Connector::cut`] on one group does not end those of the other.
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

    /// A line to connect on, which [`Connector::cut`] can end.
    pub(crate) fn line(&self) -> Line {
        let line = Line::new();
        let mut lines = lock(&self.lines);
        lines.retain(|line| line.upgrade().is_some());
        lines.push(line.downgrade());
        line
    }

    /// As [`Connector::connect`], on a line whose limit the caller can set and whose end it can ask for.
    pub(crate) fn connect_on(&self, line: &Line) -> Result<Client, DatabaseError> {
        let client = self
            .config
            .connect(self.stream(line))
            .map_err(DatabaseError::statement("cannot connect to PostgreSQL"))?;
        line.begun(self.patience);
        Ok(client)
    }

    /// Cancels the statement that a connection runs, within 10 s for each address.
    pub(crate) fn cancel(&self, token: &CancelToken) -> Result<(), DatabaseError> {
        token
            .cancel_query(self.stream(&self.line()))
            .map_err(DatabaseError::statement("cannot cancel a statement"))
    }

    /// Ends all connections of this connector and its clones, whatever they wait for. Connections made later are not
    /// affected.
    pub(crate) fn cut(&self) {
        let lines = lock(&self.lines);
        lines.iter().filter_map(WeakLine::upgrade).for_each(|line| line.cut());
    }

    fn stream(&self, line: &Line) -> MakeStream {
        MakeStream { mode: self.mode, tls: self.tls.clone(), line: line.clone() }
    }
}

/// Removes `sslmode` from the URL, because the driver knows only the first three modes.
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
