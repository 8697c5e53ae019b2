//! webmon (skeleton)
#[cfg(feature = "check")]
pub mod check;
pub mod result;
pub mod schedule;
pub mod shutdown;
pub mod site;
