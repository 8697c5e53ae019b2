//! A site's page.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::super::budget::Budget;
use super::super::day::Shares;
use super::super::site::{ShownPlace, SitePage};
use super::super::together::Together;
use super::super::words;
use super::look::Look;
use super::results::results;
use super::{bar, chart, incidents, parts};
use crate::config::Page;

/// A site's page.
pub(in super::super) fn site(look: &Look, page: &Page, site: &SitePage) -> Markup {
    let zone = &page.timezone;
    let main = html! {
        p class="small" { a href=(look.to("/")) { "All sites" } }
        @if let Some(why) = &site.outdated {
            p class="card old" role="status" { "What you see is from " (parts::time(site.at, zone)) ": " (why) "." }
        }
        div class={ "card hero " (site.state) } {
            (parts::icon(site.state))
            div {
                h1 { (site.name) }
                p {
                    b class={ "t-" (site.state) } { (site.state.label()) }
                    @if let Some(since) = site.since {
                        " for " (parts::lasting(since, site.at)) ", since " (parts::time(since, zone))
                    }
                    @if let Some(reason) = &site.reason { ": " (parts::reason(reason)) }
                    @if let Some(id) = site.incident_id { " · " a href={ (look.to("/incidents/")) (id) } { "Incident" } }
                }
                p class="soft small" {
                    @if let Some(next) = site.next_at { "Next check " (parts::time(next, zone)) " · " }
                    @if let Some(schedule) = &site.schedule { "Schedule " code { (schedule) } }
                    @if let Some(request) = &site.request { br; code { (request) } }
                }
            }
        }
        (figures(site))
        @if let Some(left) = &site.budget { (budget(left)) }
        h2 id="days" { "The last 90 days" }
        div class="card" {
            (bar::days("b-site", &site.name, &site.days))
            div class="scale" { span { "90 days ago" } span { "today, UTC" } }
            (bar::key())
            details id="days-table" { summary { "Day by day" } (days(site)) }
        }
        h2 { "Response times" }
        div class="charts" {
            @for latency in &site.latency {
                div class="card" {
                    h3 { "The last " (latency.of) }
                    (chart::latency(latency, zone))
                    details id={ "table-" (latency.step_s) } { summary class="small" { "As a table" } (chart::table(latency, zone)) }
                }
            }
        }
        (chart::key())
        h2 { "Hours of the last 30 days" }
        (heat(site))
        @if site.incidents.is_empty() {
            h2 { "Incidents" } p class="card" { "None is known." }
        } @else {
            h2 { "Incidents" } (incidents::table(look, page, &site.incidents, false))
        }
        h2 { "Locations" }
        (places(&site.locations, zone))
        @if let Some(together) = &site.together { (together_of(together, zone)) }
        @if let Some(certificate) = &site.certificate {
            h2 { "Certificate" }
            div class="card" {
                dl class="facts" {
                    div { dt { "Left" } dd {
                        @match certificate.days { Some(days) => (parts::days_left(days)), None => "unknown" }
                        @if let Some(at) = certificate.expires_at { small { "until " (words::moment(at, zone)) } }
                    } }
                    div { dt { "Issued by" } dd { small { (certificate.issuer) } } }
                    @if let Some(names) = &certificate.names { div { dt { "For" } dd { small { (names.join(", ")) } } } }
                    div { dt { "First seen" } dd { small { (words::moment(certificate.first_seen_at, zone)) } } }
                }
            }
        }
        h2 { "Changes" }
        div class="card" {
            ul class="plain" {
                @for change in &site.changes { li { (parts::time(change.at, zone)) " " (change.what.join("; ")) } }
            }
        }
        h2 { "The newest results" }
        (results(&site.results, zone))
    };
    let title = format!("{}: {}", site.name, site.state.label());
    look.document(page, &title, "", site.at, &main)
}

fn figures(site: &SitePage) -> Markup {
    let time = |us: Option<u32>| us.map_or_else(|| "–".to_owned(), words::time);
    html! {
        h2 class="sr" { "Figures" }
        div class="card scroll figures" tabindex="0" role="region" aria-label="Figures" {
            table {
                thead { tr {
                    th scope="col" { "The last" }
                    @for name in ["Uptime", "Checked", "Failed", "Not checked", "p50", "p95", "p99"] { th scope="col" class="num" { (name) } }
                } }
                tbody {
                    @for row in &site.figures {
                        tr {
                            th scope="row" { (row.of) }
                            td class="num" { b { (words::percent(row.uptime_percent)) } }
                            td class="num" { (words::percent(row.coverage_percent)) }
                            td class="num" { (words::thousands(row.shares.failure.into())) }
                            td class="num" { (words::thousands(row.shares.unchecked.into())) }
                            td class="num nowrap" { (time(row.p50_us)) }
                            td class="num nowrap" { (time(row.p95_us)) }
                            td class="num nowrap" { (time(row.p99_us)) }
                        }
                    }
                }
            }
        }
    }
}

/// What is left of a target, from the worst to the best case.
fn budget(budget: &Budget) -> Markup {
    let percent = |part: Option<f64>| {
        part.map_or_else(|| "–".to_owned(), |part| format!("{:.1}\u{a0}%", (part * 1_000.0).floor() / 10.0))
    };
    let says = |left: Option<f64>| match left {
        Some(left) if left < 0.0 => format!("overspent by {}", percent(Some(-left))),
        left => format!("{} left", percent(left)),
    };
    let left = match (budget.left_worst, budget.left_best) {
        (worst, best) if worst == best => says(best),
        (worst, best) => format!("{} at worst, {} at best", says(worst), says(best)),
    };
    let x = |part: Option<f64>| part.unwrap_or(0.0).clamp(0.0, 1.0) * 300.0;
    html! {
        h2 { "Target: " (budget.target_percent) " % over " (words::count(budget.window_days as usize, "day", "days")) }
        div class="card" {
            p { b { (left) } ", of the " (words::thousands(budget.allowed as u64)) " failures that the target allows." }
            svg class="bar" viewBox="0 0 300 20" preserveAspectRatio="none" role="img" aria-label=(left) {
                rect class="b-up" width=(format!("{:.1}", x(budget.left_worst))) height="20" {}
                rect class="b-un" x=(format!("{:.1}", x(budget.left_worst))) width=(format!("{:.1}", x(budget.left_best) - x(budget.left_worst))) height="20" {}
            }
            p class="soft small" {
                (words::thousands(budget.failure.into())) " failed. "
                @if budget.unchecked > 0 {
                    (words::thousands(budget.unchecked.into())) " were not checked: the hatched part depends on what they were. "
                }
                "Uptime is between " (words::percent(budget.uptime_worst_percent)) " and " (words::percent(budget.uptime_best_percent)) "."
            }
        }
    }
}

fn days(site: &SitePage) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Day by day" {
            table {
                thead { tr {
                    th scope="col" { "Day (UTC)" }
                    @for name in ["Uptime", "Checked", "Succeeded", "Failed", "Not checked", "Maintenance"] { th scope="col" class="num" { (name) } }
                } }
                tbody {
                    @for day in site.days.iter().rev().filter(|day| day.shares.total() > 0) {
                        tr {
                            th scope="row" class="nowrap" { (day.day.strftime("%-d %b %Y").to_string()) }
                            td class="num" { (words::percent(day.shares.uptime_percent())) }
                            td class="num" { (words::percent(day.shares.coverage_percent())) }
                            @for count in [day.shares.success, day.shares.failure, day.shares.unchecked, day.shares.planned] {
                                td class="num" { (words::thousands(count.into())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The class of an hour, a sign that says it without colour, and its words.
fn hour(shares: &Shares) -> (&'static str, &'static str, String) {
    let checked = shares.success + shares.failure;
    let words = match shares.total() {
        0 => "nothing scheduled".to_owned(),
        _ => format!(
            "{} up, {} checked",
            words::percent(shares.uptime_percent()),
            words::percent(shares.coverage_percent())
        ),
    };
    let (class, sign) = match shares {
        _ if shares.total() == 0 => ("", ""),
        _ if shares.failure * 2 >= checked && shares.failure > 0 => ("h-3", "×"),
        _ if shares.failure * 10 >= checked && shares.failure > 0 => ("h-2", "–"),
        _ if shares.failure > 0 => ("h-1", "·"),
        _ if shares.unchecked * 2 >= shares.total() => ("h-un", ""),
        _ if shares.planned * 2 >= shares.total() => ("h-planned", ""),
        _ => ("h-up", ""),
    };
    (class, sign, words)
}

fn heat(site: &SitePage) -> Markup {
    html! {
        div class="card scroll" tabindex="0" role="region" aria-label="Hours of the last 30 days" {
            table class="heat" {
                thead { tr { td class="corner" { span class="sr" { "Day" } } @for h in 0..24 { th scope="col" { (h) } } } }
                tbody {
                    @for day in site.heat.iter().rev() {
                        tr {
                            th scope="row" { (day.day.strftime("%-d %b").to_string()) }
                            @for shares in &day.hours {
                                @let (class, sign, words) = hour(shares);
                                td class=[(!class.is_empty()).then_some(class)] title=(words) {
                                    (sign) @if !class.is_empty() && class != "h-up" { span class="sr" { (words) } }
                                }
                            }
                        }
                    }
                }
            }
            p class="soft small" { "UTC. × half of the checks of the hour failed, – a tenth, · fewer. Hatched: not checked. Dotted: planned maintenance." }
        }
    }
}

fn places(places: &[ShownPlace], zone: &TimeZone) -> Markup {
    html! {
        div class="card scroll" tabindex="0" role="region" aria-label="Locations" {
            table {
                thead { tr { @for name in ["Location", "State", "Newest result", "Status", "Time", "Next check"] { th scope="col" { (name) } } } }
                tbody {
                    @for place in places {
                        tr {
                            th scope="row" { (place.location) }
                            td { (parts::icon(place.state)) " " (place.state.label())
                                @if let Some(reason) = &place.reason { span class="soft" { ": " (parts::reason(reason)) } } }
                            td { (parts::time(place.scheduled_at, zone)) }
                            td { @match place.http_status { Some(status) => (status), None => "–" } }
                            td class="nowrap" { @match place.total_us.and_then(|us| u32::try_from(us).ok()) { Some(us) => (words::time(us)), None => "–" } }
                            td { @match place.next_at { Some(at) => (parts::time(at, zone)), None => "–" } }
                        }
                    }
                }
            }
        }
    }
}

fn together_of(together: &Together, zone: &TimeZone) -> Markup {
    html! {
        h3 { "Side by side" }
        div class="card scroll" tabindex="0" role="region" aria-label="Locations side by side" {
            p class="soft small" {
                "Over the " (words::count(together.instants, "instant", "instants")) " since " (parts::time(together.from_at, zone))
                " that every location has a verdict of. The strip shows the newest " (together.shown.len()) "."
            }
            table {
                thead { tr {
                    th scope="col" { "Location" } th scope="col" class="num" { "Failed" } th scope="col" class="num" { "p50" }
                    th scope="col" class="num" { "p95" } th scope="col" { "Newest instants" }
                } }
                tbody {
                    @for at in &together.locations {
                        @let time = |us: Option<i32>| us.and_then(|us| u32::try_from(us).ok()).map_or_else(|| "–".to_owned(), words::time);
                        tr {
                            th scope="row" { (at.location) }
                            td class="num" { (at.failure) }
                            td class="num nowrap" { (time(at.p50_us)) }
                            td class="num nowrap" { (time(at.p95_us)) }
                            td { (strip(&at.location, &at.outcomes)) }
                        }
                    }
                }
            }
        }
    }
}

/// A column for each instant.
fn strip(location: &str, outcomes: &[Option<String>]) -> Markup {
    let failed = outcomes.iter().filter(|outcome| outcome.as_deref() == Some("failure")).count();
    html! {
        svg class="strip" viewBox={ "0 0 " (outcomes.len() * 3) " 20" } preserveAspectRatio="none" role="img"
            aria-label={ (location) ": " (failed) " of " (outcomes.len()) " failed" } {
            @for (i, outcome) in outcomes.iter().enumerate() {
                @let (class, y, height) = match outcome.as_deref() {
                    Some("success") => ("b-up", 6, 14),
                    Some("failure") => ("b-failed", 0, 20),
                    Some(_) => ("b-un", 10, 10),
                    None => ("", 0, 0),
                };
                @if height > 0 { rect class=(class) x=(i * 3) y=(y) width="2.3" height=(height) {} }
            }
        }
    }
}
