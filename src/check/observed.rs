//! A check's result together with the last response, for people who look at one check.

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::request::authorization;
use super::sample::SECRET_HEADERS;
use crate::limits::{MAX_MESSAGE, MAX_SAMPLE_BODY};
use crate::record::CheckResult;
use crate::site::{Auth, Site};
use crate::text::truncated;

/// The most headers of [`Observed::headers`].
pub const MAX_OBSERVED_HEADERS: usize = 128;
/// Headers of a request whose values are no secrets.
const PUBLIC_HEADERS: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::ORIGIN,
    header::PRAGMA,
    header::USER_AGENT,
];
/// What is shown for a secret.
const HIDDEN: &str = "***";
/// A shorter text is no secret that could be found in a response.
const SHORTEST_SECRET: usize = 4;

/// What a check came to, and what its record does not hold of the last response.
///
/// Cookies and credentials that the site sends are shown as `***`. So are the site's own secrets (its credentials, the
/// values of its headers, its body, and the variables in its URL) where the response repeats them as they are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observed {
    /// The record.
    pub result: CheckResult,
    /// The headers of the last response: at most [`MAX_OBSERVED_HEADERS`], each value at most 1,024 bytes.
    pub headers: Vec<(String, String)>,
    /// The start of the last response's body as text, at most 4,096 bytes. `None` if there was none, or if it was not
    /// read.
    pub body: Option<String>,
}

impl Observed {
    pub(super) fn new(result: CheckResult, seen: Seen) -> Observed {
        Observed { result, headers: seen.headers, body: seen.body }
    }
}

/// The last response, fit to be shown.
#[derive(Default)]
pub(super) struct Seen {
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Seen {
    /// What `url` answered; `text` is its body. `token` is what was sent as `Authorization`, if the site needs one.
    pub(super) fn of(
        site: &Site,
        token: Option<&HeaderValue>,
        url: &Url,
        headers: &HeaderMap,
        text: Option<&str>,
    ) -> Seen {
        let secrets = secrets(site, token);
        let headers = headers.iter().take(MAX_OBSERVED_HEADERS).map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = if SECRET_HEADERS.contains(name) {
                HIDDEN.to_owned()
            } else if *name == header::LOCATION
                && let Ok(url) = url.join(&value)
            {
                // A redirect often carries a token in its query.
                site.redacted(&url)
            } else {
                without(&secrets, &value)
            };
            (truncated(name.as_str(), MAX_MESSAGE), truncated(&value, MAX_MESSAGE))
        });
        let body = text.map(|text| {
            // Longer than what is shown, so that no secret stays in part at the end.
            let start = truncated(text, MAX_SAMPLE_BODY * 2);
            truncated(&without(&secrets, &start), MAX_SAMPLE_BODY)
        });
        Seen { headers: headers.collect(), body }
    }
}

/// What a response must not show of the request.
fn secrets(site: &Site, token: Option<&HeaderValue>) -> Vec<String> {
    let public = |name: &str| PUBLIC_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_str()));
    let own = site.headers.iter().filter(|(name, _)| !public(name));
    let mut secrets: Vec<String> = own.map(|(_, value)| value.clone()).collect();
    secrets.extend(site.url.password().map(str::to_owned));
    if let Some(Auth::Basic { password, .. }) = &site.auth {
        secrets.push(password.reveal().to_owned());
    }
    if let Some(value) = authorization(site, token)
        && let Ok(value) = value.to_str()
    {
        // `Bearer` and `Basic` are no secrets.
        secrets.push(value.split_once(' ').map_or(value, |(_, secret)| secret).to_owned());
    }
    secrets.extend(site.body.as_ref().map(|body| String::from_utf8_lossy(&body.content).into_owned()));
    secrets.extend_from_slice(site.hidden.of_url());
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // The longest first: one may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use crate::secret::Secret;
    use crate::site::{ClientCredentials, Hidden, RequestBody};

    #[test]
    fn what_is_observed_shows_no_cookie_and_no_secret_of_the_request() {
        let schedule = Schedule::new("@hourly", "UTC").unwrap();
        let mut site = Site::new("shop", "http://me:pa55word@shop.example/".parse().unwrap(), schedule);
        site.headers = vec![("X-Api-Key", "s3cr3t-key"), ("Accept", "text/html")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "session=abc"),
            ("location", "/next?token=abc"),
            ("x-echo", "key s3cr3t-key, Basic bWU6cGE1NXdvcmQ="),
            ("server", "one's own"),
            ("content-type", "text/html"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let seen = Seen::of(&site, None, &site.url, &headers, Some("you sent s3cr3t-key and pa55word"));
        let shown: Vec<_> =
            seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("set-cookie", "***"),
                ("location", "http://shop.example/next?token=..."),
                ("x-echo", "key ***, Basic ***"),
                ("server", "one's own"),
                ("content-type", "text/html"),
            ]
        );
        assert_eq!(seen.body.unwrap(), "you sent *** and ***");
    }

    #[test]
    fn what_is_observed_shows_no_credentials_no_body_and_no_variables() {
        let schedule = Schedule::new("@hourly", "UTC").unwrap();
        let url: Url = "http://shop.example/T0ken/ping".parse().unwrap();
        let mut site = Site::new("shop", url.clone(), schedule);
        site.hidden = Hidden::new(&url, &["T0ken".to_owned()], Vec::new());
        let content = b"password=hunter2".as_slice();
        site.body = Some(RequestBody { content: content.into(), content_type: "text/plain".to_owned() });
        let (headers, token) = (HeaderMap::new(), HeaderValue::from_static("Bearer t0ken-of-oauth"));
        let client = ClientCredentials {
            token_url: url.clone(),
            client_id: "webmon".to_owned(),
            client_secret: Secret::new("client-secret"),
            scope: None,
            audience: None,
        };
        let basic = Auth::Basic { username: "me".to_owned(), password: Secret::new("pa55word") };
        for (auth, token, echo) in [
            (Auth::Bearer(Secret::new("b3arer")), None, "Authorization: Bearer b3arer"),
            (basic, None, "Authorization: Basic bWU6cGE1NXdvcmQ= (pa55word)"),
            (Auth::OAuth2(client), Some(&token), "Authorization: Bearer t0ken-of-oauth"),
        ] {
            site.auth = Some(auth);
            let text = format!("POST /T0ken/ping\n{echo}\n\npassword=hunter2");
            let body = Seen::of(&site, token, &url, &headers, Some(&text)).body.unwrap();
            for secret in ["T0ken", "b3arer", "pa55word", "bWU6", "t0ken-of-oauth", "hunter2"] {
                assert!(!body.contains(secret), "{secret} is in {body}");
            }
            assert!(body.starts_with("POST /***/ping\nAuthorization: B"), "{body}");
        }
    }

    #[test]
    fn what_is_observed_is_bounded() {
        let schedule = Schedule::new("@hourly", "UTC").unwrap();
        let site = Site::new("shop", "http://shop.example/".parse().unwrap(), schedule);
        let mut headers = HeaderMap::new();
        for _ in 0..1_000 {
            headers.append("a", "b".repeat(5_000).parse().unwrap());
        }
        let seen = Seen::of(&site, None, &site.url, &headers, Some(&"ä".repeat(10_000)));
        assert_eq!((seen.headers.len(), seen.headers[0].1.len()), (MAX_OBSERVED_HEADERS, MAX_MESSAGE));
        assert_eq!(seen.body.unwrap().len(), MAX_SAMPLE_BODY);
    }
}
