//! A configuration of several files: variables, templates, included files, discovered targets, and the commands that read
//! them.

#![cfg(all(feature = "check", feature = "alerts", feature = "librdkafka", feature = "cli"))]

mod disabled;
mod discover;
mod folder;
mod include;
mod init;
mod reload;
#[path = "../support/sites.rs"]
mod sites;
#[path = "../support/mod.rs"]
mod support;
mod template;
mod validate;
mod variables;
mod watch;

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");
