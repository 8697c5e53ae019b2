//! Where a request goes, and which secrets go with it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderName, HeaderValue, Request, header};
use url::Url;

use super::fault::Fault;
use super::way::Way;
use crate::record::ErrorType;
use crate::site::{Auth, Method, Site};
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

/// The request for `url`. The site's own headers and credentials, and the `token` if it needs one, are added where they
/// may be sent.
pub(super) fn request(
    site: &Site,
    method: &Method,
    url: &Url,
    token: Option<&HeaderValue>,
) -> Result<Request<()>, Fault> {
    let mut target = url.clone();
    // Both calls fail only for URLs that cannot have credentials.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    target.set_fragment(None);
    let mut request = Request::builder().method(method.as_str()).uri(target.as_str());
    if let Some(headers) = request.headers_mut() {
        // The server should close first, so that the port stays in TIME_WAIT on its side and not on ours.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if same_party(&site.url, url) {
            if let Some(value) = authorization(site, token) {
                headers.insert(header::AUTHORIZATION, value);
            }
            if let Some(host) = &site.host {
                headers.insert(header::HOST, valid("the site's host", host.parse())?);
            }
            if let Some(body) = site.body.as_ref().filter(|_| *method == site.method) {
                let value = valid("the body's content type", body.content_type.parse())?;
                headers.insert(header::CONTENT_TYPE, value);
            }
            for (index, (name, value)) in site.headers.iter().enumerate() {
                let header = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
                let Some((name, value)) = header else {
                    return Err(Fault::invalid_request(format!("header {index} of the site is malformed")));
                };
                headers.insert(name, value);
            }
        }
    }
    request.body(()).map_err(|_| Fault::invalid_request("the URL cannot be requested"))
}

fn valid<E>(what: &str, value: Result<HeaderValue, E>) -> Result<HeaderValue, Fault> {
    value.map_err(|_| Fault::invalid_request(format!("{what} is malformed")))
}

/// What is sent to `url`, or `None` if the request has no body at all.
///
/// # Errors
/// If the site's body would go to another host than its own.
pub(super) fn body_of<'a>(site: &'a Site, method: &Method, url: &Url) -> Result<Option<&'a [u8]>, Fault> {
    match &site.body {
        Some(body) if *method == site.method => {
            if same_party(&site.url, url) {
                return Ok(Some(&body.content));
            }
            let message = "redirected to another host, to which the request's body is not sent";
            Err(Fault::new(ErrorType::Redirect, "other_host", message))
        }
        // These announce an empty body.
        _ => Ok(matches!(method, Method::Post | Method::Put | Method::Patch).then_some(&[])),
    }
}

/// The method that follows a redirect with `status`, as browsers choose it (the fetch standard, "HTTP-redirect fetch").
pub(super) fn method_after(status: u16, method: Method) -> Method {
    match (status, &method) {
        (301 | 302, Method::Post) => Method::Get,
        (303, Method::Get | Method::Head) => method,
        (303, _) => Method::Get,
        _ => method,
    }
}

/// Whether secrets of `site` may be sent to `url`: the same origin, or the `https` of a plain host.
pub(super) fn same_party(site: &Url, url: &Url) -> bool {
    let ports = (site.port_or_known_default(), url.port_or_known_default());
    let upgraded = (site.scheme(), url.scheme()) == ("http", "https") && ports == (Some(80), Some(443));
    site.host() == url.host() && (upgraded || (site.scheme() == url.scheme() && ports.0 == ports.1))
}

/// How a request for `url` gets there, to which `site` has led.
pub(super) fn way(site: &Site, url: &Url) -> Way {
    let mut network = site.network.clone();
    if site.url.host() != url.host() {
        network.resolve.clear();
    }
    Way { network, tls: site.tls.clone().filter(|_| same_party(&site.url, url)) }
}

/// `Authorization` for the site's own host.
pub(super) fn authorization(site: &Site, token: Option<&HeaderValue>) -> Option<HeaderValue> {
    let value = match &site.auth {
        None => basic_credentials(&site.url),
        Some(Auth::Bearer(token)) => HeaderValue::try_from(format!("Bearer {}", token.reveal())).ok(),
        Some(Auth::Basic { username, password }) => {
            basic([username.as_bytes(), b":", password.reveal().as_bytes()].concat())
        }
        Some(Auth::OAuth2(_)) => token.cloned(),
    };
    value.map(|mut value| {
        value.set_sensitive(true);
        value
    })
}

fn basic(pair: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()
}

/// `Authorization` for the credentials in `url` (RFC 7617), if it has any.
pub(super) fn basic_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    basic(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_keeps_the_method_where_browsers_do() {
        let purge: Method = "PURGE".parse().unwrap();
        for (status, method, expected) in [
            (301, Method::Post, Method::Get),
            (302, Method::Post, Method::Get),
            (302, Method::Put, Method::Put),
            (303, Method::Put, Method::Get),
            (303, Method::Head, Method::Head),
            (307, Method::Post, Method::Post),
            (308, purge.clone(), purge),
        ] {
            assert_eq!(method_after(status, method.clone()), expected, "{status} {method}");
        }
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
