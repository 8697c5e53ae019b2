//! What somebody asks for, and in which form.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::badge::BadgeKind;
use super::front::Filter;
use super::history::Before;

/// The longest name in an address, in characters. Keys of sites are shorter.
const MAX_NAME: usize = 300;
/// The longest text to look for, in characters.
const MAX_QUERY: usize = 200;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    /// The front page.
    Front(Filter),
    /// A screen on the wall.
    Wall,
    /// A site, by what it is called in addresses.
    Site(String),
    /// The incidents before this one.
    Incidents(Option<Before>),
    /// An incident, by its number.
    Incident(i64),
    /// The feed of incidents, for readers that reach the page at this address.
    Feed(String),
    /// A badge of a site.
    Badge(String, BadgeKind),
    /// The picture beside the title.
    Logo,
    /// The picture of the page in a browser's tabs.
    Icon,
    /// What the JSON of all pages looks like.
    OpenApi,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// For people.
    Html,
    /// For programs.
    Json,
}

impl Format {
    /// What the header `Accept` asks for: JSON if it is named and HTML is not.
    pub(super) fn accepted(headers: &HeaderMap) -> Format {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let has =
            |what| accept.split(',').any(|part| part.split(';').next().unwrap_or_default().trim() == what);
        if has("application/json") && !has("text/html") { Format::Json } else { Format::Html }
    }

    /// The name without `.json`, and the form that this ending asks for.
    pub(super) fn of<'a>(name: &'a str, headers: &HeaderMap) -> (&'a str, Format) {
        match name.strip_suffix(".json") {
            Some(name) => (name, Format::Json),
            None => (name, Format::accepted(headers)),
        }
    }
}

impl Route {
    /// The front page, with a bounded filter.
    pub(super) fn front(mut filter: Filter) -> Route {
        for text in [&mut filter.q, &mut filter.group, &mut filter.state] {
            *text = bounded(text, MAX_QUERY);
        }
        filter.page = filter.page.min(100_000);
        Route::Front(filter)
    }
}

/// Whether a name is no longer than any name is.
pub(super) fn is_name(text: &str) -> bool {
    text.chars().count() <= MAX_NAME
}

fn bounded(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
