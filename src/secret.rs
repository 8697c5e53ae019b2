//! A text that is never shown.

use std::fmt;

/// A text that is never shown: not by `Debug`, not in a log.
///
/// ```
/// use webmon::secret::Secret;
///
/// let secret = Secret::new("hunter2");
/// assert_eq!((format!("{secret:?}").as_str(), secret.reveal()), ("Secret(***)", "hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
