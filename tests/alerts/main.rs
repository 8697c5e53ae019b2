//! Alerts on a real PostgreSQL: what begins and ends, who is told, and that each is told once.

mod any_order;
mod commands;
mod hook;
mod judging;
mod own;
mod proof;
mod pulse;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod telling;
