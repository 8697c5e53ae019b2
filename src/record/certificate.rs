//! The certificate that a server presented.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_SUBJECT_NAMES, MAX_TEXT};

/// The certificate of the last hop's server; also one that failed verification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// The SHA-256 of the certificate in DER: 64 lower-case hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// The distinguished name of the issuer. It may be empty.
    #[schemars(length(max = MAX_TEXT))]
    pub issuer: String,
    /// The names and addresses it is for, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_SUBJECT_NAMES), inner(length(max = MAX_NAME)))]
    pub subject_names: Vec<String>,
    /// When the first certificate of the chain expires, in whole seconds; null if no expiry could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_not_after: Option<Timestamp>,
}
