//! One page: what it has made and still keeps, and the headers of its answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use maud::html;
use moka::future::Cache;

use super::ahead;
use super::answer::{self, Answer, HTML, JSON};
use super::auth::{self, Refusal};
use super::badge::{Badge, BadgeKind};
use super::chosen::{self, Shown};
use super::feed::{self, Feed};
use super::front::{Filter, Front, Glance, Selected};
use super::history::{self, Before, IncidentPage, Incidents};
use super::hours;
use super::open_api::open_api;
use super::overview::Overview;
use super::pool::{Pool, Unread};
use super::reader::Reader;
use super::route::{Format, Route};
use super::site::SitePage;
use super::site_read::{self, Wanted};
use super::view::{self, Look};
use super::wall::Wall;
use crate::config::{Page, Web};

/// How many bytes of answers a page keeps.
const MAX_KEPT: u64 = 16 << 20;
/// How far back the newest results are looked for: as far as so many intervals go, within these limits.
const INTERVALS: i32 = 60;
const MIN_BACK: SignedDuration = SignedDuration::from_hours(1);
const MAX_BACK: SignedDuration = SignedDuration::from_hours(60 * 24);

const SVG: &str = "image/svg+xml; charset=utf-8";
const ATOM: &str = "application/atom+xml; charset=utf-8";
const ICON: &str = include_str!("assets/icon.svg");

/// The address that a request came from.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// One page, as it is served.
pub(super) struct Serving {
    page: Arc<Page>,
    web: Web,
    look: Look,
    pool: Arc<Pool>,
    reader: Arc<Reader>,
    /// By what was asked for, and when what is known of all sites was read.
    kept: Cache<(Route, Format, Timestamp), Arc<Answer>>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// There is nothing of this name.
    NotFound,
    /// The database was not read.
    Unread(Unread),
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Failure {
        Failure::Unread(unread)
    }
}

impl Serving {
    pub(super) fn new(page: &Page, web: &Web, pool: Arc<Pool>, reader: Arc<Reader>) -> Arc<Serving> {
        let look = Look::new(page, web.fresh.as_secs().max(10));
        let kept = Cache::builder()
            .max_capacity(MAX_KEPT)
            .weigher(|_, answer: &Arc<Answer>| answer.size().try_into().unwrap_or(u32::MAX))
            .time_to_live(web.fresh)
            .build();
        Arc::new(Serving { page: Arc::new(page.clone()), web: web.clone(), look, pool, reader, kept })
    }

    /// Whether `peer` is a proxy whose headers are believed.
    pub(super) fn trusts(&self, peer: Peer) -> bool {
        self.web.trusts(peer.0)
    }

    /// Answers `route` in `format`: from what is kept, or else makes it. Several who ask for the same wait for one. None
    /// is an address of nothing.
    pub(super) async fn answer(
        &self,
        route: Option<Route>,
        format: Format,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Response<Body> {
        if let Err(refusal) = auth::check(self.page.auth.as_ref(), &self.web, peer.0, headers) {
            return self.secured(refused(refusal).response(headers, ""), Some(refusal));
        }
        let made = match route {
            Some(route) => self.kept(route, format).await,
            None => Err(Arc::new(Failure::NotFound)),
        };
        let answer = made.unwrap_or_else(|failure| Arc::new(self.failed(&failure, format)));
        let who = if self.page.auth.is_some() { "private" } else { "public" };
        let cache = format!("{who}, max-age={}", self.web.fresh.as_secs().max(1));
        self.secured(answer.response(headers, &cache), None)
    }

    async fn kept(&self, route: Route, format: Format) -> Result<Arc<Answer>, Arc<Failure>> {
        let overview = self.reader.overview().await.map_err(|unread| Arc::new(Failure::Unread(unread)))?;
        let key = (route.clone(), format, overview.at);
        self.kept.try_get_with(key, self.make(route, format, &overview)).await
    }

    async fn make(&self, route: Route, format: Format, overview: &Overview) -> Result<Arc<Answer>, Failure> {
        let answer = match route {
            Route::Front(filter) => self.front(&filter, format, overview).await?,
            Route::Wall => self.wall(format, overview).await?,
            Route::Site(id) => self.site(&id, format, overview).await?,
            Route::Incidents(before) => self.incidents(before, format, overview).await?,
            Route::Incident(id) => self.incident(id, format, overview).await?,
            Route::Feed(root) => self.feed(&root, overview).await?,
            Route::Badge(id, kind) => self.badge(&id, kind, format, overview).await?,
            Route::Logo => {
                let logo = self.page.logo.as_ref().ok_or(Failure::NotFound)?;
                Answer::new(logo.media_type, logo.bytes.clone())
            }
            Route::Icon => Answer::new(SVG, ICON),
            Route::OpenApi => Answer::new(JSON, open_api(&self.page.path).to_string()),
        };
        Ok(Arc::new(answer))
    }

    async fn front(&self, filter: &Filter, format: Format, overview: &Overview) -> Result<Answer, Failure> {
        let selected = Selected::new(&self.page, overview, filter);
        let recent = self.recent(selected.site_ids(), overview).await;
        let front = Front::new(&self.page, overview, &selected, &recent);
        Ok(shown_in(format, &front, || view::front(&self.look, &self.page, &front, filter)))
    }

    async fn wall(&self, format: Format, overview: &Overview) -> Result<Answer, Failure> {
        let selected = Selected::new(&self.page, overview, &Filter::default());
        let front = Front::new(&self.page, overview, &selected, &HashMap::new());
        let wall = Wall::new(front, Glance::all(&self.page, overview));
        Ok(shown_in(format, &wall, || view::wall(&self.look, &self.page, &wall)))
    }

    async fn site(&self, id: &str, format: Format, overview: &Overview) -> Result<Answer, Failure> {
        let shown = self.shown(overview, id)?;
        let newest =
            shown.site.places.iter().max_by_key(|place| place.scheduled_at).ok_or(Failure::NotFound)?;
        let interval = newest.next_at.map_or(MIN_BACK, |next| next.duration_since(newest.scheduled_at));
        let wanted = Wanted {
            site_id: shown.site.site_id,
            key: shown.site.facts.key.clone(),
            at: overview.at,
            newest_at: newest.scheduled_at,
            back: interval.saturating_mul(INTERVALS).clamp(MIN_BACK, MAX_BACK),
        };
        let page = Arc::clone(&self.page);
        let found = self.pool.read(move |client| site_read::read(client, &page, &wanted)).await?;
        let site = SitePage::new(&self.page, overview, &shown, found);
        Ok(shown_in(format, &site, || view::site(&self.look, &self.page, &site)))
    }

    async fn incidents(
        &self,
        before: Option<Before>,
        format: Format,
        overview: &Overview,
    ) -> Result<Answer, Failure> {
        let sites = chosen::sites(&self.page, overview);
        let ahead = ahead::ahead(&sites, overview.at);
        let sites = by_number(sites);
        let ids: Vec<i32> = sites.keys().copied().collect();
        let found = self.pool.read(move |client| history::read(client, &ids, before)).await?;
        let incidents = Incidents::new(&self.page, &sites, &found, ahead, overview.at);
        Ok(shown_in(format, &incidents, || view::incidents(&self.look, &self.page, &incidents)))
    }

    async fn incident(&self, id: i64, format: Format, overview: &Overview) -> Result<Answer, Failure> {
        let sites = by_number(chosen::sites(&self.page, overview));
        let found = self.pool.read(move |client| history::read_one(client, id)).await?;
        let (site_id, incident) = found.ok_or(Failure::NotFound)?;
        let shown = sites.get(&site_id).ok_or(Failure::NotFound)?;
        let (page, key) = (Arc::clone(&self.page), shown.site.facts.key.clone());
        let about = incident.clone();
        let read = move |client: &mut postgres::Client| history::read_results(client, &page, &key, &about);
        let results = self.pool.read(read).await?;
        let one = IncidentPage::new(&self.page, shown, &incident, results, overview.at);
        Ok(shown_in(format, &one, || view::incident(&self.look, &self.page, &one)))
    }

    async fn feed(&self, root: &str, overview: &Overview) -> Result<Answer, Failure> {
        let sites = by_number(chosen::sites(&self.page, overview));
        let ids: Vec<i32> = sites.keys().copied().collect();
        let told = self.pool.read(move |client| feed::read(client, &ids)).await?;
        let feed = Feed::new(&self.page, &sites, &told);
        Ok(Answer::new(ATOM, view::atom(&self.look, &self.page, &feed, root).into_string()))
    }

    async fn badge(
        &self,
        id: &str,
        kind: BadgeKind,
        format: Format,
        overview: &Overview,
    ) -> Result<Answer, Failure> {
        let shown = self.shown(overview, id)?;
        let recent = match kind {
            BadgeKind::P95 => self.recent(vec![shown.site.site_id], overview).await,
            _ => HashMap::new(),
        };
        let badge = Badge::of(kind, &shown, recent.get(&shown.site.site_id));
        Ok(match format {
            Format::Html => Answer::new(SVG, view::badge(&badge).into_string()),
            Format::Json => json_of(&badge),
        })
    }

    fn shown<'a>(&'a self, overview: &'a Overview, id: &str) -> Result<Shown<'a>, Failure> {
        chosen::sites(&self.page, overview).into_iter().find(|shown| shown.id == id).ok_or(Failure::NotFound)
    }

    /// The last hours of some sites. Without them a page is still true.
    async fn recent(&self, site_ids: Vec<i32>, overview: &Overview) -> HashMap<i32, hours::Recent> {
        let at = overview.at;
        let read = self.pool.read(move |client| hours::recent(client, &site_ids, at)).await;
        read.unwrap_or_else(|error| {
            log::warn!(error = error.to_string(); "the last hours cannot be read");
            HashMap::new()
        })
    }

    fn failed(&self, failure: &Failure, format: Format) -> Answer {
        let (status, title, words) = match failure {
            Failure::NotFound => (StatusCode::NOT_FOUND, "Not found", "There is nothing at this address."),
            Failure::Unread(error) => {
                log::error!(error = error.to_string(); "a page cannot be made");
                let words = "The database does not answer. What the sites are cannot be told now.";
                (StatusCode::SERVICE_UNAVAILABLE, "Not available", words)
            }
        };
        match format {
            Format::Html => {
                let main =
                    html! { h1 { (title) } p { (words) } p { a href=(self.look.to("/")) { "All sites" } } };
                let document = self.look.document(&self.page, title, "", jiff::Timestamp::now(), &main);
                Answer::with(status, HTML, document.into_string())
            }
            Format::Json => Answer::with(status, JSON, serde_json::json!({ "error": words }).to_string()),
        }
    }

    /// What every response has: no script but ours runs, nothing is fetched from elsewhere, no frame holds it.
    fn secured(&self, mut response: Response<Body>, refusal: Option<Refusal>) -> Response<Body> {
        let headers = response.headers_mut();
        answer::insert(headers, "content-security-policy", &self.look.policy);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if refusal == Some(Refusal::Password) {
            let asks = HeaderValue::from_static("Basic realm=\"status\", charset=\"UTF-8\"");
            headers.insert(WWW_AUTHENTICATE, asks);
        }
        response
    }
}

fn by_number(sites: Vec<Shown<'_>>) -> HashMap<i32, Shown<'_>> {
    sites.into_iter().map(|shown| (shown.site.site_id, shown)).collect()
}

fn refused(refusal: Refusal) -> Answer {
    let (status, words) = match refusal {
        Refusal::Password => (StatusCode::UNAUTHORIZED, "This page needs a name and a password."),
        Refusal::Proxy => (StatusCode::FORBIDDEN, "This page is not for everybody."),
    };
    Answer::with(status, "text/plain; charset=utf-8", words)
}

/// A value for people or for programs.
fn shown_in(format: Format, value: &impl serde::Serialize, html: impl FnOnce() -> maud::Markup) -> Answer {
    match format {
        Format::Html => Answer::new(HTML, html().into_string()),
        Format::Json => json_of(value),
    }
}

fn json_of(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => Answer::new(JSON, bytes),
        // A map with keys that are no texts; there is none.
        Err(error) => {
            Answer::with(StatusCode::INTERNAL_SERVER_ERROR, JSON, format!("{:?}", error.to_string()))
        }
    }
}
