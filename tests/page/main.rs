//! The status pages over HTTP: what they show, to whom, and what they cost.

#[path = "../support/mod.rs"]
mod support;

mod access;
#[path = "../support/browser.rs"]
mod browser;
mod common;
mod in_a_browser;
mod kept;
mod limits;
mod openapi;
mod shown;

use support::skip;
