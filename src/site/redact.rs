//! A URL fit for records and logs.

use url::Url;

use crate::limits::MAX_URL;
use crate::text::truncated;

/// `url` without credentials and fragment and, unless `keep_query`, without the values of its query.
pub fn redacted(url: &Url, keep_query: bool) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have credentials, which then have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if !keep_query && let Some(query) = url.query() {
        let hidden: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key, _)) => format!("{key}=..."),
                // Without `=` there's no telling a key from a token.
                None => "...".to_owned(),
            })
            .collect();
        url.set_query(Some(&hidden.join("&")));
    }
    truncated(url.as_str(), MAX_URL)
}
