//! Who may see a page.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::config::{PageAuth, Web};

/// Why somebody may not see a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A name and a password are needed.
    Password,
    /// The proxy names nobody, or it is not one that is believed.
    Proxy,
}

/// Whether somebody at `peer` with these headers may see a page.
///
/// # Errors
/// [`Refusal`].
pub(super) fn check(
    auth: Option<&PageAuth>,
    web: &Web,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    match auth {
        None => Ok(()),
        Some(PageAuth::Basic { username, password }) => {
            let wanted = format!("{username}:{}", password.reveal());
            match given(headers) {
                Some(given) if same(&given, wanted.as_bytes()) => Ok(()),
                _ => Err(Refusal::Password),
            }
        }
        Some(PageAuth::Header(name)) => {
            let named = headers.get(name).is_some_and(|value| !value.is_empty());
            if named && web.trusts(peer) { Ok(()) } else { Err(Refusal::Proxy) }
        }
    }
}

/// `name:password` of the request.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())?
}

/// Compares digests, so that the time it takes tells nothing of the texts.
fn same(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_right_name_and_password_open_a_page() {
        let auth = PageAuth::Basic { username: "team".to_owned(), password: Secret::new("s3cret:x") };
        let peer = "127.0.0.1".parse().unwrap();
        let check = |value: &str| check(Some(&auth), &Web::default(), peer, &headers("authorization", value));
        let encoded = STANDARD.encode("team:s3cret:x");
        assert_eq!(check(&format!("Basic {encoded}")), Ok(()));
        assert_eq!(check(&format!("basic {encoded}")), Ok(()));
        for wrong in ["team:s3cret", "team:", ":s3cret:x", "team:s3cret:xx"] {
            assert_eq!(
                check(&format!("Basic {}", STANDARD.encode(wrong))),
                Err(Refusal::Password),
                "{wrong}"
            );
        }
        assert_eq!(check(&format!("Bearer {encoded}")), Err(Refusal::Password));
        assert_eq!(check("Basic !!!"), Err(Refusal::Password));
    }

    #[test]
    fn a_header_is_believed_from_the_proxies_alone() {
        let auth = PageAuth::Header("x-user".to_owned());
        let web = Web { proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Web::default() };
        let check =
            |peer: &str, headers: &HeaderMap| check(Some(&auth), &web, peer.parse().unwrap(), headers);
        assert_eq!(check("10.1.2.3", &headers("x-user", "ann")), Ok(()));
        assert_eq!(check("::ffff:10.1.2.3", &headers("x-user", "ann")), Ok(()));
        assert_eq!(check("192.0.2.1", &headers("x-user", "ann")), Err(Refusal::Proxy));
        assert_eq!(check("10.1.2.3", &headers("x-user", "")), Err(Refusal::Proxy));
        assert_eq!(check("10.1.2.3", &HeaderMap::new()), Err(Refusal::Proxy));
    }
}
