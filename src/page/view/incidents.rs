//! Incidents: the list, one of them, and the feed.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, PreEscaped, html};

use super::super::ahead::Ahead;
use super::super::feed::Feed;
use super::super::history::{IncidentPage, Incidents};
use super::super::incidents::ShownIncident;
use super::super::state::State;
use super::super::words;
use super::look::Look;
use super::parts;
use crate::config::Page;

/// The list.
pub(in super::super) fn incidents(look: &Look, page: &Page, incidents: &Incidents) -> Markup {
    let main = html! {
        h1 { "Incidents" }
        (ahead(page, &incidents.ahead, incidents.at))
        @if incidents.incidents.is_empty() { p class="card" { "None is known." } }
        @for month in incidents.incidents.chunk_by(|a, b| month(page, a) == month(page, b)) {
            h2 { (month[0].from_at.to_zoned(page.timezone.clone()).strftime("%B %Y").to_string()) }
            (table(look, page, month, true))
        }
        @if let Some(next) = &incidents.next {
            nav class="pager" aria-label="Earlier incidents" { a rel="next" href={ (look.to("/incidents?before=")) (next) } { "Earlier incidents" } }
        }
    };
    look.document(page, &format!("Incidents: {}", page.title), "/incidents", incidents.at, &main)
}

/// Planned maintenance.
pub(super) fn ahead(page: &Page, stretches: &[Ahead], now: Timestamp) -> Markup {
    html! {
        @if !stretches.is_empty() {
            h2 { "Planned maintenance" }
            ul class="plain card" {
                @for ahead in stretches {
                    li {
                        (parts::icon(State::Planned)) " "
                        b { (ahead.sites.join(", ")) @if ahead.more > 0 { " and " (ahead.more) " more" } } ": "
                        @if ahead.from_at <= now { "now, until " (parts::time(ahead.to_at, &page.timezone)) }
                        @else {
                            (parts::time(ahead.from_at, &page.timezone)) " for "
                            (words::duration(ahead.to_at.duration_since(ahead.from_at)))
                        }
                    }
                }
            }
        }
    }
}

fn month(page: &Page, incident: &ShownIncident) -> (i16, i8) {
    let at = incident.from_at.to_zoned(page.timezone.clone());
    (at.year(), at.month())
}

/// A table of incidents.
pub(super) fn table(look: &Look, page: &Page, incidents: &[ShownIncident], with_site: bool) -> Markup {
    html! {
        div class="card scroll" tabindex="0" role="region" aria-label="Incidents" {
            table {
                thead { tr {
                    @if with_site { th scope="col" { "Site" } }
                    @for name in ["Began", "Lasted", "Why", "Failures", "Locations", "More"] { th scope="col" { (name) } }
                } }
                tbody { @for incident in incidents {
                    tr {
                        @if with_site { th scope="row" { a href={ (look.to("/sites/")) (parts::segment(&incident.site_id)) } { (incident.site) } } }
                        td { (parts::time(incident.from_at, &page.timezone)) }
                        td class="nowrap" { (lasted(incident)) }
                        td { (parts::reason(&incident.reason)) }
                        td { (words::thousands(incident.failures.unsigned_abs())) }
                        td { (incident.locations) }
                        td { a href={ (look.to("/incidents/")) (incident.incident_id) } { "Incident " (incident.incident_id) } }
                    }
                } }
            }
        }
    }
}

fn lasted(incident: &ShownIncident) -> Markup {
    let duration = words::duration(SignedDuration::from_secs(incident.lasted_s));
    html! { @if incident.to_at.is_some() { (duration) } @else { b class="t-down" { (duration) " so far" } } }
}

/// One incident.
pub(in super::super) fn incident(look: &Look, page: &Page, one: &IncidentPage) -> Markup {
    let (incident, zone) = (&one.incident, &page.timezone);
    let state = if incident.to_at.is_some() { "up" } else { "down" };
    let main = html! {
        p class="small" { a href=(look.to("/incidents")) { "All incidents" } }
        div class={ "card hero " (state) } {
            div {
                h1 {
                    a href={ (look.to("/sites/")) (parts::segment(&incident.site_id)) } { (incident.site) }
                    @if incident.to_at.is_some() { " was down" } @else { " is down" }
                }
                p { (lasted(incident)) " · " (parts::reason(&incident.reason)) }
            }
        }
        br;
        div class="card" {
            dl class="facts" {
                div { dt { "Began" } dd { small { (parts::time(incident.from_at, zone)) } } }
                div { dt { "Ended" } dd { small { @match incident.to_at { Some(at) => (parts::time(at, zone)), None => "not yet" } } } }
                div { dt { "Failures" } dd { (words::thousands(incident.failures.unsigned_abs())) } }
                div { dt { "Locations" } dd { (incident.locations) } }
            }
        }
        h2 { "What was seen" }
        div class="card scroll" tabindex="0" role="region" aria-label="What was seen" {
            table {
                thead { tr { @for name in ["Instant", "Location", "Outcome", "Status", "Why", "Time"] { th scope="col" { (name) } } } }
                tbody { @for result in &one.results {
                    tr {
                        td class="nowrap" { (words::exact(result.scheduled_at, zone)) }
                        td { (result.location) }
                        td { (result.outcome) }
                        td { @match result.http_status { Some(status) => (status), None => "–" } }
                        td { @if let Some(reason) = &result.reason { (parts::reason(reason)) }
                             @if let Some(message) = &result.message { span class="soft" { " " (message) } } }
                        td class="nowrap" { @match result.total_us.and_then(|us| u32::try_from(us).ok()) { Some(us) => (words::time(us)), None => "–" } }
                    }
                } }
            }
            @if one.results.is_empty() { p class="soft" { "Its results are no longer kept." } }
            @if one.more { p class="soft small" { "and more" } }
        }
    };
    let title = format!(
        "{} {}: {}",
        incident.site,
        if incident.to_at.is_some() { "was down" } else { "is down" },
        page.title
    );
    look.document(page, &title, "/incidents", one.at, &main)
}

/// The feed (RFC 4287). `root` is the address of the page as the reader sees it, such as `https://status.example`.
pub(in super::super) fn atom(look: &Look, page: &Page, feed: &Feed, root: &str) -> Markup {
    html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
        feed xmlns="http://www.w3.org/2005/Atom" {
            title { (page.title) ": incidents" }
            id { (feed.id) }
            updated { (feed.updated) }
            link rel="self" href={ (root) (look.to("/incidents.atom")) } {}
            link rel="alternate" type="text/html" href={ (root) (look.to("/incidents")) } {}
            author { name { (page.title) } }
            @for entry in &feed.entries {
                entry {
                    id { (entry.id) }
                    title { (entry.title) }
                    published { (entry.published) }
                    updated { (entry.updated) }
                    link rel="alternate" type="text/html" href={ (root) (look.to("/sites/")) (parts::segment(&entry.site_id)) } {}
                    summary { (entry.summary) }
                }
            }
        }
    }
}
