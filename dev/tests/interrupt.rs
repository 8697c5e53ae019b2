//! Signals are of a whole process: this test has one of its own.

use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::raise;
use webmon_dev::interrupt::{came, forget, ignore_hangups, shield, wait_until, watch};

#[test]
fn a_signal_ends_a_wait_but_not_behind_a_shield() {
    watch().unwrap();
    let shield = shield();
    raise(SIGHUP).unwrap();
    assert_eq!(came(), Some(SIGHUP));
    assert!(wait_until(Duration::ZERO, || true).unwrap());
    drop(shield);
    assert_eq!(wait_until(Duration::from_secs(60), || false).unwrap_err().0, SIGHUP);
    forget();
    assert!(!wait_until(Duration::ZERO, || false).unwrap());

    ignore_hangups();
    raise(SIGHUP).unwrap();
    assert!(wait_until(Duration::ZERO, || true).unwrap());
    raise(SIGTERM).unwrap();
    assert_eq!(wait_until(Duration::from_secs(60), || false).unwrap_err().0, SIGTERM);
}
