//! What all HTML of a page has in common: head, navigation, footer, style and script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::super::words;
use crate::config::Page;

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/script.js");
const DEFS: &str = include_str!("../assets/defs.svg");

/// How a page looks. It is made once.
pub(in super::super) struct Look {
    /// The page's path without the last slash: nothing, or such as `/internal`.
    pub base: String,
    /// The value of the header Content-Security-Policy. Nothing but the page's own style, script and pictures is allowed.
    pub policy: String,
    style: String,
    /// After how many seconds the script looks again.
    every: u64,
}

impl Look {
    /// The look of `page`, which is read again every `every` seconds.
    pub(in super::super) fn new(page: &Page, every: u64) -> Look {
        let accent =
            page.accent.as_ref().map(|accent| format!(":root{{--accent:{accent}}}")).unwrap_or_default();
        let style = format!("{STYLE}{accent}");
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(&style),
            hash(SCRIPT)
        );
        Look { base: page.path.trim_end_matches('/').to_owned(), policy, style, every }
    }

    /// The address of something on the page.
    pub(in super::super) fn to(&self, path: &str) -> String {
        match path {
            "/" if !self.base.is_empty() => self.base.clone(),
            path => format!("{}{path}", self.base),
        }
    }

    /// A whole document. `current` is the path of the entry of the navigation.
    pub(in super::super) fn document(
        &self,
        page: &Page,
        title: &str,
        current: &str,
        at: Timestamp,
        main: &Markup,
    ) -> Markup {
        let entry = |path: &str, name: &str| {
            html! { a href=(self.to(path)) aria-current=[(path == current).then_some("page")] { (name) } }
        };
        html! {
            (self.head(page, title))
            body data-every=(self.every) {
                a class="skip" href="#main" { "Skip to the content" }
                header class="top" {
                    div class="wrap" {
                        a class="brand" href=(self.to("/")) {
                            @if page.logo.is_some() { img src=(self.to("/logo")) alt=""; }
                            (page.title)
                        }
                        nav aria-label="Pages" {
                            (entry("/", "Sites"))
                            (entry("/incidents", "Incidents"))
                            (entry("/wall", "Wall"))
                        }
                    }
                }
                main id="main" class="wrap" tabindex="-1" { (main) }
                footer {
                    div class="wrap" {
                        span id="asof" { "As of " time datetime=(at) { (words::exact(at, &page.timezone)) } }
                        a href=(self.to("/incidents.atom")) { "Feed of incidents" }
                        a href=(self.to("/openapi.json")) { "For programs" }
                        @if let Some(footer) = &page.footer { span class="own" { (footer) } }
                    }
                }
                (PreEscaped(DEFS))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }

    /// A document for a screen on the wall: nothing but `main`.
    pub(in super::super) fn bare(&self, page: &Page, title: &str, at: Timestamp, main: &Markup) -> Markup {
        html! {
            (self.head(page, title))
            body data-every=(self.every) {
                main id="main" class="wall" {
                    (main)
                    p class="soft small" id="asof" { "As of " time datetime=(at) { (words::exact(at, &page.timezone)) } }
                }
                (PreEscaped(DEFS))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }

    fn head(&self, page: &Page, title: &str) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en";
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(self.to("/icon.svg")) type="image/svg+xml";
                link rel="alternate" type="application/atom+xml" href=(self.to("/incidents.atom")) title={ (page.title) ": incidents" };
                style { (PreEscaped(&self.style)) }
            }
        }
    }
}
