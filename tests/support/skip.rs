//! What a test needs that may not be there: a service, a tool, a right.

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

/// The value of an environment variable that dev/services or dev/test sets.
pub fn service(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Some(value),
        _ if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            panic!("{variable} is not set: run ./dev/services up and source .dev/env")
        }
        _ => {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("NOT TESTED: {test} needs {variable}: run ./dev/test");
            note_skipped(&test, variable);
            None
        }
    }
}

/// Says loudly that this test cannot run without `what`. In CI that is a failure.
pub fn not_tested(what: &str) {
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "needs {what}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("NOT TESTED: {test} needs {what}");
    note_skipped(&test, what);
}

/// Where the program `name` is. Says so if it is nowhere.
pub fn find(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        not_tested(&format!("{name} (Debian: {package})"));
    }
    found
}

/// Cargo hides what a passing test prints, so `dev/test` reads it from this file.
fn note_skipped(test: &str, variable: &str) {
    if let Some(path) = std::env::var_os("WEBMON_TEST_SKIPPED") {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        // One write, so that lines of several programs stay whole.
        file.write_all(format!("{test} needs {variable}\n").as_bytes()).unwrap();
    }
}
