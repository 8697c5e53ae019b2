//! The credentials that a site asks for.

use url::Url;

use crate::secret::Secret;

/// How a site's requests are authorized. It is sent to the site's own host alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A bearer token (RFC 6750).
    Bearer(Secret),
    /// User name and password (RFC 7617).
    Basic {
        /// The user's name, without a colon.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token from a token endpoint, for client credentials (OAuth 2, RFC 6749, section 4.4).
    OAuth2(ClientCredentials),
}

/// What a token is asked for with. All sites with the same credentials share one token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCredentials {
    /// The token endpoint: `https`, or `http` on this host.
    pub token_url: Url,
    /// The client's identifier.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// The scope of the token, if one is asked for.
    pub scope: Option<String>,
    /// The audience of the token, for servers that want one.
    pub audience: Option<String>,
}
