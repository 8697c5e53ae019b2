//! An e-mail, by SMTP. The whole conversation has one time limit.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use native_tls::TlsConnector;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::addresses::addresses;
use super::letter::{Addressed, letter};
use super::limits::Limits;
use super::line::Line;
use super::outcome::Outcome;
use crate::alerts::notice::Message;
use crate::config::{Authorities, Email, Receiver, SmtpSecurity};
use crate::text::show_duration;

/// How long the server is given to say good-bye. It has the letter then.
const GOOD_BYE: Duration = Duration::from_secs(1);

pub(super) fn send(receiver: &Receiver, email: &Email, message: &Message, limits: &Limits) -> Outcome {
    let until = Instant::now() + receiver.timeout;
    let addressed = match letter(email, message) {
        Ok(addressed) => addressed,
        Err(why) => return Outcome::retry(why),
    };
    let found = match addresses(&email.host, email.port, &limits.deny_addresses, until) {
        Ok(found) => found,
        Err(why) => return Outcome::retry(why),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::retry(format!("no e-mail can be sent: {error}")),
    };
    let left = until.saturating_duration_since(Instant::now());
    let conversation = async {
        let delivered = timeout(left, deliver(email, receiver.ca.as_ref(), &found, &addressed, until)).await;
        match delivered {
            Ok((outcome, connection)) => {
                if let Some(mut connection) = connection {
                    let left = until.saturating_duration_since(Instant::now());
                    let _ = timeout(left.min(GOOD_BYE), connection.command(Quit)).await;
                }
                outcome
            }
            Err(_) => Outcome::retry(format!("no answer within {}", show_duration(receiver.timeout))),
        }
    };
    runtime.block_on(conversation)
}

/// Hands the letter over. The connection that is left must be ended.
async fn deliver(
    email: &Email,
    ca: Option<&Authorities>,
    found: &[SocketAddr],
    addressed: &Addressed,
    until: Instant,
) -> (Outcome, Option<AsyncSmtpConnection>) {
    let mut connection = match open(email, ca, found, until).await {
        Ok(connection) => connection,
        Err(why) => return (Outcome::retry(why), None),
    };
    let outcome = hand_over(&mut connection, addressed).await.unwrap_or_else(|outcome| outcome);
    (outcome, Some(connection))
}

/// A connection on which a letter may be sent: encrypted and logged in, as far as it is to be.
async fn open(
    email: &Email,
    ca: Option<&Authorities>,
    found: &[SocketAddr],
    until: Instant,
) -> Result<AsyncSmtpConnection, String> {
    let name = client_id();
    let stream = connect(found, until).await?;
    let stream: Box<dyn AsyncTokioStream> = match email.security {
        SmtpSecurity::Tls => Box::new(encrypted(email, ca, stream).await?),
        _ => Box::new(stream),
    };
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: Error| format!("{what}: {error}")
    };
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &name)
        .await
        .map_err(failed("the greeting failed"))?;
    let upgrades = match email.security {
        SmtpSecurity::StartTls if !connection.can_starttls() => {
            return Err("the server offers no STARTTLS".to_owned());
        }
        SmtpSecurity::StartTls => true,
        SmtpSecurity::Opportunistic => connection.can_starttls(),
        SmtpSecurity::Tls | SmtpSecurity::Off => false,
    };
    if upgrades {
        let parameters = parameters(email, ca).map_err(failed("TLS cannot be used"))?;
        connection.starttls(parameters, &name).await.map_err(failed("STARTTLS failed"))?;
    }
    if let Some((username, password)) = &email.credentials {
        let credentials = Credentials::new(username.clone(), password.reveal().to_owned());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        connection.auth(&mechanisms, &credentials).await.map_err(failed("the login failed"))?;
    }
    Ok(connection)
}

/// Tries the addresses one after another, each for an equal part of the time left.
async fn connect(found: &[SocketAddr], until: Instant) -> Result<Line<TcpStream>, String> {
    let mut problem = "the host has no address".to_owned();
    for (i, address) in found.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left / (found.len() - i) as u32, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(Line::new(stream, *address)),
            Ok(Err(error)) => problem = format!("the connection failed: {error}"),
            Err(_) => problem = "the server cannot be connected to in time".to_owned(),
        }
    }
    Err(problem)
}

async fn encrypted(
    email: &Email,
    ca: Option<&Authorities>,
    stream: Line<TcpStream>,
) -> Result<Line<tokio_native_tls::TlsStream<Line<TcpStream>>>, String> {
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    let mut builder = TlsConnector::builder();
    if let Some(ca) = ca {
        builder.disable_built_in_roots(true);
        for certificate in ca.certificates() {
            builder.add_root_certificate(certificate);
        }
    }
    let connector = builder.build().map_err(|error| format!("TLS cannot be used: {error}"))?;
    let connector = tokio_native_tls::TlsConnector::from(connector);
    let stream = connector.connect(&email.host, stream).await;
    Ok(Line::new(stream.map_err(|error| format!("TLS failed: {error}"))?, peer))
}

/// As for [`encrypted`], in the terms of lettre.
fn parameters(email: &Email, ca: Option<&Authorities>) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(email.host.clone());
    if let Some(ca) = ca {
        builder = builder.certificate_store(CertificateStore::None);
        for certificate in ca.certificates() {
            if let Ok(der) = certificate.to_der() {
                builder = builder.add_root_certificate(Certificate::from_der(der)?);
            }
        }
    }
    builder.build()
}

/// What the server is told of us. It is not verified by anybody, but must be a name or an address.
fn client_id() -> ClientId {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !name.is_empty() && name.len() < 256 && name.chars().all(is_plain) {
        ClientId::Domain(name)
    } else {
        ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
    }
}

/// The sender, the recipients and the content, one after another, because it matters what is refused:
///
/// - What is said against the sender or all recipients can be mended in the configuration, or passes. So it is tried
///   again, also after a 5xx such as "550 no such mailbox".
/// - If some recipients are refused, the others get it. To try again would tell them twice, or nobody.
/// - A 5xx against the content stays.
async fn hand_over(connection: &mut AsyncSmtpConnection, addressed: &Addressed) -> Result<Outcome, Outcome> {
    let retry = |error: Error| Outcome::retry(error.to_string());
    connection.command(Mail::new(Some(addressed.from.email.clone()), Vec::new())).await.map_err(retry)?;
    let mut refused = Vec::new();
    for mailbox in &addressed.to {
        match connection.command(Rcpt::new(mailbox.email.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.status().is_some() => refused.push(format!("{}: {error}", mailbox.email)),
            Err(error) => return Err(retry(error)),
        }
    }
    if refused.len() == addressed.to.len() {
        return Err(Outcome::retry(format!("no recipient is accepted: {}", refused.join("; "))));
    }
    connection.command(Data).await.map_err(retry)?;
    let answer = connection.message(&addressed.content).await.map_err(|error| {
        if error.is_permanent() { Outcome::Refused(error.to_string()) } else { retry(error) }
    })?;
    let said = answer.message().collect::<Vec<_>>().join(" ");
    let but = match refused.as_slice() {
        [] => String::new(),
        refused => format!("not for {}; ", refused.join("; ")),
    };
    Ok(Outcome::Delivered(format!("{but}{} {said}", answer.code())))
}
