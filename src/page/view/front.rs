//! The front page.

use maud::{Markup, html};

use super::super::front::{Filter, Front, Glance, Row};
use super::super::state::State;
use super::super::words;
use super::look::Look;
use super::{bar, incidents, parts};
use crate::config::Page;

/// The front page.
pub(in super::super) fn front(look: &Look, page: &Page, front: &Front, filter: &Filter) -> Markup {
    let main = html! {
        @if let Some(why) = &front.outdated {
            p class="card old" role="status" {
                "What you see is from " (parts::time(front.at, &page.timezone)) ": " (why) "."
            }
        }
        (hero(front.state, &front.headline))
        @if !front.wrong.is_empty() { (wrong(look, page, front)) }
        (incidents::ahead(page, &front.ahead, front.at))
        (filters(look, page, front, filter))
        @if front.sites.is_empty() {
            p class="card" { @if front.sites_total == 0 { "As soon as a site has been checked, it is here." } @else { "No site is like this." } }
        }
        @for rows in front.sites.chunk_by(|a, b| a.group == b.group) {
            @let group = rows[0].group.as_deref();
            @if !front.groups.is_empty() { h2 { (group.unwrap_or("Other sites")) } }
            @else { h2 class="sr" { "Sites" } }
            ul class="plain card sites" { @for row in rows { (site(look, row, front)) } }
        }
        @if !front.sites.is_empty() {
            (bar::key())
            p class="soft small" {
                "A bar has the last 90 days, the oldest on the left. Uptime is of the instants that were checked; below it stands how many were. "
                "p95 is the time that 95 % of the checks of 24 hours did not exceed. Days are UTC."
            }
        }
        (pager(look, front, filter))
    };
    let title = match front.state {
        Some(state) if state.is_wrong() => format!("{}: {}", state.label(), page.title),
        _ => page.title.clone(),
    };
    look.document(page, &title, "/", front.at, &main)
}

/// The sentence that says all.
pub(super) fn hero(state: Option<State>, headline: &str) -> Markup {
    let state = state.unwrap_or(State::Unchecked);
    html! { div class={ "card hero " (state) } { (parts::icon(state)) h1 { (headline) } } }
}

fn wrong(look: &Look, page: &Page, front: &Front) -> Markup {
    let more = front
        .counts
        .iter()
        .filter(|(word, _)| word.parse().is_ok_and(State::is_wrong))
        .map(|(_, n)| n)
        .sum::<usize>()
        - front.wrong.len();
    let line = |wrong: &Glance| {
        html! {
            li {
                (parts::icon(wrong.state))
                a href={ (look.to("/sites/")) (parts::segment(&wrong.id)) } { (wrong.name) }
                span class="for" {
                    (wrong.state.label())
                    @if let Some(since) = wrong.since { " for " (parts::lasting(since, front.at)) }
                }
                span class="why" { @if let Some(reason) = &wrong.reason { (parts::reason(reason)) } }
                span class="more" {
                    @if let Some(id) = wrong.incident_id { a href={ (look.to("/incidents/")) (id) } { "Incident" } }
                    @else if let Some(since) = wrong.since { span class="soft small" { "since " (words::moment(since, &page.timezone)) } }
                }
            }
        }
    };
    html! {
        h2 { "What is wrong now" }
        ul class="plain card wrong" { @for one in &front.wrong { (line(one)) } }
        @if more > 0 { p class="soft" { "and " (words::count(more, "site", "sites")) " more" } }
    }
}

fn filters(look: &Look, page: &Page, front: &Front, filter: &Filter) -> Markup {
    html! {
        form class="filter" role="search" action=(look.to("/")) {
            label class="q" for="q" { "Name" input id="q" type="search" name="q" value=(filter.q) maxlength="200"; }
            @if front.groups.len() > 1 {
                label for="group" {
                    (page.group_by.as_deref().unwrap_or("Group"))
                    select id="group" name="group" {
                        option value="" { "all" }
                        @for group in &front.groups { option value=(group) selected[*group == filter.group] { (group) } }
                    }
                }
            }
            label for="state" {
                "State"
                select id="state" name="state" {
                    option value="" { "all (" (front.sites_total) ")" }
                    @for state in State::ALL {
                        option value=(state) selected[state.word() == filter.state] {
                            (state.label()) " (" (front.counts.get(state.word()).copied().unwrap_or_default()) ")"
                        }
                    }
                }
            }
            button { "Show" }
        }
    }
}

fn site(look: &Look, row: &Row, front: &Front) -> Markup {
    let link = format!("{}{}", look.to("/sites/"), parts::segment(&row.id));
    html! {
        li class="site" {
            div class="name" {
                (parts::icon(row.state))
                span {
                    a href=(link) { (row.name) }
                    span class={ "what t-" (row.state) } {
                        (row.state.label())
                        @if let Some(since) = row.since { " for " (parts::lasting(since, front.at)) }
                        @if let Some(reason) = &row.reason { ": " (reason.words) }
                    }
                }
            }
            div class="days" { (bar::days(&format!("b-{}", parts::segment(&row.id)), &row.name, &row.days)) }
            div class="fig up-fig" {
                span class="sr" { "Uptime " } (words::percent(row.uptime_percent))
                small { (words::percent(row.coverage_percent)) " checked" }
            }
            div class="lat" {
                (bar::sparkline("p95 of each of the last 24 hours", &row.p95_by_hour_us))
                span class="fig" { @match row.p95_us { Some(us) => (words::time(us)), None => "–" } small { "p95" } }
            }
            div class="fig cert" {
                @if let Some(days) = row.certificate_days {
                    span class={ @if days < 14 { "t-slow" } } { (parts::days_left(days)) }
                    small { "certificate" }
                }
            }
        }
    }
}

fn pager(look: &Look, front: &Front, filter: &Filter) -> Markup {
    let to = |page: usize| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in [("q", &filter.q), ("group", &filter.group), ("state", &filter.state)] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        query.append_pair("page", &page.to_string());
        format!("{}?{}", look.to("/"), query.finish())
    };
    html! {
        @if front.pages > 1 {
            nav class="pager" aria-label="Pages of the list" {
                @if front.page > 1 { a href=(to(front.page - 1)) rel="prev" { "Earlier names" } }
                span { "Page " (front.page) " of " (front.pages) ", " (words::count(front.matched, "site", "sites")) }
                @if front.page < front.pages { a href=(to(front.page + 1)) rel="next" { "Later names" } }
            }
        }
    }
}
