//! Hours, days and incidents on a real PostgreSQL: whatever arrives in whatever order, they are what a derivation from
//! all results and gaps, in Rust, comes to.

mod any_order;
mod common;
mod failing;
mod gaps;
mod incidents;
mod locks;
mod older;
mod races;
mod read;
mod retention;
mod retirement;
mod roles;
mod slo;
#[path = "../support/mod.rs"]
mod support;
mod thresholds;
