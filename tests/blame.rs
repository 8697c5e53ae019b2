//! What is the checker's own trouble is no failure of a site's: the real program stopped by a signal, short of files,
//! without IPv6. And what it must not tell.

#![cfg(all(feature = "check", feature = "alerts", feature = "librdkafka", feature = "cli"))]

#[path = "support/sites.rs"]
mod sites;
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sites::{BlackHole, ClosedPort, Server, read_head, response};
use support::pipeline::pause;
use support::{Signal, not_tested, program, program_under, wait_until};
use webmon::check::{Checker, Resolve, ResolveError, Settings};
use webmon::record::{CheckResult, ErrorType, Outcome, Record};
use webmon::schedule::Schedule;
use webmon::shutdown::Shutdown;
use webmon::site::{Origin, Site};

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");

/// A configuration whose results stay in the spool: there is no Kafka.
fn toml(spool: &Path, more: &str) -> String {
    let spool = format!("check.spool = {{ dir = {:?} }}\n{more}", spool.display().to_string());
    support::config_toml("127.0.0.1:1", "blame", "postgres://h/d", &spool)
}

fn site(name: &str, url: &str, schedule: &str) -> String {
    format!("[[site]]\nname = {name:?}\nurl = {url:?}\nschedule = {schedule:?}\n")
}

/// The results in the spool.
fn results(toml: &str) -> Vec<CheckResult> {
    let (code, out, log) = program(CHECK, toml, &["spool", "dump"]).finish();
    assert_eq!(code, Some(0), "{log}");
    let results = out.lines().filter_map(|line| match Record::decode(line.as_bytes()).unwrap() {
        Record::Result(result) => Some(*result),
        Record::Gap(_) => None,
    });
    results.collect()
}

// ---- Stopped.

/// Sites that answer after a second, a timeout of 5 s, and a checker that is stopped for 6 s while it waits for them.
#[test]
fn a_checker_that_was_stopped_blames_no_site() {
    let (asked, requests) = mpsc::channel();
    let slow = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = asked.send(head.starts_with("GET /seldom"));
        pause(Duration::from_secs(1));
        let _ = stream.write_all(&response("200 OK", &[], b"hello"));
    });
    let spool = tempfile::tempdir().unwrap();
    let mut more = "site_defaults.timeout = \"5s\"\n".to_owned();
    for number in 0..10 {
        // Those have time for another attempt, these have none.
        more += &site(&format!("seldom-{number}"), &slow.url("/seldom"), "@every 15s");
        more += &site(&format!("often-{number}"), &slow.url("/often"), "@every 6s");
    }
    let toml = toml(spool.path(), &more);
    let check = program(CHECK, &toml, &["run"]);
    let is_again = |result: &CheckResult| (result.outcome, result.attempts) == (Outcome::Success, 2);
    let is_suspended = |result: &CheckResult| result.error_detail.as_deref() == Some("suspended");
    for seldom in [true, false] {
        while requests.try_recv().is_ok() {}
        while requests.recv_timeout(Duration::from_secs(60)).unwrap() != seldom {}
        check.signal(Signal::STOP);
        pause(Duration::from_secs(6));
        check.signal(Signal::CONT);
        wait_until("the stop shows", || {
            results(&toml).iter().any(|result| if seldom { is_again(result) } else { is_suspended(result) })
        });
    }
    check.signal(Signal::TERM);
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("this process stood still"), "{log}");
    for result in results(&toml) {
        assert_ne!(result.outcome, Outcome::Failure, "{result:?}");
        if is_suspended(&result) {
            assert_eq!((result.outcome, result.error_type), (Outcome::Missed, Some(ErrorType::Late)));
            assert!(result.error_message.unwrap().contains("the checker itself stood still for"));
        }
    }
}

// ---- Short of files.

#[test]
fn threads_whose_files_the_limit_does_not_allow_are_refused() {
    let spool = tempfile::tempdir().unwrap();
    let more = format!("check.threads = 80\n{}", site("shop", "http://127.0.0.1:1/", "@hourly"));
    let limited = ["sh", "-c", "ulimit -n 128; exec \"$@\"", "sh"];
    let mut check = program_under(&limited, CHECK, &toml(spool.path(), &more), &["run"]);
    wait_until("it has ended", || check.child.try_wait().unwrap().is_some());
    let (code, _, log) = check.finish();
    assert_eq!(code, Some(1), "{log}");
    let expected = "webmon-check: check.threads 80 needs up to 448 open files, and the limit is 128: raise it \
                    (ulimit -Hn, or LimitNOFILE= of systemd)";
    assert_eq!(log.lines().last(), Some(expected));
}

/// A name server that knows all names and takes its time.
fn slow_name_server(socket: UdpSocket, time: Duration) {
    let answers = socket.try_clone().unwrap();
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>, std::net::SocketAddr)>();
    std::thread::spawn(move || {
        for (at, answer, peer) in receiver {
            pause(at.saturating_duration_since(Instant::now()));
            answers.send_to(&answer, peer).unwrap();
        }
    });
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            // RFC 1035, section 4.1: a header of 12 bytes, then the name as labels, type and class.
            let end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_a = query[end - 4..end - 2] == [0, 1];
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            answer.extend(&query[12..end]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            sender.send((Instant::now() + time, answer, peer)).unwrap();
        }
    });
}

#[test]
fn a_low_limit_on_open_files_and_a_slow_name_server_fail_no_site() {
    const SITES: usize = 80;
    // Name servers of resolv.conf are at port 53, which only root may open.
    let server = Ipv4Addr::new(127, 86, 11, 1);
    let Ok(socket) = UdpSocket::bind((server, 53)) else { return not_tested("port 53") };
    slow_name_server(socket, Duration::from_secs(2));
    let web = Server::answering(response("200 OK", &[], b"hello"));
    let (spool, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let resolv_conf = directory.path().join("resolv.conf");
    std::fs::write(&resolv_conf, format!("nameserver {server}\n")).unwrap();
    let mut more = "check.threads = 80\nsite_defaults.timeout = \"15s\"\n".to_owned();
    for number in 0..SITES {
        let url = format!("http://shop-{number}.example:{}/", web.address.port());
        more += &site(&format!("shop-{number}"), &url, "@every 20s");
    }
    let toml = toml(spool.path(), &more);
    let script = format!("mount --bind {resolv_conf:?} /etc/resolv.conf && ulimit -S -n 128 && exec \"$@\"");
    let mut check = program_under(&["unshare", "-rm", "sh", "-c", &script, "sh"], CHECK, &toml, &["run"]);
    let mut ended = false;
    wait_until("each site has a result", || {
        ended = check.child.try_wait().unwrap().is_some();
        let seen: BTreeSet<String> = results(&toml).into_iter().map(|result| result.site).collect();
        ended || seen.len() == SITES
    });
    if ended {
        return not_tested(&format!("a mount namespace: {}", check.finish().2));
    }
    let results = results(&toml);
    for result in &results {
        assert_eq!(result.outcome, Outcome::Success, "{result:?}");
    }
    assert!(results.iter().all(|result| result.dns_us.unwrap() >= 1_900_000));
}

// ---- Without IPv6.

/// A name with these addresses.
struct Name(Vec<IpAddr>);

impl Resolve for Name {
    fn resolve(&self, _: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(self.0.clone())
    }
}

fn check(addresses: &[&str], port: u16, timeout: Duration) -> CheckResult {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let mut checker = Checker::new(&Settings::with_resolver(Arc::new(Name(addresses)))).unwrap();
    let url = format!("http://shop.example:{port}/").parse().unwrap();
    let mut site = Site::new("shop", url, Schedule::new("@hourly", "UTC").unwrap());
    site.timeout = timeout;
    let due = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    checker.check(&site, &Origin::new("here", "checker"), due, None, &Shutdown::new())
}

/// In a network of its own, which has nothing but loopback.
#[test]
fn a_checker_without_ipv6_blames_no_site_for_it() {
    const CHILD: &str = "WEBMON_TEST_LOOPBACK_ONLY";
    if std::env::var_os(CHILD).is_some() {
        return without_ipv6();
    }
    let test = "a_checker_without_ipv6_blames_no_site_for_it";
    let output = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("unshare failed") {
        return not_tested(&format!("a network namespace: {error}"));
    }
    assert!(output.status.success(), "{error}");
}

fn without_ipv6() {
    loopback_up();
    let (long, short) = (Duration::from_secs(20), Duration::from_secs(1));
    let (nobody, server) = (ClosedPort::new(), Server::answering(response("200 OK", &[], b"")));
    let closed = nobody.address.port();
    let seen = |result: &CheckResult| {
        (result.outcome, result.error_type.unwrap(), result.error_detail.clone().unwrap())
    };
    let refused = (Outcome::Failure, ErrorType::Connect, "refused".to_owned());
    for addresses in [["127.0.0.1", "2001:db8::1"], ["2001:db8::1", "127.0.0.1"]] {
        let result = check(&addresses, closed, long);
        assert_eq!(seen(&result), refused, "{result:?}");
        assert_eq!(result.remote_ip, Some(Ipv4Addr::LOCALHOST.into()));
        let result = check(&addresses, server.address.port(), long);
        assert_eq!(result.outcome, Outcome::Success, "{result:?}");
    }
    // What has no route takes none of the time.
    let hole = BlackHole::new(Ipv4Addr::LOCALHOST, 0);
    let result = check(&["127.0.0.1", "2001:db8::1"], hole.address.port(), short);
    assert_eq!(result.error_type, Some(ErrorType::Timeout), "{result:?}");
    assert!(result.total_us.unwrap() >= 1_000_000, "{result:?}");

    // Nothing is known of a site that this host has no way to.
    for (addresses, detail) in [
        (&["2001:db8::1"][..], "no_route_ipv6"),
        (&["2001:db8::1", "2001:db8::2"], "no_route_ipv6"),
        (&["192.0.2.1"], "no_route_ipv4"),
        (&["192.0.2.1", "2001:db8::1"], "no_route_ipv4"),
    ] {
        let result = check(addresses, 80, long);
        let expected = (Outcome::Missed, ErrorType::NetworkDown, detail.to_owned());
        assert_eq!(seen(&result), expected, "{result:?}");
    }
    // An address that refuses is one that there is a way to.
    let result = check(&["::1"], closed, long);
    assert_eq!(seen(&result), refused, "{result:?}");
}

/// As `ip link set lo up`, which not every machine has.
fn loopback_up() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // SAFETY: all zeros is a value of this type.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    use std::os::fd::AsRawFd;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

// ---- Secrets.

#[test]
fn the_most_talkative_log_holds_no_secret_of_a_request() {
    let secure = sites::self_signed(&["127.0.0.1"]);
    let secure = Server::https(0, secure, response("200 OK", &[], b"hello")).unwrap();
    let plain = Server::answering(response("200 OK", &[], b"hello"));
    let spool = tempfile::tempdir().unwrap();
    // Some log their bytes in rows of 16: one of the repetitions is whole.
    let secret = "s3cr3t".repeat(8);
    let mut more = format!("[site_defaults]\nheaders = {{ x-api-key = {secret:?} }}\n");
    for (name, url) in [("plain", plain.url("/")), ("secure", format!("https://{}/", secure.address))] {
        more += &site(name, &url.replace("://", &format!("://users:{secret}@")), "@hourly");
    }
    let toml = toml(spool.path(), &more);
    let (code, out, log) = program(CHECK, &toml, &["--log-level", "trace", "once"]).finish();
    // The certificate is nobody's.
    assert_eq!((code, plain.accepted(), secure.accepted()), (Some(1), 1, 1), "{out}{log}");
    // As it is, in the base64 of the credentials, and in hexadecimal.
    for trace in ["s3cr3t", "czNjcjN0", "7333 6372 3374"] {
        assert!(!out.contains(trace) && !log.contains(trace), "{trace} in {out}{log}");
    }
}
