//! Where a request goes, and which secrets go with it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderValue, Request};
use url::Url;

use super::fault::Fault;
use crate::record::ErrorType;
use crate::text::truncated;

/// The longest line of the request's head, with some room for what ureq adds.
pub(super) fn longest_line(request: &Request<()>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    headers.chain([target]).max().unwrap_or_default() + 64
}

/// Where `location` leads from `url`, without the credentials in it.
pub(super) fn redirected(url: &Url, location: &HeaderValue) -> Result<Url, Fault> {
    let invalid = || Fault::new(ErrorType::Redirect, "invalid_location", "the location is not a URL");
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| invalid())?;
    let mut target = url.join(location).map_err(|_| invalid())?;
    if !matches!(target.scheme(), "http" | "https") {
        let message = format!("redirected to {:?}: expected http or https", truncated(target.scheme(), 40));
        return Err(Fault::new(ErrorType::Redirect, "bad_scheme", message));
    }
    let _ = target.set_username("");
    let _ = target.set_password(None);
    Ok(target)
}

/// Whether secrets of `site` may be sent to `url`: the same origin, or the `https` of a plain host.
pub(super) fn same_party(site: &Url, url: &Url) -> bool {
    let ports = (site.port_or_known_default(), url.port_or_known_default());
    let upgraded = (site.scheme(), url.scheme()) == ("http", "https") && ports == (Some(80), Some(443));
    site.host() == url.host() && (upgraded || (site.scheme() == url.scheme() && ports.0 == ports.1))
}

/// `Authorization` for the credentials in `url` (RFC 7617), if it has any.
pub(super) fn basic_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn secrets_stay_with_their_own_host() {
        for (site, target, expected) in [
            ("http://shop.example/a", "http://shop.example/b", true),
            ("http://shop.example/", "https://shop.example/", true),
            ("https://shop.example/", "http://shop.example/", false),
            ("https://shop.example/", "https://www.shop.example/", false),
            ("https://shop.example/", "https://shop.example:8443/", false),
            ("http://shop.example:8080/", "https://shop.example/", false),
        ] {
            assert_eq!(same_party(&url(site), &url(target)), expected, "{site} to {target}");
        }
    }

    #[test]
    fn credentials_are_those_of_the_url_undone_of_its_encoding() {
        let value = basic_credentials(&url("http://a%40b:p%3Aw@shop.example/")).unwrap();
        assert_eq!(value, format!("Basic {}", BASE64_STANDARD.encode("a@b:p:w")));
        assert_eq!(basic_credentials(&url("http://shop.example/")), None);
    }

    #[test]
    fn a_location_leads_where_a_browser_would_go() {
        let base = url("http://shop.example/a/b?c");
        for (location, expected) in [
            ("d", "http://shop.example/a/d"),
            ("/d?e#f", "http://shop.example/d?e#f"),
            ("//other.example", "http://other.example/"),
            ("https://user:secret@other.example/x", "https://other.example/x"),
            ("/gr\u{fc}\u{df}e", "http://shop.example/gr%C3%BC%C3%9Fe"),
        ] {
            let value = HeaderValue::from_bytes(location.as_bytes()).unwrap();
            assert_eq!(redirected(&base, &value).unwrap().as_str(), expected, "{location}");
        }
        for (location, detail) in [
            ("http://[::1", "invalid_location"),
            ("http://", "invalid_location"),
            ("ftp://shop.example/", "bad_scheme"),
            ("javascript:alert(1)", "bad_scheme"),
        ] {
            let value = HeaderValue::from_str(location).unwrap();
            let fault = redirected(&base, &value).unwrap_err();
            assert_eq!((fault.error_type, fault.detail), (ErrorType::Redirect, detail), "{location}");
        }
    }
}
