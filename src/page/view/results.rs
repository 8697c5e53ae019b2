//! Results of a site, and where the time of each went.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::super::result::ShownResult;
use super::super::words;
use super::parts;

/// The newest results. Each opens to all that is shown of it.
pub(super) fn results(results: &[ShownResult], zone: &TimeZone) -> Markup {
    html! {
        div class="card results" {
            @if results.is_empty() { p { "None was found." } }
            @for result in results { (one(result, zone)) }
        }
    }
}

fn one(result: &ShownResult, zone: &TimeZone) -> Markup {
    let (sign, class) = match (result.outcome.as_str(), result.degraded) {
        ("success", false) => ("✔", "t-up"),
        ("success", true) => ("◷", "t-slow"),
        ("failure", _) => ("✘", "t-down"),
        _ => ("∅", "t-unchecked"),
    };
    let time = result.total_us.and_then(|us| u32::try_from(us).ok()).map(words::time);
    let id = format!("r-{}-{}", result.scheduled_at.as_second(), parts::segment(&result.location));
    html! {
        details id=(id) {
            summary {
                span class=(class) { (sign) span class="sr" { (result.outcome) } }
                span class="r-at nowrap" { (words::exact(result.scheduled_at, zone)) }
                span class="r-loc soft" { (result.location) }
                span class="r-time nowrap" { @if let Some(time) = &time { (time) } }
                span class="r-why" {
                    @if let Some(status) = result.http_status { (status) " " }
                    @if let Some(reason) = &result.reason { (parts::reason(reason)) }
                }
            }
            div class="inner" { (inner(result)) }
        }
    }
}

fn inner(result: &ShownResult) -> Markup {
    html! {
        @match &result.phases {
            Some(phases) => (waterfall(phases.parts(), phases.total())),
            None => p class="soft" { "Nothing was measured." },
        }
        dl class="facts" {
            @if let Some(url) = &result.url { div { dt { "URL" } dd { small { (url) } } } }
            @if let Some(address) = &result.address { div { dt { "Address" } dd { small { (address) } } } }
            @if let Some(version) = &result.http_version {
                div { dt { "Protocol" } dd { small { (version) @if let Some(tls) = &result.tls_version { " over " (tls) } } } }
            }
            @if let Some(bytes) = result.body_bytes { div { dt { "Body" } dd { small { (words::thousands(bytes.unsigned_abs().into())) " bytes" } } } }
            @if result.attempts > 1 { div { dt { "Tries" } dd { small { (result.attempts) } } } }
            @if !result.failed_expectations.is_empty() {
                div { dt { "Not as expected" } dd { small { (result.failed_expectations.join(", ")) } } }
            }
        }
        @if let Some(message) = &result.message { p { (message) } }
        @if !result.tries.is_empty() {
            h3 { "Earlier tries" }
            ul { @for one in &result.tries { li {
                @match &one.reason { Some(reason) => (parts::reason(reason)), None => "success" }
                @if let Some(us) = one.total_us.and_then(|us| u32::try_from(us).ok()) { ", " (words::time(us)) }
            } } }
        }
        @if !result.hops.is_empty() {
            h3 { "Redirects" }
            ol { @for hop in &result.hops { li {
                @if let Some(status) = hop.http_status { (status) " " }
                @if let Some(url) = &hop.url { (url) " " }
                @if let Some(address) = &hop.address { span class="soft" { (address) " " } }
                @if let Some(us) = hop.total_us.and_then(|us| u32::try_from(us).ok()) { (words::time(us)) }
            } } }
        }
        @if let Some(headers) = &result.headers { h3 { "Headers of the answer" } pre tabindex="0" { (headers) } }
        @if let Some(body) = &result.body { h3 { "Start of the body" } pre tabindex="0" { (body) } }
    }
}

/// The phases one after another.
fn waterfall(phases: [(&'static str, u32); 6], total: u32) -> Markup {
    let mut begin = 0_u32;
    let rows: Vec<(&str, u32, u32)> = phases
        .into_iter()
        .filter(|(_, us)| *us > 0)
        .map(|(name, us)| {
            let from = begin;
            begin = begin.saturating_add(us);
            (name, from, us)
        })
        .collect();
    let scale = |us: u32| f64::from(us) * 300.0 / f64::from(total.max(1));
    html! {
        table class="fall" {
            tbody { @for (name, from, us) in rows {
                tr {
                    th scope="row" { (name) }
                    td class="num nowrap" { (words::time(us)) }
                    td { svg class="strip" viewBox="0 0 300 20" preserveAspectRatio="none" aria-hidden="true" {
                        rect class={ "ph-" (name) } x=(format!("{:.1}", scale(from))) y="3" width=(format!("{:.1}", scale(us).max(1.0))) height="14" {}
                    } }
                }
            } }
        }
    }
}
