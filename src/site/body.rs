//! The body of a request.

use std::fmt;
use std::sync::Arc;

/// The body of a site's requests. `Debug` shows its length alone, because it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestBody {
    /// At most 1 MiB.
    pub content: Arc<[u8]>,
    /// The value of `Content-Type`, unless the site has a header of that name.
    pub content_type: String,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("bytes", &self.content.len())
            .field("content_type", &self.content_type)
            .finish()
    }
}
