//! Checks. (skeleton)
