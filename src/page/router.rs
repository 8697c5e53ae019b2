//! The addresses of a page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;

use super::front::Filter;
use super::history::Before;
use super::route::{self, Format, Route};
use super::serving::{Peer, Serving};

/// The addresses of a page. Each of them only reads.
pub(super) fn router(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/index.json", get(front_json))
        .route("/wall", get(wall))
        .route("/wall.json", get(wall_json))
        .route("/sites/{id}", get(site))
        .route("/incidents", get(incidents))
        .route("/incidents.json", get(incidents_json))
        .route("/incidents.atom", get(feed))
        .route("/incidents/{id}", get(incident))
        .route("/badges/{id}/{kind}", get(badge))
        .route("/logo", get(logo))
        .route("/icon.svg", get(icon))
        .route("/openapi.json", get(open_api))
        .fallback(nothing)
        .with_state(serving)
}

type App = State<Arc<Serving>>;
type From = Extension<Peer>;
/// What cannot be read asks for nothing.
type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    before: String,
}

fn filtered(filter: Asked<Filter>) -> Route {
    Route::front(filter.map(|Query(filter)| filter).unwrap_or_default())
}

async fn front(
    State(app): App,
    Extension(peer): From,
    filter: Asked<Filter>,
    headers: HeaderMap,
) -> Response<Body> {
    app.answer(Some(filtered(filter)), Format::accepted(&headers), peer, &headers).await
}

async fn front_json(
    State(app): App,
    Extension(peer): From,
    filter: Asked<Filter>,
    headers: HeaderMap,
) -> Response<Body> {
    app.answer(Some(filtered(filter)), Format::Json, peer, &headers).await
}

async fn wall(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(Some(Route::Wall), Format::accepted(&headers), peer, &headers).await
}

async fn wall_json(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(Some(Route::Wall), Format::Json, peer, &headers).await
}

async fn site(
    State(app): App,
    Extension(peer): From,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let (id, format) = Format::of(&id, &headers);
    let route = route::is_name(id).then(|| Route::Site(id.to_owned()));
    app.answer(route, format, peer, &headers).await
}

async fn incidents(
    State(app): App,
    Extension(peer): From,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response<Body> {
    app.answer(listed(query), Format::accepted(&headers), peer, &headers).await
}

async fn incidents_json(
    State(app): App,
    Extension(peer): From,
    query: Asked<ListQuery>,
    headers: HeaderMap,
) -> Response<Body> {
    app.answer(listed(query), Format::Json, peer, &headers).await
}

fn listed(query: Asked<ListQuery>) -> Option<Route> {
    let before = query.map(|Query(query)| query.before).unwrap_or_default();
    match before.as_str() {
        "" => Some(Route::Incidents(None)),
        before => Before::parse(before).map(|before| Route::Incidents(Some(before))),
    }
}

async fn incident(
    State(app): App,
    Extension(peer): From,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let (id, format) = Format::of(&id, &headers);
    app.answer(id.parse().ok().map(Route::Incident), format, peer, &headers).await
}

async fn feed(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Only a proxy that is believed can tell of TLS before it.
    let scheme = if app.trusts(peer) && text("x-forwarded-proto") == "https" { "https" } else { "http" };
    let host = text(HOST.as_str());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let host = if host.len() <= 260 && host.chars().all(plain) { host } else { "" };
    app.answer(Some(Route::Feed(format!("{scheme}://{host}"))), Format::Html, peer, &headers).await
}

async fn badge(
    State(app): App,
    Extension(peer): From,
    Path((id, kind)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let (kind, format) = match (kind.strip_suffix(".svg"), kind.strip_suffix(".json")) {
        (Some(kind), _) => (kind, Format::Html),
        (_, Some(kind)) => (kind, Format::Json),
        _ => ("", Format::Html),
    };
    let kind = kind.parse().ok().filter(|_| route::is_name(&id));
    app.answer(kind.map(|kind| Route::Badge(id, kind)), format, peer, &headers).await
}

async fn logo(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(Some(Route::Logo), Format::Html, peer, &headers).await
}

async fn icon(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(Some(Route::Icon), Format::Html, peer, &headers).await
}

async fn open_api(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(Some(Route::OpenApi), Format::Json, peer, &headers).await
}

async fn nothing(State(app): App, Extension(peer): From, headers: HeaderMap) -> Response<Body> {
    app.answer(None, Format::accepted(&headers), peer, &headers).await
}
