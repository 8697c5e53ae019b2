//! The request's method.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A request method.
///
/// ```
/// use webmon::site::Method;
///
/// assert_eq!("POST".parse::<Method>()?, Method::Post);
/// assert_eq!("PROPFIND".parse::<Method>()?.as_str(), "PROPFIND");
/// assert!("CONNECT".parse::<Method>().is_err());
/// # Ok::<(), webmon::site::MethodError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD. There is no body, so no expectation of it.
    Head,
    /// OPTIONS
    Options,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// Any other one. Made by `parse`.
    Other(Arc<str>),
}

impl Method {
    /// The method's name in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Other(name) => name,
        }
    }
}

impl FromStr for Method {
    type Err = MethodError;

    /// Reads a method's name: 1 to 16 characters of a token (RFC 9110, 5.6.2), without lower-case letters.
    ///
    /// # Errors
    /// Anything else; `CONNECT`, which asks a proxy for a tunnel; and `TRACE`, whose answer would repeat the secrets of
    /// the request.
    fn from_str(text: &str) -> Result<Method, MethodError> {
        let is_token =
            |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&c);
        Ok(match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "CONNECT" | "TRACE" => return Err(MethodError { text: text.to_owned() }),
            _ if (1..=16).contains(&text.len()) && text.bytes().all(is_token) => Method::Other(text.into()),
            _ => return Err(MethodError { text: text.to_owned() }),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not a [`Method`] that a check can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not supported: expected a method in upper case, but not CONNECT or TRACE")]
pub struct MethodError {
    text: String,
}
