//! One line for a result, where there are several.

use webmon::record::CheckResult;

use super::line::Line;
use super::look;
use super::page::View;
use super::phases::{Phase, Span, answer, timeline};
use super::words;

/// From this width on a row shows the phases.
const WIDE: usize = 100;
/// The columns of the phases, each over all requests of the check.
const PHASES: [(&str, Phase); 5] = [
    ("DNS", Phase::Dns),
    ("CONNECT", Phase::Connect),
    ("TLS", Phase::Tls),
    ("WAIT", Phase::Wait),
    ("DOWNLOAD", Phase::Download),
];

pub fn header(view: View) -> Line {
    let mut line = Line::new().add(look::DIM, &format!("  {:<6} {:>8}", "STATUS", "TOTAL"));
    if view.width >= WIDE {
        for (phase, _) in PHASES {
            line.push(look::DIM, &format!(" {phase:>8}"));
        }
    }
    line.add(look::DIM, "  SITE").cut(view.width, view.signs.more)
}

pub fn row(result: &CheckResult, view: View) -> Line {
    let mut line = start(result, view);
    if view.width >= WIDE {
        let timeline = timeline(result);
        let spans: Vec<&Span> =
            timeline.iter().flat_map(|line| &line.legs).flat_map(|leg| &leg.spans).collect();
        for (_, phase) in PHASES {
            let mut lengths =
                spans.iter().filter(|span| span.phase == phase).map(|span| span.length).peekable();
            let measured = lengths.peek().is_some();
            let length = lengths.sum();
            let shown = if measured { words::time(length) } else { "-".to_owned() };
            line.push(look::DIM, &format!(" {shown:>8}"));
        }
    }
    let redirects = match result.redirects {
        0 => String::new(),
        1 => "  1 redirect".to_owned(),
        redirects => format!("  {redirects} redirects"),
    };
    let room = view.width.saturating_sub(line.width() + 2 + redirects.len());
    let name = Line::new().add(look::PLAIN, &result.name).cut(room, view.signs.more);
    line.add(look::PLAIN, "  ").append(name).add(look::DIM, &redirects).cut(view.width, view.signs.more)
}

/// The verdict, the status and the time.
pub fn start(result: &CheckResult, view: View) -> Line {
    let style = look::of_result(result);
    let status = match answer(result) {
        Some(status) => status.to_string(),
        None => "-".to_owned(),
    };
    Line::new()
        .add(style.bold(), view.signs.outcome(result.outcome))
        .add(style, &format!(" {status:<6}"))
        .add(look::PLAIN, &format!(" {:>8}", shown(result.total_us)))
}

fn shown(us: Option<u32>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| words::time(u64::from(us)))
}
