//! Good and bad sites on loopback to try webmon on, and the configuration that checks them.
//!
//! ```text
//! demo_sites --config-out webmon.toml --ca-out ca.pem [--port-base 18080]
//! ```
//!
//! Prints `ready` when the sites answer and both files are written. Runs until SIGTERM or SIGINT, or until its standard
//! input, if that is a pipe, is closed. Without `--port-base` it uses any free ports. It listens only on 127.0.0.1.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[path = "../tests/support/sites.rs"]
mod sites;

use sites::{Authority, Server, hold, read_head, response, self_signed};

/// Serves demo sites on 127.0.0.1.
#[derive(Parser)]
struct Args {
    /// Where to write the configuration that checks the sites
    #[arg(long, value_name = "FILE")]
    config_out: PathBuf,
    /// Where to write the certificate authority of the HTTPS sites, in PEM
    #[arg(long, value_name = "FILE")]
    ca_out: PathBuf,
    /// The first of 6 ports to listen on; 0 for any that are free
    #[arg(long, default_value_t = 0)]
    port_base: u16,
}

const PAGE: &[u8] =
    b"<!doctype html><title>Demo</title><p>The trusted open source data platform for everyone.\n";
const OTHER_PAGE: &[u8] =
    b"<!doctype html><title>Demo</title><p>Please come back after our maintenance window.\n";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // This comes before anything is announced, so that no signal has its default effect.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot handle signals")?;
    let demo = Demo::start(&args)?;
    let config = demo.config(&std::path::absolute(&args.ca_out)?);
    write(&args.ca_out, &demo.authority.pem())?;
    write(&args.config_out, &config)?;
    println!("ready");
    io::stdout().flush()?;
    end_with_stdin();
    signals.forever().next();
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {path:?}"))
}

/// Raises SIGTERM when standard input, if it is a pipe, is closed: then the other end is gone.
fn end_with_stdin() {
    let pipe = std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.file_type().is_fifo());
    if pipe {
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = signal_hook::low_level::raise(SIGTERM);
        });
    }
}

struct Demo {
    http: Server,
    mute: Server,
    secure: Server,
    expired: Server,
    self_signed: Server,
    /// A port that is bound, so that nobody else listens on it, but that nobody listens on.
    refusing: sites::ClosedPort,
    authority: Authority,
}

impl Demo {
    fn start(args: &Args) -> anyhow::Result<Demo> {
        let port = |index: u16| if args.port_base == 0 { 0 } else { args.port_base.saturating_add(index) };
        let authority = Authority::new("webmon demo authority");
        let https = |index: u16, config| Server::https(port(index), config, response("200 OK", &[], PAGE));
        let listen = "cannot listen on 127.0.0.1";
        Ok(Demo {
            http: Server::on(port(0), serve).context(listen)?,
            mute: Server::on(port(1), |mut stream| hold(&mut stream)).context(listen)?,
            secure: https(2, authority.server(&["127.0.0.1", "localhost"], 2020, 2040)).context(listen)?,
            expired: https(3, authority.server(&["127.0.0.1"], 2020, 2021)).context(listen)?,
            self_signed: https(4, self_signed(&["127.0.0.1"])).context(listen)?,
            refusing: sites::ClosedPort::on(port(5)).context(listen)?,
            authority,
        })
    }

    fn config(&self, ca: &Path) -> String {
        let http = |path: &str| self.http.url(path);
        let https = |server: &Server| format!("https://{}/", server.address);
        let platform = "expect = { body = 'data.*platform' }";
        let mut config = format!(
            "# Written by the demo_sites example.\n\n\
             [check]\nlocation = \"demo\"\nca = {}\n\n\
             [site_defaults]\nschedule = \"*/2 * * * * *\"\ntimeout = \"1s\"\n",
            toml_text(&ca.to_string_lossy()),
        );
        for (name, url, more) in [
            ("healthy", http("/"), platform),
            ("healthy-https", https(&self.secure), platform),
            ("slow", http("/slow"), "expect = { max_time = \"900ms\" }"),
            ("flaky", http("/flaky"), ""),
            ("failing", http("/failing"), ""),
            ("coming-and-going", http("/coming-and-going"), ""),
            ("wrong-page", http("/wrong-page"), platform),
            ("redirecting", http("/redirecting"), platform),
            ("timing-out", self.mute.url("/"), ""),
            ("refusing", format!("http://{}/", self.refusing.address), ""),
            ("expired-certificate", https(&self.expired), ""),
            ("self-signed-certificate", https(&self.self_signed), ""),
            ("no-dns-name", "http://no-such-name.invalid/".to_owned(), ""),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(config, "\n[[site]]\nname = \"{name}\"\nurl = \"{url}\"\n");
            if !more.is_empty() {
                let _ = writeln!(config, "{more}");
            }
        }
        // A chat on this machine: it prints what it is told.
        let _ = write!(
            config,
            "\n[[receiver]]\nname = \"demo-chat\"\ntype = \"slack\"\nurl = \"{}\"\n\n\
             [[route]]\nreceiver = \"demo-chat\"\ngroup_wait = \"2s\"\nrepeat = \"10m\"\n",
            http("/chat"),
        );
        config
    }
}

/// `text` as a TOML string.
fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Prints the message that a receiver of the type slack is sent.
fn print_told(head: &str, stream: &mut TcpStream) {
    /// Longer messages are cut off.
    const MAX: u64 = 64 << 10;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    };
    let length = head.lines().find_map(header).unwrap_or(0).min(MAX);
    let mut body = Vec::new();
    let _ = stream.take(length).read_to_end(&mut body);
    let Ok(message) = serde_json::from_slice::<serde_json::Value>(&body) else { return };
    let mut told = format!("told: {}\n", message["text"].as_str().unwrap_or_default());
    for line in message["attachments"][0]["text"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(told, "told:   {line}");
    }
    print!("{told}");
    let _ = io::stdout().flush();
}

/// Answers one request by its path.
fn serve(mut stream: TcpStream) {
    /// Every fourth of these requests fails.
    static FLAKY: AtomicU64 = AtomicU64::new(0);
    let head = read_head(&mut stream);
    let sorry = || response("503 Service Unavailable", &[], b"Sorry.\n");
    let page = || response("200 OK", &["content-type: text/html; charset=utf-8"], PAGE);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let answer = match head.split(' ').nth(1).unwrap_or_default() {
        "/chat" => {
            print_told(&head, &mut stream);
            response("200 OK", &[], b"ok")
        }
        // Down for the second half of each minute.
        "/coming-and-going" if now.as_secs() % 60 >= 30 => sorry(),
        "/" | "/coming-and-going" => page(),
        "/slow" => {
            thread::sleep(Duration::from_millis(300));
            page()
        }
        "/flaky" if FLAKY.fetch_add(1, Ordering::Relaxed) % 4 != 3 => page(),
        "/flaky" | "/failing" => sorry(),
        "/wrong-page" => response("200 OK", &["content-type: text/html; charset=utf-8"], OTHER_PAGE),
        "/redirecting" => response("302 Found", &["location: /"], b""),
        _ => response("404 Not Found", &[], b"There is no such page.\n"),
    };
    let _ = stream.write_all(&answer);
    // Closing with unread data would send a reset. A client that keeps writing has 1 s.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.read(&mut [0; 1_024]);
}
