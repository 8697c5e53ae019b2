//! The status pages over HTTP: what they show, to whom, and what they cost.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod common;
mod kept;
mod limits;
mod shown;
