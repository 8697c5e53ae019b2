//! What all programs share: the head of the command line, logging, exit codes, and the signals that end them.

pub mod args;
pub mod exit;
pub mod logging;
pub mod progress;
pub mod signals;
