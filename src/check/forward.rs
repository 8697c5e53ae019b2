//! A request over plain HTTP as a proxy wants it: with the whole URL in its first line (RFC 9112, 3.2.2).

use ureq::http::{HeaderValue, Uri};

use super::request::basic_credentials;
use crate::site::Proxy;

/// What a proxy wants to see in a request's head.
#[derive(Debug)]
pub(super) struct Forward {
    /// What comes before the path.
    origin: String,
    credentials: Option<HeaderValue>,
}

impl Forward {
    pub(super) fn new(proxy: &Proxy, uri: &Uri) -> Forward {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Forward { origin: format!("http://{authority}"), credentials: basic_credentials(proxy.url()) }
    }

    /// `head`, a request's head or at least its first line, as the proxy wants it.
    pub(super) fn rewritten(&self, head: &[u8]) -> Vec<u8> {
        let mut rewritten = Vec::with_capacity(head.len() + self.origin.len() + 256);
        let line_end = head.windows(2).position(|two| two == b"\r\n").map_or(head.len(), |at| at + 2);
        let (line, rest) = head.split_at(line_end);
        let method_end = line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
        rewritten.extend_from_slice(&line[..method_end]);
        rewritten.extend_from_slice(self.origin.as_bytes());
        rewritten.extend_from_slice(&line[method_end..]);
        if let Some(credentials) = &self.credentials {
            rewritten.extend_from_slice(b"proxy-authorization: ");
            rewritten.extend_from_slice(credentials.as_bytes());
            rewritten.extend_from_slice(b"\r\n");
        }
        rewritten.extend_from_slice(rest);
        rewritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_and_the_credentials_change() {
        let head = b"GET /a?b HTTP/1.1\r\nhost: shop.example:81\r\n\r\n";
        let rewritten = |proxy: &str| {
            let proxy = Proxy::new(proxy.parse().unwrap()).unwrap();
            let uri = "http://shop.example:81/a?b".parse().unwrap();
            String::from_utf8(Forward::new(&proxy, &uri).rewritten(head)).unwrap()
        };
        let line = "GET http://shop.example:81/a?b HTTP/1.1\r\n";
        assert_eq!(rewritten("http://proxy.example"), format!("{line}host: shop.example:81\r\n\r\n"));
        assert_eq!(
            rewritten("http://a:b@proxy.example"),
            format!("{line}proxy-authorization: Basic YTpi\r\nhost: shop.example:81\r\n\r\n")
        );
    }
}
