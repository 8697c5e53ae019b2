//! Services that the environment names: used instead of our own.

use std::path::Path;

use crate::port;

/// Whether `value` names a service other than our own, whose state is in `dir`. A shell that has read `.dev/env` hands
/// our own address back to us, maybe the one of an earlier run.
pub fn is_given(dir: &Path, value: &str) -> bool {
    !value.is_empty() && !own_port(value).is_some_and(|port| had(dir, port))
}

/// The port of an address as we write it down.
fn own_port(value: &str) -> Option<&str> {
    let address = value.strip_prefix("postgres://webmon@").unwrap_or(value);
    let address = address.strip_suffix("/webmon?sslmode=disable").unwrap_or(address);
    let port = address.strip_prefix("127.0.0.1:")?;
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

fn had(dir: &Path, port: &str) -> bool {
    let used = std::fs::read_to_string(dir.join("ports-used")).unwrap_or_default();
    used.lines().any(|line| line == port)
}

/// Whether something answers at `host:port[,host:port...]` or at a `postgres://` URL.
pub fn answers(address: &str) -> bool {
    let (host, port) = host_and_port(address);
    port.parse().is_ok_and(|port| port::answers(host, port))
}

fn host_and_port(address: &str) -> (&str, &str) {
    let (address, default) = match address.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            (authority.rsplit_once('@').map_or(authority, |(_, host)| host), "5432")
        }
        None => (address, ""),
    };
    let first = address.split(',').next().unwrap_or_default();
    let (host, port) = match first.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (first, default),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// An address without the password in it: a table may be pasted anywhere.
pub fn without_password(address: &str) -> String {
    let mut shown = address.to_owned();
    if let Some(begin) = address.find("://").map(|at| at + 3) {
        let end = address[begin..].find('/').map_or(address.len(), |at| begin + at);
        if let Some(at) = address[begin..end].rfind('@').map(|at| begin + at)
            && let Some(colon) = address[begin..at].find(':').map(|at| begin + at)
        {
            shown.replace_range(colon + 1..at, "***");
        }
    }
    if let Some(begin) = shown.find("password=").map(|at| at + "password=".len()) {
        let end = shown[begin..].find('&').map_or(shown.len(), |at| begin + at);
        shown.replace_range(begin..end, "***");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_address_is_not_given() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ports-used"), "20001\n20002\n").unwrap();
        let given = |value: &str| is_given(directory.path(), value);
        assert!(!given(""));
        assert!(!given("127.0.0.1:20001"));
        assert!(!given("postgres://webmon@127.0.0.1:20002/webmon?sslmode=disable"));
        assert!(given("127.0.0.1:2000"));
        assert!(given("127.0.0.1:9092"));
        assert!(given("127.0.0.1:20001,127.0.0.1:20002"));
        assert!(given("postgres://other@127.0.0.1:20002/webmon"));
    }

    #[test]
    fn host_and_port_are_found_in_any_address() {
        for (address, expected) in [
            ("broker:9092,other:9093", ("broker", "9092")),
            ("[::1]:9092", ("::1", "9092")),
            ("postgres://me:p@ss:1@db.example/x?y=@:1", ("db.example", "5432")),
            ("postgres://[::1]:5433/x", ("::1", "5433")),
            ("broker", ("broker", "")),
        ] {
            assert_eq!(host_and_port(address), expected, "{address}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (address, shown) in [
            ("postgres://me:se:c@ret@host:1/db", "postgres://me:***@host:1/db"),
            ("postgres://me@host/db?password=secret&a=b", "postgres://me@host/db?password=***&a=b"),
            ("postgres://host/db?user=me@x:y", "postgres://host/db?user=me@x:y"),
            ("broker:9092", "broker:9092"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }
}
