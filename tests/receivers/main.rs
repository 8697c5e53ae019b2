//! Receivers of alerts: what each is sent, what its answers mean, and that none of them can hold webmon up.

#![cfg(all(feature = "check", feature = "alerts"))]

mod alertmanager;
mod answers;
mod bodies;
mod email;
mod listener;
mod mail_server;
mod messages;
mod program;
mod recipes;
mod secrets;
#[path = "../support/sites.rs"]
mod sites;
#[path = "../support/mod.rs"]
mod support;
mod webhook;
