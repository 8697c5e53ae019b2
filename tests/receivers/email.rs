//! E-mails: what they say, that a server cannot hold webmon up, and that a real one takes them in the clear and over TLS.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use webmon::alerts::{Outcome, send};
use webmon::config::Receiver;

use crate::answers::{Handler, retried};
use crate::bodies::golden;
use crate::mail_server::mail_server;
use crate::messages::{hostile, limits, message, messages, notice, receiver};
use crate::program::Running;
use crate::sites::{Server, hold};
use crate::support::find;

const ADDRESSES: &str =
    "from = \"webmon <webmon@example.com>\"\nto = [\"ops@example.com\", \"Second Ops <ops2@example.com>\"]";

fn email(server: &str, more: &str) -> Receiver {
    receiver(&format!("type = \"email\"\nserver = \"{server}\"\n{ADDRESSES}\n{more}"))
}

fn plain(port: u16) -> Receiver {
    email(&format!("smtp://127.0.0.1:{port}"), "starttls = \"off\"")
}

fn queued() -> Outcome {
    Outcome::Delivered("250 2.0.0 queued as 1".to_owned())
}

#[test]
fn an_email_says_what_happened() {
    let (server, told) = mail_server(&[]);
    for (name, message) in messages() {
        assert_eq!(send(&plain(server.address.port()), &message, &limits()), queued());
        let mut told = told.take();
        assert!(told.remove(0).starts_with("EHLO "));
        golden(&format!("email-{name}.txt"), &(told.join("\n") + "\n"));
    }
}

#[test]
fn no_text_of_a_site_becomes_a_header_or_a_command() {
    let (server, told) = mail_server(&[]);
    send(&plain(server.address.port()), &message(vec![hostile()]), &limits());
    let mut told = told.take();
    let content = told.remove(5);
    let commands: Vec<&str> = told.iter().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    assert_eq!(commands, ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]);
    let (head, _) = content.split_once("\n\n").unwrap();
    let own = head.lines().filter(|line| !line.starts_with(' '));
    let mut names: Vec<&str> = own.map(|line| line.split_once(':').unwrap().0).collect();
    names.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
    ];
    assert!(names.iter().all(|name| expected.contains(name)), "{names:?}");
    assert!(content.is_ascii() && content.lines().all(|line| line.len() <= 998));
}

/// What is refused matters: addresses can be mended in the configuration, the content cannot.
#[test]
fn every_answer_of_a_mail_server_has_its_outcome() {
    let retry = |why: &str| Outcome::Retry { why: why.to_owned(), after: None };
    let but =
        |why: &str| Outcome::Delivered(format!("not for ops@example.com: {why}; 250 2.0.0 queued as 1"));
    let one = "RCPT TO:<ops@example.com>";
    for (to, answer, expected) in [
        ("", "554 no service", retry("the greeting failed: permanent error (554): no service")),
        ("", "421 later", retry("the greeting failed: transient error (421): later")),
        ("EHLO", "502 what", retry("the greeting failed: permanent error (502): what")),
        ("MAIL", "451 later", retry("transient error (451): later")),
        ("MAIL", "553 not you", retry("permanent error (553): not you")),
        (
            "RCPT",
            "550 nobody",
            retry(
                "no recipient is accepted: ops@example.com: permanent error (550): nobody; ops2@example.com: \
                 permanent error (550): nobody",
            ),
        ),
        (one, "550 nobody", but("permanent error (550): nobody")),
        (one, "450 later", but("transient error (450): later")),
        ("DATA", "451 later", retry("transient error (451): later")),
        ("DATA", "503 why", retry("permanent error (503): why")),
        (".", "452 full", retry("transient error (452): full")),
        (".", "554 spam", Outcome::Refused("permanent error (554): spam".to_owned())),
        ("QUIT", "500 what", queued()),
        // A server that has the letter may be slow to say good-bye.
        ("QUIT", "221-and", queued()),
    ] {
        let (server, _told) = mail_server(&[(to, answer)]);
        let outcome = send(&plain(server.address.port()), &message(vec![notice(1)]), &limits());
        assert_eq!(outcome, expected, "{to} {answer}");
    }
}

/// Says it for as long as somebody listens.
fn saying(what: &'static [u8], pause: Duration) -> Handler {
    Box::new(move |mut stream| {
        while stream.write_all(what).is_ok() {
            thread::sleep(pause);
        }
    })
}

#[test]
fn a_mail_server_that_misbehaves_costs_the_timeout_and_no_more() {
    let late = "no answer within 500ms";
    let cases: Vec<(&str, Handler)> = vec![
        (late, Box::new(|mut stream| hold(&mut stream))),
        (late, saying(b"2", Duration::from_millis(20))),
        ("sent more than 65536 bytes", saying(&[b'2'; 8_192], Duration::ZERO)),
        ("", saying(b"220-hello\r\n", Duration::ZERO)),
        ("the greeting failed", Box::new(drop)),
        ("the greeting failed", saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", Duration::ZERO)),
    ];
    for (n, (expected, case)) in cases.into_iter().enumerate() {
        let server = Server::start(case);
        let mut receiver = plain(server.address.port());
        receiver.timeout = Duration::from_millis(500);
        let started = Instant::now();
        let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
        assert!(started.elapsed() < Duration::from_millis(2_500), "{n}: {:?}", started.elapsed());
        let Outcome::Retry { why, .. } = &outcome else { panic!("{n}: {outcome:?}") };
        assert!(why.contains(expected), "{n}: {why}");
    }
}

#[test]
fn a_server_without_starttls_gets_no_message_that_must_be_encrypted() {
    let (server, told) = mail_server(&[]);
    for (starttls, is_sent) in [("required", false), ("opportunistic", true)] {
        let url = format!("smtp://127.0.0.1:{}", server.address.port());
        let receiver = email(&url, &format!("starttls = {starttls:?}"));
        let outcome = send(&receiver, &message(vec![notice(1)]), &limits());
        assert_eq!(outcome == queued(), is_sent, "{outcome:?}");
        assert_eq!(told.take().iter().any(|line| line.starts_with("MAIL")), is_sent);
    }
}

// ---- A real server: Debian's aiosmtpd.

const LOGIN: &str = "username = \"webmon\"\npassword = \"hunter2\"";

struct MailServer {
    running: Running,
    directory: tempfile::TempDir,
}

impl MailServer {
    /// `plain`, `starttls` or `tls`. Its certificate is for localhost.
    fn start(mode: &str) -> Option<MailServer> {
        find("aiosmtpd", "python3-aiosmtpd")?;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(path("ca.pem"), issuer.pem()).unwrap();
        std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        let port = webmon_dev::port::free(&[]).unwrap();
        // Debian's, which has the module, and not another one on the PATH.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receivers/mail_server.py"));
        command.args([mode, &port.to_string()]).args([directory.path(), &path("cert.pem"), &path("key.pem")]);
        Some(MailServer { running: Running::start(&mut command, port), directory })
    }

    fn receiver(&self, scheme: &str, host: &str, more: &str) -> Receiver {
        email(&format!("{scheme}://{host}:{}", self.running.port), more)
    }

    fn ca(&self) -> String {
        format!("ca = {:?}", self.directory.path().join("ca.pem"))
    }

    /// The messages that it has.
    fn messages(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")).collect()
    }
}

fn kept() -> Outcome {
    Outcome::Delivered("250 kept".to_owned())
}

#[test]
fn a_real_mail_server_takes_every_message() {
    let Some(server) = MailServer::start("plain") else { return };
    let receiver = server.receiver("smtp", "127.0.0.1", "starttls = \"off\"");
    for (name, message) in messages() {
        assert_eq!(send(&receiver, &message, &limits()), kept(), "{name}");
    }
    let stored = server.messages();
    assert_eq!(stored.len(), messages().len());
    for message in stored {
        let head = "TLS False USER None\nFROM webmon@example.com\nTO ops@example.com ops2@example.com\n";
        assert!(message.starts_with(head), "{message}");
        assert!(message.contains("Message-ID: <msg_webmon_17@example.com>\n"), "{message}");
    }
}

#[test]
fn a_real_mail_server_is_spoken_to_over_tls_and_must_be_trusted() {
    for (mode, scheme) in [("starttls", "smtp"), ("tls", "smtps")] {
        let Some(server) = MailServer::start(mode) else { return };
        let message = message(vec![notice(1)]);
        let trusting = format!("{}\n{LOGIN}", server.ca());
        let outcome = send(&server.receiver(scheme, "localhost", &trusting), &message, &limits());
        assert_eq!(outcome, kept(), "{mode}");
        assert!(server.messages()[0].starts_with("TLS True USER webmon\n"), "{:?}", server.messages());

        for (host, more, expected) in [
            // An authority that is not known; a name that is not in the certificate; a wrong password.
            ("localhost", LOGIN.to_owned(), "certificate verify failed"),
            ("127.0.0.1", trusting.clone(), "certificate verify failed"),
            ("localhost", trusting.replace("hunter2", "hunter3"), "the login failed: permanent error (535)"),
        ] {
            let outcome = send(&server.receiver(scheme, host, &more), &message, &limits());
            retried(&outcome, expected);
            assert!(!format!("{outcome:?}").contains("hunter"), "{mode}");
        }
        assert_eq!(server.messages().len(), 1);
    }
}

#[test]
fn starttls_is_used_where_it_is_offered() {
    let Some(server) = MailServer::start("starttls") else { return };
    let more = format!("starttls = \"opportunistic\"\n{}\n{LOGIN}", server.ca());
    let receiver = server.receiver("smtp", "localhost", &more);
    assert_eq!(send(&receiver, &message(vec![notice(1)]), &limits()), kept());
    assert!(server.messages()[0].starts_with("TLS True USER webmon\n"));
}
