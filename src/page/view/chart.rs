//! Charts of response times.

use std::fmt::Write;

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::super::series::Point;
use super::super::site::Latency;
use super::super::words;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 190.0;
/// Where the plot begins and ends.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 34.0;
/// The height of the strip below the plot that shows failures.
const STRIP: f64 = 7.0;

/// Response times over a stretch: the mean phases as columns, the percentiles as lines, and below them what failed or was
/// not checked.
pub(super) fn latency(latency: &Latency, zone: &TimeZone) -> Markup {
    let points = &latency.points;
    let greatest = points
        .iter()
        .flat_map(|point| [point.p99_us.unwrap_or(0), point.phases.map_or(0, |phases| phases.total())])
        .max()
        .unwrap_or(0);
    if greatest == 0 {
        return html! { p class="soft" { "Nothing was measured in these " (latency.of) "." } };
    }
    let top = round_up(greatest);
    let step = (WIDTH - LEFT - RIGHT) / points.len().max(1) as f64;
    let x = |i: usize| LEFT + step * i as f64;
    let y = |us: u32| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - f64::from(us) / f64::from(top));
    let floor = HEIGHT - BOTTOM;
    let mut phases: [(&str, String); 6] = Default::default();
    let (mut failed, mut unchecked) = (String::new(), String::new());
    for (i, point) in points.iter().enumerate() {
        let (from, width) = (x(i) + step * 0.1, step * 0.8);
        let mut bottom = floor;
        for (path, (name, us)) in phases.iter_mut().zip(point.phases.unwrap_or_default().parts()) {
            path.0 = name;
            let height = floor - y(us);
            if height > 0.05 {
                bottom -= height;
                let _ = write!(path.1, "M{from:.1} {bottom:.1}h{width:.1}v{height:.1}h-{width:.1}z");
            }
        }
        let column = match (point.shares.failure > 0, point.shares.unchecked > 0) {
            (true, _) => &mut failed,
            (_, true) => &mut unchecked,
            _ => continue,
        };
        let _ = write!(column, "M{:.1} {:.1}h{step:.1}v{STRIP}h-{step:.1}z", x(i), floor + 4.0);
    }
    let line = |of: fn(&Point) -> Option<u32>| {
        let mut path = String::new();
        let mut before = false;
        for (i, point) in points.iter().enumerate() {
            if let Some(us) = of(point) {
                let _ =
                    write!(path, "{}{:.1} {:.1}", if before { 'L' } else { 'M' }, x(i) + step / 2.0, y(us));
            }
            before = of(point).is_some();
        }
        path
    };
    let lines = [("c-p50", line(|p| p.p50_us)), ("c-p95", line(|p| p.p95_us)), ("c-p99", line(|p| p.p99_us))];
    let (every, format) = match latency.step_s {
        ..3_601 => (4, "%H:%M"),
        3_601..86_400 => (8, "%a %-d"),
        _ => (15, "%-d %b"),
    };
    let failures: u64 = points.iter().map(|point| u64::from(point.shares.failure)).sum();
    let label = format!(
        "Response times of the last {}, up to {}; {failures} failures",
        latency.of,
        words::time(greatest)
    );
    html! {
        svg class="chart" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            @for tick in 0..=4_u32 {
                @let us = top / 4 * tick;
                path class="grid" d=(format!("M{LEFT} {0:.1}H{1}", y(us), WIDTH - RIGHT)) {}
                text x=(LEFT - 6.0) y=(format!("{:.1}", y(us) + 4.0)) text-anchor="end" { (axis(us)) }
            }
            @for (name, path) in &phases { @if !path.is_empty() { path class={ "ph-" (name) } d=(path) {} } }
            @for (class, path) in &lines { path class=(class) d=(path) {} }
            @if !failed.is_empty() { path class="c-fail" d=(failed) {} }
            @if !unchecked.is_empty() { path class="c-none" d=(unchecked) {} }
            @for (i, point) in points.iter().enumerate() {
                @if i % every == 0 {
                    text x=(format!("{:.1}", x(i))) y=(HEIGHT - 6.0) { (point.from_at.to_zoned(zone.clone()).strftime(format).to_string()) }
                }
                rect x=(format!("{:.1}", x(i))) y=(TOP) width=(format!("{step:.1}")) height=(HEIGHT - TOP - BOTTOM) fill="none" pointer-events="all" {
                    title { (words_of(point, zone)) }
                }
            }
        }
    }
}

/// The same as a table.
pub(super) fn table(latency: &Latency, zone: &TimeZone) -> Markup {
    let time = |us: Option<u32>| us.map_or_else(|| "–".to_owned(), words::time);
    html! {
        div class="scroll" tabindex="0" role="region" aria-label={ "The last " (latency.of) " as a table" } {
            table {
                thead { tr {
                    th scope="col" { "From" }
                    @for name in ["p50", "p95", "p99", "DNS", "Connect", "TLS", "Wait", "Download", "Rest", "Failed", "Not checked"] {
                        th scope="col" class="num" { (name) }
                    }
                } }
                tbody {
                    @for point in &latency.points {
                        tr {
                            th scope="row" class="nowrap" { (words::moment(point.from_at, zone)) }
                            @for us in [point.p50_us, point.p95_us, point.p99_us] { td class="num nowrap" { (time(us)) } }
                            @match point.phases {
                                Some(phases) => @for (_, us) in phases.parts() { td class="num nowrap" { (words::time(us)) } },
                                None => @for _ in 0..6 { td class="num" { "–" } },
                            }
                            td class="num" { (point.shares.failure) }
                            td class="num" { (point.shares.unchecked) }
                        }
                    }
                }
            }
        }
    }
}

/// What the colours and lines are.
pub(super) fn key() -> Markup {
    html! {
        p class="key" aria-hidden="true" {
            @for (class, words) in [("ph-dns", "DNS"), ("ph-connect", "connect"), ("ph-tls", "TLS"), ("ph-wait", "wait"),
                                    ("ph-download", "download"), ("ph-rest", "redirects and rest")] {
                span { svg viewBox="0 0 24 16" { rect class=(class) width="24" height="16" {} } (words) }
            }
            @for (class, words) in [("c-p50", "p50"), ("c-p95", "p95"), ("c-p99", "p99")] {
                span { svg viewBox="0 0 24 16" { path class=(class) d="M0 8h24" {} } (words) }
            }
            span { svg viewBox="0 0 24 16" { rect class="c-fail" width="24" height="16" {} } "failures" }
            span { svg viewBox="0 0 24 16" { rect class="c-none" width="24" height="16" {} } "not checked" }
        }
    }
}

fn words_of(point: &Point, zone: &TimeZone) -> String {
    let mut text = words::moment(point.from_at, zone);
    for (name, us) in [("p50", point.p50_us), ("p95", point.p95_us), ("p99", point.p99_us)] {
        if let Some(us) = us {
            let _ = write!(text, "\n{name} {}", words::time(us));
        }
    }
    if let Some(phases) = point.phases {
        for (name, us) in phases.parts() {
            let _ = write!(text, "\n{name} {}", words::time(us));
        }
    }
    for (name, count) in [("failed", point.shares.failure), ("not checked", point.shares.unchecked)] {
        if count > 0 {
            let _ = write!(text, "\n{count} {name}");
        }
    }
    text
}

/// A time at an axis, without needless digits.
fn axis(us: u32) -> String {
    match us {
        0 => "0".to_owned(),
        1_000_000.. => format!("{} s", f64::from(us / 10_000) / 100.0),
        _ => format!("{} ms", f64::from(us / 10) / 100.0),
    }
}

/// The next of 1, 2, 4 or 8 times a power of ten.
fn round_up(us: u32) -> u32 {
    let mut power: u32 = 100;
    loop {
        for digit in [1, 2, 4, 8] {
            match power.checked_mul(digit) {
                Some(rounded) if rounded < us => {}
                Some(rounded) => return rounded,
                None => return us,
            }
        }
        power = match power.checked_mul(10) {
            Some(power) => power,
            None => return us,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_times() {
        assert_eq!(
            [round_up(1), round_up(150_000), round_up(400_000), round_up(810_000)],
            [100, 200_000, 400_000, 1_000_000]
        );
        assert_eq!([axis(0), axis(50_000), axis(2_500), axis(1_500_000)], ["0", "50 ms", "2.5 ms", "1.5 s"]);
        assert!(round_up(u32::MAX) >= 4_000_000_000);
    }
}
