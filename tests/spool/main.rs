//! The spool: what was appended stays, through restarts, `kill -9`, full disks, damaged files and long outages.

#![cfg(all(feature = "check", feature = "alerts", feature = "librdkafka", feature = "cli"))]

mod cursor;
mod damage;
#[path = "../support/disk.rs"]
mod disk;
mod faults;
mod forgotten;
mod full;
mod full_disk;
mod headers;
mod keeping;
mod killed;
mod leftover;
mod outage;
mod panicked;
mod program;
mod program_faults;
mod random_faults;
mod refused;
#[path = "../support/sites.rs"]
mod sites;
#[path = "../support/spool.rs"]
mod spool;
#[path = "../support/mod.rs"]
mod support;
mod watermarks;

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");
