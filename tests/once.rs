//! `webmon-check once`: the real program on real servers of this host, in a folder of its own.

#![cfg(all(feature = "check", feature = "cli"))]

#[path = "support/sites.rs"]
mod sites;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::Winsize;
use unicode_width::UnicodeWidthStr;
use webmon::record::{Outcome, Record};

use sites::{Authority, ClosedPort, Heard, Server, hold, read_head, response};

/// A folder in which the program runs, with no environment but what is set.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn with(config: &str) -> Folder {
        let folder = Folder::new();
        folder.write("config.toml", config);
        folder
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webmon-check"));
        command.env_clear().current_dir(self.0.path()).arg("once").args(arguments).stdin(Stdio::null());
        command
    }

    /// The exit code, stdout and stderr.
    fn once(&self, arguments: &[&str]) -> (i32, String, String) {
        finish(self.command(arguments))
    }
}

fn finish(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// `[[site]]` with more keys.
fn site(name: &str, url: &str, more: &str) -> String {
    format!("[[site]]\nname = {name:?}\nurl = {url:?}\nschedule = \"@hourly\"\n{more}\n")
}

fn healthy() -> Server {
    Server::answering(response("200 OK", &["content-type: text/plain"], b"in stock"))
}

/// What a terminal shows of `text`: without the sequences of colours.
fn uncoloured(text: &str) -> String {
    Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(text, "").into_owned()
}

// ---- What is checked.

#[test]
fn a_url_needs_no_configuration() {
    let server = healthy();
    let folder = Folder::new();
    let (code, out, err) = folder.once(&[&server.url("/")]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("200 OK") && out.contains("total"), "{out}");
    // Nobody asked for this file.
    let folder = Folder::with("this is not TOML");
    assert_eq!(folder.once(&[&server.url("/")]).0, 0);
    // Somebody asked for these.
    let (code, _, err) = folder.once(&[&server.url("/"), "--config", "config.toml"]);
    assert_eq!(code, 2, "{err}");
    let mut command = folder.command(&[&server.url("/")]);
    command.env("WEBMON_CONFIG", "no-such-file.toml");
    let (code, _, err) = finish(command);
    assert_eq!(code, 2);
    assert!(err.contains("cannot read the configuration no-such-file.toml"), "{err}");
    assert_eq!(server.accepted(), 2);
}

#[test]
fn without_a_configuration_only_urls_can_be_checked() {
    let server = healthy();
    for arguments in [&[][..], &["shop"], &[server.url("/").as_str(), "shop"]] {
        let (code, out, err) = Folder::new().once(arguments);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("only URLs (such as https://example.org/) can be checked without"), "{err}");
    }
    assert_eq!(server.accepted(), 0);
    // It says how to write what curl would take.
    let (_, _, err) = Folder::new().once(&["shop.example/a"]);
    assert!(err.contains("(such as https://shop.example/a)"), "{err}");
    let (_, _, err) = Folder::new().once(&["me:pa55word@shop.example"]);
    assert!(!err.contains("pa55word"), "{err}");
}

#[test]
fn a_url_is_checked_with_the_defaults_of_a_configuration_that_is_named() {
    let heard = Heard::default();
    let note = heard.clone();
    let server = Server::start(move |mut stream| {
        note.push(read_head(&mut stream));
        let _ = stream.write_all(&response("204 No Content", &[], b""));
    });
    // Neither brokers nor sites.
    let folder = Folder::with(
        "check.user_agent = \"shop-monitor\"\n[site_defaults]\nheaders = { x-api-key = \"s3cr3t\" }\n\
         expect = { status = [\"204\"] }\n",
    );
    let (code, out, err) = folder.once(&[&server.url("/"), "-c", "config.toml"]);
    assert_eq!(code, 0, "{out}{err}");
    let head = heard.all().remove(0).to_lowercase();
    assert!(head.contains("x-api-key: s3cr3t") && head.contains("user-agent: shop-monitor"), "{head}");
    // The environment counts where there is no file, too.
    let mut command = folder.command(&[&server.url("/")]);
    command.env("WEBMON_CHECK__USER_AGENT", "from-the-environment").current_dir("/");
    assert_eq!(finish(command).0, 0);
    assert!(heard.all().remove(1).contains("from-the-environment"));
}

#[test]
fn sites_are_chosen_by_their_keys_and_urls_come_with_them() {
    let servers = [healthy(), healthy(), healthy(), healthy()];
    let url = |index: usize| servers[index].url("/");
    // A name may be a URL: the site is meant, which expects what does not come.
    let named = "https://named.example/";
    let config = site("shop", &url(0), "")
        + &site("other", &url(1), "")
        + &site(named, &url(2), "expect = { status = [\"404\"] }");
    let folder = Folder::with(&config);
    let (code, out, err) = folder.once(&[named, "shop", &url(3), "--json"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let names: Vec<String> = results(&out).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [named, "shop", &url(3)]);
    let accepted: Vec<usize> = servers.iter().map(Server::accepted).collect();
    assert_eq!(accepted, [1, 0, 1, 1]);
    // Without arguments, all.
    let (_, out, _) = folder.once(&["--json"]);
    assert_eq!(results(&out).len(), 3);
}

/// The names and outcomes in lines of JSON.
fn results(out: &str) -> Vec<(String, Outcome)> {
    let decode = |line: &str| match Record::decode(line.as_bytes()).unwrap() {
        Record::Result(result) => (result.name, result.outcome),
        Record::Gap(_) => panic!("a gap"),
    };
    out.lines().map(decode).collect()
}

#[test]
fn arguments_that_cannot_be_used_are_all_named_and_the_exit_code_is_2() {
    let server = healthy();
    let config = site("shop", &server.url("/"), "") + &site("off", &server.url("/"), "enabled = false");
    let folder = Folder::with(&config);
    let arguments = ["shpo", "ftp://host/", "http://me:pa55word@/", "shop", "off"];
    let (code, out, err) = folder.once(&arguments);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "webmon-check: site \"shpo\" is not in the configuration, which has \"shop\": expected a key, or a URL such as \
         https://example.org/\n\
         webmon-check: argument 2: the URL has the scheme \"ftp\": expected http or https\n\
         webmon-check: argument 3: the URL is not valid: empty host\n\
         webmon-check: site \"off\" is disabled: expected one with enabled = true, or a URL\n"
    );
    let url = server.url("/");
    let request =
        ["-X", "get", "-H", "t0ken", "-H", "Content-Length: 3", "-H", "a: b\u{1}", "-H", "host: a b"];
    let (code, _, err) = folder.once(&[&[url.as_str(), "-d", "@no-such-file"], &request[..]].concat());
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "webmon-check: --method \"get\" is not supported: expected a method in upper case, but not CONNECT or TRACE\n\
         webmon-check: --header 1: is not a header: expected one such as \"Accept: text/html\"\n\
         webmon-check: --header 2: \"content-length\" is set by the check itself\n\
         webmon-check: --header 3: the value of \"a\" has a control character\n\
         webmon-check: --header 4: the value of \"host\" is not a host\n\
         webmon-check: --data cannot be read from \"no-such-file\": No such file or directory (os error 2)\n"
    );
    folder.write("large", &"x".repeat((1 << 20) + 1));
    for (arguments, expected) in [
        (&[url.as_str(), "-d", "@large"][..], "--data is larger than 1048576 bytes"),
        (&[&url, "-X", "HEAD", "-d", "a"], "--method HEAD sends no --data"),
        (&[&url, "shop", "-X", "POST"], "are for URLs alone"),
        (&["-H", "a: b"], "are for URLs alone"),
        (&[["-H", "a: b"]; 33].concat(), "there are 33 --header: expected at most 32"),
    ] {
        let (code, _, err) = folder.once(&[arguments, &["-c", "config.toml"]].concat());
        assert!(code == 2 && err.contains(expected), "{expected:?} is not in {err}");
    }
    for wrong in [
        &["--watch", "1ms"][..],
        &["--watch", "soon"],
        &["--parallel", "0"],
        &["--parallel", "201"],
        &["--color", "red"],
    ] {
        assert_eq!(folder.once(wrong).0, 2, "{wrong:?}");
    }
    let folder = Folder::with("check.ca = \"empty.pem\"\n");
    folder.write("empty.pem", "");
    let (code, _, err) = folder.once(&[&server.url("/"), "-c", "config.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("empty.pem"), "{err}");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn the_request_for_a_url_is_what_the_command_line_says() {
    let heard = Heard::default();
    let note = heard.clone();
    let server = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let length = Regex::new("(?i)content-length: ([0-9]+)").unwrap();
        let length = length.captures(&head).map_or(0, |found| found[1].parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        note.push(head + &String::from_utf8(body).unwrap());
        let _ = stream.write_all(&response("200 OK", &[], b""));
    });
    let folder = Folder::with("[site_defaults]\nheaders = { X-Api-Key = \"default\", x-other = \"kept\" }\n");
    folder.write("order.json", "{\"id\": 7}");
    let url = server.url("/");
    for (arguments, expected) in [
        (&["-X", "DELETE"][..], &["DELETE / HTTP/1.1", "X-Api-Key: default"][..]),
        (&["-d", "a=1&b=2"], &["POST / ", "application/x-www-form-urlencoded", "\r\n\r\na=1&b=2"]),
        (
            &["-X", "PUT", "-d", "@order.json", "-H", "Content-Type: application/json"],
            &["PUT / ", "content-type: application/json\r\n", "\r\n\r\n{\"id\": 7}"],
        ),
        (
            &["-H", "x-api-key:mine", "-H", "Host: shop.example"],
            &["x-api-key: mine", "kept", "host: shop.example"],
        ),
        (&["-d", "@-"], &["POST / ", "\r\n\r\nfrom stdin"]),
    ] {
        let mut command = folder.command(&[arguments, &[&url, "-c", "config.toml"]].concat());
        folder.write("stdin", "from stdin");
        command.stdin(File::open(folder.0.path().join("stdin")).unwrap());
        let (code, out, err) = finish(command);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let request = heard.all().pop().unwrap();
        let found = |text: &&&str| request.to_lowercase().contains(&text.to_lowercase());
        assert!(expected.iter().all(|text| found(&text)), "{expected:?} is not in {request}");
        assert_eq!(request.to_lowercase().matches("x-api-key").count(), 1, "{request}");
        let method = request.split(' ').next().unwrap();
        assert!(method == "GET" || out.contains(&format!("✔ {method} http")), "{out}");
    }
}

// ---- In which order.

#[test]
fn checks_run_at_the_same_time_and_no_more_than_asked_for() {
    for (parallel, arguments) in [(48, &[][..]), (2, &["--parallel", "2"])] {
        let barrier = Barrier::new(parallel);
        let (running, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let server = Server::start(move |mut stream| {
            read_head(&mut stream);
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Nobody is answered before so many are here.
            barrier.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.write_all(&response("200 OK", &[], b""));
        });
        let urls: Vec<String> = (0..48).map(|index| server.url(&format!("/{index}"))).collect();
        let mut all: Vec<&str> = urls.iter().map(String::as_str).collect();
        all.extend(arguments);
        let (code, out, _) = Folder::new().once(&all);
        assert_eq!((code, most.load(Ordering::SeqCst)), (0, parallel), "{out}");
    }
}

#[test]
fn results_come_in_the_order_of_the_arguments() {
    let answered = Arc::new((Mutex::new(0), Condvar::new()));
    let server = Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let (count, changed) = &*answered;
        if head.starts_with("GET /0 ") {
            // The first one is answered last.
            let count = count.lock().unwrap();
            drop(changed.wait_while(count, |count| *count < 4).unwrap());
        }
        let _ = stream.write_all(&response("200 OK", &[], b""));
        *count.lock().unwrap() += 1;
        changed.notify_all();
    });
    let urls: Vec<String> = (0..5).map(|index| server.url(&format!("/{index}"))).collect();
    let mut arguments: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (code, out, _) = Folder::new().once(&arguments);
    assert_eq!(code, 0);
    let rows: Vec<&str> = out.lines().filter(|line| line.contains("http://")).collect();
    assert_eq!(rows.len(), 5, "{out}");
    assert!(rows.iter().zip(&urls).all(|(row, url)| row.ends_with(url.as_str())), "{out}");
    assert!(out.lines().last().unwrap().starts_with("5 checks: 5 success, in "), "{out}");
    arguments.push("--json");
    let told: Vec<String> =
        results(&Folder::new().once(&arguments).1).into_iter().map(|told| told.0).collect();
    assert_eq!(told, urls);
}

#[test]
fn the_exit_code_says_whether_all_succeeded() {
    let (good, bad) = (healthy(), Server::answering(response("503 Sorry", &[], b"")));
    let folder = Folder::new();
    assert_eq!(folder.once(&[&good.url("/"), &good.url("/a")]).0, 0);
    let (code, out, _) = folder.once(&[&good.url("/"), &bad.url("/"), &good.url("/a")]);
    assert_eq!(code, 1);
    assert!(out.contains("\n3 checks: 2 success, 1 failure, in "), "{out}");
    assert_eq!(folder.once(&[&bad.url("/"), "--json"]).0, 1);
}

#[test]
fn a_stop_does_not_wait_for_a_site_that_hangs() {
    let (good, hangs) = (healthy(), Server::start(|mut stream| hold(&mut stream)));
    let folder = Folder::with("site_defaults.timeout = \"10m\"\n");
    let arguments = [&good.url("/"), &hangs.url("/"), "-c", "config.toml"];
    let mut child = folder.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with(&good.url("/"))));
    interrupt(&child);
    let last: Vec<String> = lines.collect();
    let [.., stopped, counts] = &last[..] else { panic!("{last:?}") };
    assert_eq!(*stopped, format!("stopped: {}", hangs.url("/")));
    assert!(counts.starts_with("1 check: 1 success, 1 stopped, in "), "{counts}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
}

#[test]
fn a_site_is_not_blamed_while_no_sentinel_answers() {
    let (dead, alive) = (ClosedPort::new(), healthy());
    let closed = ClosedPort::new();
    for (sentinel, outcome, why) in [
        (dead.address, Outcome::Missed, "no sentinel answers either"),
        (alive.address, Outcome::Failure, "nobody listens at"),
    ] {
        let config = format!("check.sentinels = [\"tcp://{}\", \"tcp://{sentinel}\"]\n", dead.address);
        let folder = Folder::with(&config);
        let url = format!("http://{}/", closed.address);
        // Those that wait at the same time share a round.
        let mut arguments = vec![url.as_str(); 30];
        arguments.extend(["-c", "config.toml", "--json"]);
        let (code, out, err) = folder.once(&arguments);
        assert_eq!((code, err.as_str()), (1, ""));
        let outcomes: Vec<Outcome> = results(&out).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(outcomes, [outcome; 30]);
        assert!(alive.accepted() < 20, "{} rounds", alive.accepted());
        let (_, out, _) = folder.once(&[&url, "-c", "config.toml"]);
        assert!(out.contains(why), "{out}");
    }
}

// ---- What is shown.

#[test]
fn a_page_shows_each_redirect_the_phases_and_the_certificate() {
    let authority = Authority::new("Test Authority");
    let secure = authority.server(&["127.0.0.1"], 2020, 2040);
    let secure = Server::https(0, secure, response("200 OK", &[], b"in stock")).unwrap();
    let to = format!("location: https://{}/shop", secure.address);
    let plain = Server::answering(response("301 Moved Permanently", &[&to], b""));
    let folder = Folder::new();
    folder.write("ca.pem", &authority.pem());
    folder.write("config.toml", "check.ca = \"ca.pem\"\n");
    let (code, out, err) = folder.once(&[&plain.url("/"), "-c", "config.toml"]);
    assert_eq!(code, 0, "{out}{err}");
    for expected in [
        format!("✔ {}  200 OK  ", plain.url("/")),
        format!("\n  301 {}  127.0.0.1\n  redirect ", plain.url("/")),
        format!("\n  200 https://{}/shop  127.0.0.1\n  connect  ", secure.address),
        "\n  tls      ".to_owned(),
        "\n  wait     ".to_owned(),
        "\n  download ".to_owned(),
        "\n  total    ─".to_owned(),
        "\n  address     127.0.0.1\n".to_owned(),
        "\n  protocol    HTTP/1.1 over TLSv1.3\n".to_owned(),
        " days left, until 2040-01-01, issued by CN=Test Authority".to_owned(),
        "\n  body        8 B\n".to_owned(),
    ] {
        assert!(out.contains(&expected), "{expected:?} is not in\n{out}");
    }
}

#[test]
fn a_failure_says_what_was_expected_and_what_came() {
    let authority = Authority::new("Test Authority");
    // It expires on the next 1 January but one.
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let secure = authority.server(&["127.0.0.1"], 2020, i32::from(year) + 2);
    let answer = response(
        "200 OK",
        &["content-type: application/json", "x-cache: MISS", "x-cache: HIT"],
        b"{\"error\": \"sold out\"}\n",
    );
    let secure = Server::https(0, secure, answer).unwrap();
    let (closed, silent) = (ClosedPort::new(), Server::start(|mut stream| hold(&mut stream)));
    let malformed = Server::answering("HTTP/1.1 200 OK\r\nno colon\r\n\r\n");
    let other = Server::https(0, sites::self_signed(&["127.0.0.1"]), response("200 OK", &[], b"")).unwrap();
    let wrong_name = authority.server(&["shop.example"], 2020, 2040);
    let wrong_name = Server::https(0, wrong_name, response("200 OK", &[], b"")).unwrap();
    let https = |server: &Server| format!("https://{}/", server.address);
    let expect = "expect = { status = [\"204\"], body = 'in; stock', header = { content-type = '^text/html' }, \
                  not_header = { x-cache = 'MISS' }, certificate = \"3650d\" }";
    let config = "check.ca = \"ca.pem\"\n".to_owned()
        + &site("shop", &https(&secure), expect)
        + &site("closed", &format!("http://{}/", closed.address), "")
        + &site("silent", &silent.url("/"), "timeout = \"300ms\"")
        + &site("malformed", &malformed.url("/"), "")
        + &site("self-signed", &https(&other), "")
        + &site("wrong-name", &https(&wrong_name), "")
        + &site("nowhere", "http://no-such-name.invalid/", "");
    let folder = Folder::with(&config);
    folder.write("ca.pem", &authority.pem());
    for (name, expected) in [
        (
            "shop",
            &[
                "✘ shop  200 OK  ",
                "\n  status 200: expected 204\n",
                "\n  the body does not match \"in; stock\"\n",
                "\n  the header \"content-type\" does not match \"^text/html\": it came as application/json\n",
                "\n  the header \"x-cache\" matches \"MISS\": it came as MISS, HIT\n",
                "\n  the certificate is valid for ",
                "d: expected 3650d\n",
                "\n  expectation_failed: status, body, header, certificate, not_header\n",
                "\n  │ {\"error\": \"sold out\"}\n",
            ][..],
        ),
        (
            "closed",
            &["✘ closed  failure  ", &format!("nobody listens at {}", closed.address), "\n  connect  "],
        ),
        (
            "silent",
            &[
                "timed out waiting for the response: expected the whole answer within 300ms\n  timeout: response\n",
                "\n  wait     ",
            ],
        ),
        ("malformed", &["the response's head is malformed"]),
        ("self-signed", &["the certificate is signed by itself", "certificate "]),
        ("wrong-name", &["expected 127.0.0.1\n  tls_error: name_mismatch\n"]),
        ("nowhere", &["the name \"no-such-name.invalid\" ", "\n  dns_error: "]),
    ] {
        let (code, out, err) = finish({
            let mut command = folder.command(&[name]);
            command.env("COLUMNS", "150");
            command
        });
        assert_eq!(code, 1, "{out}{err}");
        for expected in expected {
            assert!(out.contains(expected), "{expected:?} is not in\n{out}");
        }
        assert!(!out.contains("\\'"), "{out}");
    }
}

#[test]
fn a_slow_success_is_said_to_be_degraded() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(2));
        let _ = stream.write_all(&response("200 OK", &[], b""));
    });
    let folder = Folder::with("site_defaults.degraded = \"1ms\"\n");
    let url = server.url("/");
    let slow = Regex::new("\n  degraded: took [0-9.]+ m?s, expected at most 1ms\n").unwrap();
    for (urls, expected) in
        [(&[url.as_str()][..], "  200 OK  degraded  "), (&[&url, &url], "2 success (2 degraded)")]
    {
        let (code, out, err) = folder.once(&[urls, &["-c", "config.toml"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(slow.is_match(&out) && out.contains(expected), "{out}");
    }
}

#[test]
fn rows_tell_redirects_and_the_phases_of_all_requests() {
    let hops = hops(Duration::from_millis(20));
    let folder = Folder::new();
    let mut command = folder.command(&[&hops.url("/3"), &hops.url("/0")]);
    command.env("COLUMNS", "120");
    let (code, out, _) = finish(command);
    assert_eq!(code, 0, "{out}");
    let rows: Vec<&str> = out.lines().filter(|line| line.contains("http://")).collect();
    assert!(rows[0].ends_with("/3  3 redirects") && rows[1].ends_with("/0"), "{out}");
    // Each request waits for 20 ms: 80 ms in all.
    let wait = Regex::new(r"([0-9.]+) ms +[0-9.]+ ms  http").unwrap();
    let wait = |row: &str| wait.captures(row).unwrap()[1].parse::<f64>().unwrap();
    assert!(wait(rows[0]) >= 80.0 && wait(rows[1]) >= 20.0, "{out}");
}

/// Redirects from `/3` to `/2` and so on, each after a pause.
fn hops(pause: Duration) -> Server {
    Server::start(move |mut stream| {
        let head = read_head(&mut stream);
        let left: usize = head.trim_start_matches("GET /").split(' ').next().unwrap().parse().unwrap();
        let to = format!("location: /{}", left.saturating_sub(1));
        let (status, headers) =
            if left > 0 { ("302 Found", &[to.as_str()][..]) } else { ("200 OK", &[][..]) };
        std::thread::sleep(pause);
        let _ = stream.write_all(&response(status, headers, b""));
    })
}

#[test]
fn a_certificate_is_not_verified_if_asked_for_and_the_page_says_so() {
    let config = sites::self_signed(&["shop.example"]);
    let server = Server::https(0, config, response("200 OK", &[], b"")).unwrap();
    let url = format!("https://{}/", server.address);
    let warning = "\n              not verified: whoever answered may be anybody\n";
    let folder = Folder::with("site_defaults.tls.min_version = \"1.2\"\n");
    let (code, out, _) = folder.once(&[&url]);
    assert!(code == 1 && out.contains("tls_error") && !out.contains(warning), "{out}");
    let (code, out, err) = folder.once(&[&url, "-k"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains(warning) && out.contains(", issued by "), "{out}");
    // It would lose the other settings.
    let (code, _, err) = folder.once(&[&url, "-k", "-c", "config.toml"]);
    assert!(code == 2 && err.contains("expected verify = false there"), "{err}");
}

#[test]
fn a_row_says_if_nobody_verified_the_certificate() {
    let config = sites::self_signed(&["shop.example"]);
    let server = Server::https(0, config, response("200 OK", &[], b"")).unwrap();
    let plain = healthy();
    let url = format!("https://{}/", server.address);
    let folder = Folder::new();
    let (code, out, _) = folder.once(&[&url, &plain.url("/"), "-k"]);
    let warnings = |text: &str| text.matches("  not verified: whoever answered may be anybody").count();
    assert_eq!((code, warnings(&out)), (0, 1), "{out}");
    let command = folder.command(&[&url, &plain.url("/"), "-k", "--watch", "100ms", "--color", "never"]);
    let mut terminal = Terminal::start(command, 100);
    terminal.read(|seen| seen.contains("4 checks: 4 success"));
    interrupt(&terminal.child);
    let (_, out) = terminal.end();
    let last = out.rsplit("\u{1b}[J").find(|frame| !frame.trim().is_empty()).unwrap();
    assert_eq!(warnings(last), 1, "{last:?}");
}

#[test]
fn tries_before_the_last_one_are_shown() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        let status = if asked.fetch_add(1, Ordering::SeqCst) == 0 { "503 Sorry" } else { "200 OK" };
        let _ = stream.write_all(&response(status, &[], b""));
    });
    let folder = Folder::with("[site_defaults]\nretries = 2\nretry_pause = \"1ms\"\n");
    let (code, out, _) = folder.once(&[&server.url("/"), "-c", "config.toml"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("\n  try 1 of 2: expectation_failed: status, "), "{out}");
}

#[test]
fn headers_are_shown_when_asked_for_and_secrets_never() {
    let echo = |mut stream: std::net::TcpStream| {
        let head = read_head(&mut stream);
        let headers = ["set-cookie: session=c00k1e", "x-echo: s3cr3t-key", "x-plain: one's own"];
        let _ = stream.write_all(&response("500 Oops", &headers, head.as_bytes()));
    };
    let server = Server::start(echo);
    let url = server.url("/").replace("://", "://me:pa55word@");
    let folder = Folder::with("[site_defaults]\nheaders = { x-api-key = \"s3cr3t-key\" }\n");
    let (_, out, err) = folder.once(&["-v", &url, "-c", "config.toml", "--log-level", "trace"]);
    for expected in
        ["\n  set-cookie: ***\n", "\n  x-echo: ***\n", "\n  x-plain: one's own\n", "x-api-key: ***"]
    {
        assert!(out.contains(expected), "{expected:?} is not in\n{out}");
    }
    for secret in ["c00k1e", "s3cr3t-key", "pa55word", "bWU6cGE1NXdvcmQ"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{secret} is in\n{out}{err}");
    }
    let (_, out, _) = folder.once(&[&url, "-c", "config.toml"]);
    assert!(!out.contains("set-cookie") && out.contains("\n  │ GET / HTTP/1.1\n"), "{out}");
}

#[test]
fn nothing_that_a_site_sends_controls_the_terminal() {
    let body =
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\u{8}\u{9b}31m\u{202e}it's\n\tthe text of a page that people read\n"
            .repeat(3);
    let headers = ["x-odd: \u{9b}31m\u{202e}it's", "x-bytes: \u{80}"];
    let server = Server::answering(response("500 Oops", &headers, body.as_bytes()));
    let binary: Vec<u8> = (0..=255).cycle().take(4_000).collect();
    let binary = Server::answering(response("500 Oops", &[], &binary));
    for (url, expected) in [(server.url("/"), "it's"), (binary.url("/"), "binary")] {
        for arguments in [&["-v", "--color", "always"][..], &["--color", "always"]] {
            let (_, out, _) = Folder::new().once(&[&[url.as_str()], arguments].concat());
            let shown = uncoloured(&out);
            assert!(out.len() > shown.len() && shown.contains(expected), "{out:?}");
            let controls = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!shown.contains(controls), "{shown:?}");
        }
    }
}

#[test]
fn every_width_is_kept_whatever_is_shown() {
    let hops = hops(Duration::ZERO);
    let wide = Server::answering(response(
        "500 Oops",
        &[&format!("x-long: {}", "東京の店 ".repeat(200)), "content-type: text/html; charset=utf-8"],
        "東京の店\t\u{1b}".repeat(200).as_bytes(),
    ));
    let authority = Authority::new(&"a very long name of an authority ".repeat(5));
    let secure = authority.server(&["127.0.0.1"], 2020, 2040);
    let secure = Server::https(0, secure, response("200 OK", &[], b"")).unwrap();
    let name = "東京の店".repeat(20);
    // Nothing is sent to the address of IPv6.
    let config = "check.ca = \"ca.pem\"\ncheck.deny_addresses = [\"2001:db8::/32\"]\n".to_owned()
        + &site(&name, &wide.url("/"), "expect = { body = '(?:a long pattern ){40}' }")
        + &site("many hops", &hops.url("/20"), "max_redirects = 20")
        + &site("secure", &format!("https://{}/{}", secure.address, "x".repeat(300)), "")
        + &site("ipv6", "http://[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]/", "");
    let folder = Folder::with(&config);
    folder.write("ca.pem", &authority.pem());
    for width in [30, 40, 60, 80, 120, 200] {
        for arguments in [&[][..], &["-v"], &[name.as_str()], &["many hops"], &["secure"], &["ipv6", "-v"]] {
            let mut command = folder.command(arguments);
            command.env("COLUMNS", width.to_string());
            let (code, out, err) = finish(command);
            assert!(code < 2, "{err}");
            let widest = out.lines().max_by_key(|line| line.width()).unwrap();
            assert!(widest.width() <= width, "{} of {width}: {widest:?}", widest.width());
            assert!(out.lines().count() > 3, "{out}");
        }
    }
    let (_, out, _) = folder.once(&["many hops"]);
    assert_eq!(out.matches("\n  302 http://").count(), 20, "{out}");
}

// ---- Terminals.

/// A terminal of `columns` and 24 rows on which the program runs.
struct Terminal {
    child: Child,
    screen: File,
    seen: String,
}

impl Terminal {
    fn start(mut command: Command, columns: u16) -> Terminal {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let screen: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&screen, size).unwrap();
        let path = ptsname(&screen, Vec::new()).unwrap();
        let terminal = || File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        command.env("TERM", "xterm").stdin(terminal()).stdout(terminal()).stderr(terminal());
        let child = command.spawn().unwrap();
        // Else it would hold the terminal open.
        drop(command);
        Terminal { child, screen: screen.into(), seen: String::new() }
    }

    /// Reads until `done` is content with what was shown, or the program has ended.
    fn read(&mut self, done: impl Fn(&str) -> bool) -> &str {
        let mut buffer = [0; 4096];
        let mut bytes = std::mem::take(&mut self.seen).into_bytes();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if done(&text) {
                self.seen = text;
                return &self.seen;
            }
            match self.screen.read(&mut buffer) {
                Ok(amount) if amount > 0 => bytes.extend_from_slice(&buffer[..amount]),
                // EIO: nobody has the other side open any more.
                _ => {
                    self.seen = text;
                    return &self.seen;
                }
            }
        }
    }

    fn end(mut self) -> (i32, String) {
        self.read(|_| false);
        (self.child.wait().unwrap().code().unwrap(), self.seen)
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let server = healthy();
    let (url, folder) = (server.url("/"), Folder::new());
    let run = |terminal: bool, arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = folder.command(&[&[url.as_str()], arguments].concat());
        command.envs(variables.iter().copied());
        if terminal { Terminal::start(command, 80).end().1 } else { finish(command).1 }
    };
    for (terminal, arguments, variables, coloured) in [
        (false, &[][..], &[][..], false),
        (true, &[], &[], true),
        (true, &[], &[("NO_COLOR", "1")], false),
        (true, &["--color", "never"], &[], false),
        (true, &["--color", "always"], &[("NO_COLOR", "1")], true),
        (false, &["--color", "always"], &[], true),
        (false, &[], &[("CLICOLOR_FORCE", "1")], true),
        (false, &["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
    ] {
        let out = run(terminal, arguments, variables);
        assert!(out.contains("200 OK"), "{out}");
        let case = format!("{terminal} {arguments:?} {variables:?}: {out:?}");
        assert_eq!(out.contains("\u{1b}[32m") || out.contains("\u{1b}[1;32m"), coloured, "{case}");
    }
}

#[test]
fn a_page_takes_the_width_of_its_terminal() {
    let server = healthy();
    for columns in [40, 100] {
        let folder = Folder::new();
        let terminal = Terminal::start(folder.command(&[&server.url("/"), "--color", "never"]), columns);
        let (code, out) = terminal.end();
        let total = out.lines().find(|line| line.starts_with("  total")).unwrap();
        assert_eq!((code, total.trim_end().width()), (0, usize::from(columns)), "{out}");
        // It is drawn in this width, not cut to it.
        assert!(total.trim_end().ends_with("s 100 %"), "{out}");
    }
}

#[test]
fn without_utf_8_all_signs_are_ascii() {
    let (folder, server) = (Folder::new(), healthy());
    let mut command = folder.command(&[&server.url("/")]);
    command.env("LC_ALL", "C");
    let (_, out, _) = finish(command);
    assert!(out.is_ascii() && out.contains("+ http://"), "{out}");
}

// ---- Round after round.

/// Answers with 200 up to request `good`, then with 503.
fn fails_after(good: usize) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        read_head(&mut stream);
        let status = if asked.fetch_add(1, Ordering::SeqCst) < good { "200 OK" } else { "503 Sorry" };
        let _ = stream.write_all(&response(status, &[], b""));
    })
}

#[test]
fn watching_draws_again_in_place_until_it_is_stopped_and_the_last_round_decides() {
    let goes_back = Regex::new("^\r\u{1b}\\[\\d+A").unwrap();
    for (server, until, expected) in
        [(fails_after(usize::MAX), "5 checks: 5 success", 0), (fails_after(3), "3 success, 2 failure", 1)]
    {
        let folder = Folder::new();
        let command = folder.command(&[&server.url("/"), "--watch", "100ms", "--color", "never"]);
        let mut terminal = Terminal::start(command, 80);
        terminal.read(|seen| seen.contains(until));
        interrupt(&terminal.child);
        let (code, out) = terminal.end();
        assert_eq!(code, expected, "{out:?}");
        // The cursor goes back to the start of the frame, and nothing is left of the frame before.
        let frames: Vec<&str> = out.split("\u{1b}[J").collect();
        assert!(frames.len() > 5, "{out:?}");
        assert!(goes_back.is_match(frames[2]), "{:?}", frames[2]);
        let spark = frames[4].lines().nth(1).unwrap();
        let signs = spark.chars().filter(|c| "▁▂▃▄▅▆▇█✘".contains(*c)).count();
        assert!(signs >= 3, "{spark:?}");
    }
}

#[test]
fn watching_several_sites_shows_each_with_its_own_history() {
    let (good, bad) = (healthy(), fails_after(1));
    let folder = Folder::new();
    let command = folder.command(&[&good.url("/"), &bad.url("/"), "--watch", "100ms", "--color", "never"]);
    let mut terminal = Terminal::start(command, 100);
    terminal.read(|seen| seen.contains("6 checks: 4 success, 2 failure"));
    interrupt(&terminal.child);
    let (code, out) = terminal.end();
    let last = out.rsplit("\u{1b}[J").find(|frame| !frame.trim().is_empty()).unwrap();
    assert_eq!(code, 1, "{out:?}");
    assert!(last.contains("✘✘") && last.contains(&good.url("/")), "{last:?}");
    assert!(last.contains("\n    status 503: expected 200-299"), "{last:?}");
}

#[test]
fn watching_without_a_terminal_appends_lines() {
    let row = Regex::new(r"^\d\d:\d\d:\d\dZ ✔ 200 ").unwrap();
    let server = healthy();
    for json in [false, true] {
        let folder = Folder::new();
        let mut command = folder.command(&[&server.url("/"), "--watch", "100ms"]);
        if json {
            command.arg("--json");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for _ in 0..3 {
            let line = lines.next().unwrap();
            match json {
                true => assert_eq!(results(&line)[0].1, Outcome::Success),
                false => assert!(row.is_match(&line), "{line:?}"),
            }
        }
        interrupt(&child);
        let rest: Vec<String> = lines.collect();
        assert!(rest.iter().all(|line| !line.contains('\u{1b}')), "{rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn whoever_reads_only_the_start_ends_it_without_an_error() {
    let server = healthy();
    let folder = Folder::new();
    let mut command = folder.command(&[&server.url("/"), "--watch", "100ms", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
