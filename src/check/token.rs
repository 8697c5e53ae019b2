//! Bearer tokens for client credentials (OAuth 2): asked for once, shared by all checks, and asked for again before they
//! expire.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::HeaderValue;
use url::form_urlencoded;

use super::fault::Fault;
use crate::mutex::lock;
use crate::record::ErrorType;
use crate::schedule::Schedule;
use crate::secret::Secret;
use crate::site::{Auth, ClientCredentials, Method, RequestBody, Site};

/// The largest answer of a token endpoint, in bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// How long nobody asks again after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a token is used if the endpoint does not say it, and at most.
const USUAL_LIFE: u64 = 300;
const MAX_LIFE: u64 = 86_400;
/// The most credentials whose tokens are kept.
const MAX_TOKENS: usize = 10_000;

/// The tokens of this process.
static TOKENS: LazyLock<Mutex<HashMap<ClientCredentials, Arc<Slot>>>> = LazyLock::new(Mutex::default);

/// The token for one client, and whoever asks for it.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Somebody is asking until then.
    asking: Option<Instant>,
    /// When asking last failed, and why.
    failed: Option<(Instant, String)>,
}

struct Token {
    value: HeaderValue,
    renew_at: Instant,
}

/// The `Authorization` for `client`. Asks with `ask` if there is no token, or it is about to expire; `ask` returns the
/// status and the body of the answer. Waits for whoever asks already, until `deadline`.
///
/// # Errors
/// If there is no token. That is never the failure of a site.
pub(super) fn authorization(
    client: &ClientCredentials,
    deadline: Instant,
    ask: impl FnOnce(Instant) -> Result<(u16, String), Fault>,
) -> Result<HeaderValue, Fault> {
    let slot = slot(client);
    {
        let mut state = lock(&slot.state);
        loop {
            let now = Instant::now();
            if let Some(token) = state.token.as_ref().filter(|token| now < token.renew_at) {
                return Ok(token.value.clone());
            }
            if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| now < *at + PAUSE) {
                return Err(no_token(why));
            }
            if now >= deadline {
                return Err(no_token("there was no time left to ask for one"));
            }
            match state.asking.filter(|until| now < *until) {
                None => break,
                Some(until) => {
                    let left = until.min(deadline) - now;
                    state = slot.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        state.asking = Some(deadline);
    }
    let asked = ask(deadline).map_err(|fault| format!("{}: {}", fault.error_type, fault.message));
    let token = asked.and_then(|(status, body)| read(status, &body));
    let mut state = lock(&slot.state);
    state.asking = None;
    let result = match token {
        Ok(token) => {
            state.failed = None;
            Ok(state.token.insert(token).value.clone())
        }
        Err(why) => {
            let fault = no_token(&why);
            state.failed = Some((Instant::now(), why));
            Err(fault)
        }
    };
    drop(state);
    slot.changed.notify_all();
    result
}

/// Forgets a token that a site has refused. Returns whether another one may be asked for.
pub(super) fn refused(client: &ClientCredentials, value: &HeaderValue) -> bool {
    let slot = slot(client);
    let mut state = lock(&slot.state);
    if state.token.as_ref().is_some_and(|token| token.value == value) {
        state.token = None;
        return true;
    }
    // Somebody else has a newer one.
    state.token.is_some()
}

fn slot(client: &ClientCredentials) -> Arc<Slot> {
    let mut tokens = lock(&TOKENS);
    if tokens.len() >= MAX_TOKENS && !tokens.contains_key(client) {
        tokens.clear();
    }
    Arc::clone(tokens.entry(client.clone()).or_default())
}

/// The token endpoint as a site.
pub(super) fn endpoint(client: &ClientCredentials, schedule: Schedule) -> Site {
    let mut site = Site::new("token", client.token_url.clone(), schedule);
    site.method = Method::Post;
    site.headers = vec![("accept".to_owned(), "application/json".to_owned())];
    site.body = Some(RequestBody {
        content: form(client).into_bytes().into(),
        content_type: "application/x-www-form-urlencoded".to_owned(),
    });
    site.auth = Some(Auth::Basic {
        username: encoded(&client.client_id),
        password: Secret::new(encoded(client.client_secret.reveal())),
    });
    site.max_redirects = 0;
    site.max_body = MAX_ANSWER;
    site
}

/// The body of the request for a token (RFC 6749, section 4.4.2).
fn form(client: &ClientCredentials) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &client.scope), ("audience", &client.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    form.finish()
}

/// A part of the client's credentials as it is put into basic authentication (RFC 6749, section 2.3.1).
fn encoded(part: &str) -> String {
    form_urlencoded::byte_serialize(part.as_bytes()).collect()
}

/// An answer of a token endpoint (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<f64>,
}

fn read(status: u16, body: &str) -> Result<Token, String> {
    if status != 200 {
        return Err(format!("the token endpoint answered with status {status}"));
    }
    // The error is not shown: it may quote the answer.
    let answer: Answer = serde_json::from_str(body)
        .map_err(|_| "the token endpoint's answer has no access_token".to_owned())?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", answer.access_token))
        .map_err(|_| "the token endpoint's access_token cannot be sent".to_owned())?;
    value.set_sensitive(true);
    let life = answer.expires_in.map_or(USUAL_LIFE, |seconds| seconds as u64).clamp(1, MAX_LIFE);
    // A tenth of its life early, so that it does not expire on the way.
    let renew_at = Instant::now() + Duration::from_secs(life).mul_f64(0.9);
    Ok(Token { value, renew_at })
}

fn no_token(why: &str) -> Fault {
    Fault::new(ErrorType::Cancelled, "no_token", format!("no OAuth 2 token: {why}"))
}
