//! A URL fit for records and logs.

use url::Url;

use crate::limits::MAX_URL;
use crate::text::truncated;

/// Returns `url` without credentials and fragment. Unless `keep_query`, the values of its query are removed too.
pub fn redacted(url: &Url, keep_query: bool) -> String {
    truncated(&whole(url, keep_query), MAX_URL)
}

/// As [`redacted`], however long it is.
pub(super) fn whole(url: &Url, keep_query: bool) -> String {
    let mut url = url.clone();
    // Both calls fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if !keep_query && let Some(query) = url.query() {
        let hidden: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key, _)) => format!("{key}=..."),
                // Without `=` it may be a key or a token.
                None => "...".to_owned(),
            })
            .collect();
        url.set_query(Some(&hidden.join("&")));
    }
    url.into()
}
