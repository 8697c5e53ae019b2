//! The name of a header.

pub(super) const NOT_A_HEADER: &str = "is not a header's name: expected letters, digits or \"-\"";

/// Whether `name` is a token (RFC 9110, 5.6.2).
pub(super) fn is_header_name(name: &str) -> bool {
    name.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}
