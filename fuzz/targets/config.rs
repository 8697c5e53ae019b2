//! A configuration. What is wrong is said in lines that name the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use webmon::config::{Config, Role};

fuzz_target!(|text: &str| {
    // What names a file reads it. The fuzzer must not guess one that never ends.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    for role in [Role::Check, Role::Store, Role::Inspect] {
        if let Err(error) = Config::from_toml(text, role) {
            for line in error.to_string().lines() {
                assert!(line.starts_with("config") && line.len() > "config".len(), "{line:?}");
            }
        }
    }
});
