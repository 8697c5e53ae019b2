//! Good and bad sites on loopback to try webmon on, and the configuration that checks them.
//!
//! ```text
//! demo_sites --config-out webmon.toml --ca-out ca.pem [--elsewhere-out elsewhere.toml] [--port-base 18080]
//! ```
//!
//! Prints `ready` when the sites answer and the files are written. Runs until SIGTERM or SIGINT, or until its standard
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

#[path = "demo/made_up.rs"]
mod made_up;
#[path = "../tests/support/sites.rs"]
mod sites;

use made_up::{LABEL, LOCATIONS, MadeUp, SITES, Seen};
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
    /// Where to write the configuration of checkers at other locations: it has the sites that are checked from several
    #[arg(long, value_name = "FILE")]
    elsewhere_out: Option<PathBuf>,
    /// The first of 7 ports to listen on; 0 for any that are free
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
    let ca = std::path::absolute(&args.ca_out)?;
    write(&args.ca_out, &demo.authority.pem())?;
    write(&args.config_out, &demo.config(&ca))?;
    if let Some(path) = &args.elsewhere_out {
        write(path, &demo.elsewhere(&ca))?;
    }
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
    /// Of the made-up sites the one whose certificate expires soon.
    expiring: Server,
    authority: Authority,
}

/// The made-up site with a certificate of its own.
const EXPIRING: &str = "docs";

impl Demo {
    fn start(args: &Args) -> anyhow::Result<Demo> {
        let port = |index: u16| if args.port_base == 0 { 0 } else { args.port_base.saturating_add(index) };
        let authority = Authority::new("webmon demo authority");
        let https = |index: u16, config| Server::https(port(index), config, response("200 OK", &[], PAGE));
        let days = MadeUp::named(EXPIRING).map_or(0, |site| site.certificate_days.unsigned_abs());
        let soon =
            authority.server_until(&["127.0.0.1"], SystemTime::now() + Duration::from_secs(days * 86_400));
        let listen = "cannot listen on 127.0.0.1";
        Ok(Demo {
            http: Server::on(port(0), serve).context(listen)?,
            mute: Server::on(port(1), |mut stream| hold(&mut stream)).context(listen)?,
            secure: https(2, authority.server(&["127.0.0.1", "localhost"], 2020, 2040)).context(listen)?,
            expired: https(3, authority.server(&["127.0.0.1"], 2020, 2021)).context(listen)?,
            self_signed: https(4, self_signed(&["127.0.0.1"])).context(listen)?,
            refusing: sites::ClosedPort::on(port(5)).context(listen)?,
            expiring: https(6, soon).context(listen)?,
            authority,
        })
    }

    fn config(&self, ca: &Path) -> String {
        let http = |path: &str| self.http.url(path);
        let https = |server: &Server| format!("https://{}/", server.address);
        let platform = "expect = { body = 'data.*platform' }";
        let mut config = head(LOCATIONS[0], ca);
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
        SITES.iter().for_each(|site| config += &self.made_up(site));
        // A chat on this machine: it prints what it is told.
        let _ = write!(
            config,
            "\n[[receiver]]\nname = \"demo-chat\"\ntype = \"slack\"\nurl = \"{}\"\n\n\
             [[route]]\nreceiver = \"demo-chat\"\ngroup_wait = \"2s\"\nrepeat = \"10m\"\n\n\
             [[page]]\ntitle = \"webmon demo\"\ngroup_by = \"team\"\n\
             footer = \"A demo: the past week of api, blog, docs, login, search and shop is made up.\"\n\
             show = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\n",
            http("/chat"),
        );
        config
    }

    /// For checkers at the other locations, which override the first of them by WEBMON_CHECK__LOCATION.
    fn elsewhere(&self, ca: &Path) -> String {
        let sites = SITES.iter().filter(|site| site.places > 1);
        head(LOCATIONS[1], ca) + &sites.map(|site| self.made_up(site)).collect::<String>()
    }

    /// A site that has a past. From now on it is checked in earnest, and behaves as it did.
    fn made_up(&self, site: &MadeUp) -> String {
        let url = if site.name == EXPIRING {
            format!("https://{}/", self.expiring.address)
        } else {
            self.http.url(&format!("/made-up/{}", site.name))
        };
        let (label, value) = LABEL;
        let mut config = format!(
            "\n[[site]]\nname = \"{}\"\nurl = \"{url}\"\nschedule = \"*/10 * * * * *\"\ntimeout = \"3s\"\n\
             degraded = \"{}ms\"\nsample = true\nlabels = {{ {label} = \"{value}\", team = \"{}\" }}\n",
            site.name, site.degraded_ms, site.team,
        );
        if site.places > 1 {
            config += "incident = { locations = 2 }\n";
        }
        config
    }
}

/// What a configuration begins with.
fn head(location: &str, ca: &Path) -> String {
    format!(
        "# Written by the demo_sites example.\n\n\
         [check]\nlocation = \"{location}\"\nca = {}\n\n\
         [site_defaults]\nschedule = \"*/2 * * * * *\"\ntimeout = \"1s\"\n",
        toml_text(&ca.to_string_lossy()),
    )
}

/// How a made-up site answers at `now`, in seconds since 1970; nothing when it is silent.
fn answer_made_up(site: &MadeUp, now: i64) -> Option<Vec<u8>> {
    let (slower, status) = match site.seen(0, now, now) {
        Seen::Slow(factor) => (factor, None),
        Seen::Failed(fault) => (1.0, Some(fault.status?)),
        Seen::Up | Seen::Missed(_) | Seen::Nothing => (1.0, None),
    };
    let phases = site.phases(0, now, slower);
    thread::sleep(Duration::from_micros(phases.wait.into()));
    Some(match status {
        Some(status) => {
            response(&format!("{status} Made Up"), &["retry-after: 120"], b"We are working on it.\n")
        }
        None => response("200 OK", &["content-type: text/html; charset=utf-8"], PAGE),
    })
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
    let path = head.split(' ').nth(1).unwrap_or_default();
    if let Some(site) = path.strip_prefix("/made-up/").and_then(MadeUp::named) {
        match answer_made_up(site, now.as_secs().cast_signed()) {
            Some(answer) => finish(stream, &answer),
            None => hold(&mut stream),
        }
        return;
    }
    let answer = match path {
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
    finish(stream, &answer);
}

/// Sends the answer and closes.
fn finish(mut stream: TcpStream, answer: &[u8]) {
    let _ = stream.write_all(answer);
    // Closing with unread data would send a reset. A client that keeps writing has 1 s.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.read(&mut [0; 1_024]);
}
