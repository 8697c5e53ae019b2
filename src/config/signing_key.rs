//! The key with which a webhook is signed.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// The sizes that a key may have, in bytes.
const SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key with which a webhook is signed (Standard Webhooks 1.0, symmetric). It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// The text is not such a secret. The message holds no part of it.
    pub fn new(text: &str) -> Result<SigningKey, &'static str> {
        const WRONG: &str = "is not a signing secret: expected \"whsec_\" and 24 to 64 bytes in base64";
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let base64 = GeneralPurpose::new(&STANDARD, config);
        let key = text.strip_prefix(PREFIX).and_then(|key| base64.decode(key).ok());
        key.filter(|key| SIZES.contains(&key.len())).map(SigningKey).ok_or(WRONG)
    }

    /// The bytes, for the one place that needs them.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}
