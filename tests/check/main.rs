//! Checks against sites on loopback: what each kind of answer, and each kind of trouble, comes to in the record.

#![cfg(feature = "check")]

#[path = "../support/checked.rs"]
mod checked;
mod misbehaving;
mod names;
mod pool;
mod recorded;
mod redirects;
mod retries;
mod secrets;
mod site;
#[path = "../support/sites.rs"]
mod sites;
mod time;
mod tls;
