//! A failure is confirmed by retries, and trouble of the checker's own is never a failure of the site.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use webmon::check::Checker;
use webmon::record::{ErrorType, Outcome};
use webmon::shutdown::Shutdown;
use webmon::site::Site;

use crate::site::{after, assert_error, check, due, origin, settings, site, valid};
use crate::sites::{Server, read_head, response};

/// Fails `failures` requests with a 503, then answers 200.
fn recovering(failures: usize) -> Server {
    let seen = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        read_head(&mut stream);
        let status = if seen.fetch_add(1, Ordering::SeqCst) < failures { "503 Sorry" } else { "200 OK" };
        let _ = stream.write_all(&response(status, &[], b""));
    })
}

#[test]
fn a_failure_is_believed_only_when_every_attempt_fails() {
    for (failures, retries, attempts, outcome) in [
        (0, 2, 1, Outcome::Success),
        (1, 0, 1, Outcome::Failure),
        (1, 2, 2, Outcome::Success),
        (2, 2, 3, Outcome::Success),
        (3, 2, 3, Outcome::Failure),
    ] {
        let server = recovering(failures);
        let site = Site { retries, retry_pause: Duration::from_millis(1), ..site(&server.url("/")) };
        let result = check(&site);
        assert_eq!((result.outcome, result.attempts), (outcome, attempts), "{failures} of {retries}");
        assert_eq!(server.accepted(), usize::from(attempts));
    }
}

#[test]
fn a_failure_that_could_not_be_confirmed_is_missed() {
    let server = recovering(usize::MAX);
    let site = Site { retries: 1, retry_pause: Duration::from_secs(60), ..site(&server.url("/")) };
    let shutdown = Shutdown::new();
    shutdown.request();
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let result = valid(checker.check(&site, &origin(), due(), None, &shutdown));
    assert_error(&result, ErrorType::Cancelled, "stopped");
    assert_eq!((result.outcome, result.attempts, result.http_status), (Outcome::Missed, 1, None));
}

#[test]
fn a_panic_is_missed_and_the_checker_goes_on() {
    let server = Server::answering(response("200 OK", &[], b""));
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let result =
        valid(checker.check(&site("http://panic.example/"), &origin(), due(), None, &Shutdown::new()));
    assert_error(&result, ErrorType::Cancelled, "panic");
    assert_eq!(result.outcome, Outcome::Missed);
    let result = valid(checker.check(&site(&server.url("/")), &origin(), due(), None, &Shutdown::new()));
    assert_eq!(result.outcome, Outcome::Success);
}

#[test]
fn an_instant_too_far_off_to_be_recorded_is_late() {
    let mut checker = Checker::new(&settings(&[])).unwrap();
    for seconds in [-3_000, 3_000] {
        let instant = after(due(), seconds);
        let site = site("http://no-such-name.invalid/");
        let result = valid(checker.check(&site, &origin(), instant, None, &Shutdown::new()));
        assert_eq!((result.outcome, result.error_type), (Outcome::Missed, Some(ErrorType::Late)));
        assert_eq!(result.started_at, None);
    }
}

/// Runs in a process of its own, as it leaves none of its files to others.
#[test]
fn a_checker_out_of_files_misses_and_blames_no_site() {
    const CHILD: &str = "WEBMON_TEST_OUT_OF_FILES";
    if std::env::var_os(CHILD).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_checker_out_of_files_misses_and_blames_no_site", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: it only reads the limit, which outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let server = Server::answering(response("200 OK", &[], b""));
    let mut checker = Checker::new(&settings(&[])).unwrap();
    let site = Site { retries: 3, ..site(&server.url("/")) };
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    let result = checker.check(&site, &origin(), due(), None, &Shutdown::new());
    drop(open);
    let result = valid(result);
    assert_error(&result, ErrorType::Saturated, "too_many_open_files");
    assert_eq!((result.outcome, result.attempts), (Outcome::Missed, 1));
    let result = valid(checker.check(&site, &origin(), due(), None, &Shutdown::new()));
    assert_eq!(result.outcome, Outcome::Success);
}
