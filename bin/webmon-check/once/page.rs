//! The page of one result: the verdict, why, where the time went, and what came.

use jiff::Timestamp;
use webmon::record::{CheckResult, Outcome};

use super::checked::Checked;
use super::line::{Line, wrap};
use super::look::{self, Signs};
use super::phases::{answer, timeline};
use super::waterfall::waterfall;
use super::words;

/// The most lines shown of a body.
const BODY_LINES: usize = 10;
/// A certificate that expires this soon is shown as a warning.
const SOON_DAYS: i64 = 14;

/// How much is shown, and how.
#[derive(Clone, Copy)]
pub struct View {
    pub width: usize,
    pub verbose: bool,
    pub signs: &'static Signs,
}

impl View {
    /// Adds `text` after `label`, broken into as many lines as it takes.
    pub fn hang(self, lines: &mut Vec<Line>, label: &str, style: anstyle::Style, text: &str) {
        let indent = label.chars().count();
        for (index, part) in wrap(text, self.width.saturating_sub(indent)).iter().enumerate() {
            let label = if index == 0 { label.to_owned() } else { " ".repeat(indent) };
            lines.push(Line::new().add(look::DIM, &label).add(style, part));
        }
    }
}

pub fn page(checked: &Checked, view: View) -> Vec<Line> {
    let result = &checked.observed.result;
    let (head, cut) = head(result, view);
    let mut lines = vec![head];
    if result.name != result.url || cut {
        view.hang(&mut lines, "  ", look::DIM, &result.url);
    }
    reasons(&mut lines, checked, view);
    if let Some(timeline) = timeline(result) {
        lines.push(Line::new());
        lines.extend(waterfall(&timeline, view.width, view.verbose, view.signs));
    }
    facts(&mut lines, result, checked.is_unverified(), view);
    if view.verbose && !checked.observed.headers.is_empty() {
        lines.push(Line::new());
        for (name, value) in &checked.observed.headers {
            view.hang(&mut lines, &format!("  {name}: "), look::PLAIN, value);
        }
    }
    if result.outcome == Outcome::Failure
        && let Some(body) = &checked.observed.body
    {
        lines.extend(start_of_body(body, view));
    }
    lines.into_iter().map(|line| line.cut(view.width, view.signs.more)).collect()
}

/// The verdict, and whether the name is cut.
fn head(result: &CheckResult, view: View) -> (Line, bool) {
    let style = look::of_result(result).bold();
    let mut end = Line::new();
    if let Some(status) = answer(result) {
        end = end.add(look::PLAIN, "  ").add(style, &words::status(status));
    } else {
        end = end.add(look::PLAIN, "  ").add(style, result.outcome.as_str());
    }
    if result.degraded {
        end = end.add(style, "  degraded");
    }
    if let Some(total) = result.total_us {
        end = end.add(look::PLAIN, &format!("  {}", words::time(u64::from(total))));
    }
    let mut sign = Line::new().add(style, view.signs.outcome(result.outcome)).add(look::PLAIN, " ");
    if result.method != "GET" {
        sign = sign.add(look::PLAIN, &format!("{} ", result.method));
    }
    // A long name must not push the verdict out of sight.
    let room = view.width.saturating_sub(sign.width() + end.width());
    let name = Line::new().add(look::BOLD, &result.name);
    let cut = name.width() > room;
    (sign.append(name.cut(room, view.signs.more)).append(end), cut)
}

/// Why it was no success, a sentence on a line, and the words of the record.
pub fn reasons(lines: &mut Vec<Line>, checked: &Checked, view: View) {
    let result = &checked.observed.result;
    let style = look::of_result(result);
    for sentence in words::why(&checked.site, &checked.observed) {
        view.hang(lines, "  ", style, &sentence);
    }
    if let Some(class) = words::class(result) {
        view.hang(lines, "  ", look::DIM, &class);
    }
    for (index, tried) in result.tries.iter().enumerate() {
        let time = tried.total_us.map(|us| format!(", {}", words::time(u64::from(us)))).unwrap_or_default();
        let detail = tried.error_detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let text = format!("try {} of {}: {}{detail}{time}", index + 1, result.attempts, tried.error_type);
        view.hang(lines, "  ", look::WARNING, &text);
    }
}

fn facts(lines: &mut Vec<Line>, result: &CheckResult, unverified: bool, view: View) {
    let mut facts: Vec<(&str, anstyle::Style, String)> = Vec::new();
    if let Some(ip) = result.remote_ip {
        facts.push(("address", look::PLAIN, ip.to_string()));
    }
    let http = result.http_version.map(|version| version.to_string());
    let tls = result.tls_version.map(|version| version.to_string());
    let versions: Vec<String> = http.into_iter().chain(tls).collect();
    if !versions.is_empty() {
        facts.push(("protocol", look::PLAIN, versions.join(" over ")));
    }
    if let Some(not_after) = result.cert_not_after {
        let now = Timestamp::now();
        let days = not_after.duration_since(now).as_hours() / 24;
        let style = match days {
            _ if not_after < now => look::BAD,
            days if days < SOON_DAYS => look::WARNING,
            _ => look::PLAIN,
        };
        let on = if not_after < now { "on" } else { "until" };
        let until = format!("{on} {}", not_after.strftime("%F"));
        let issuer = result.certificate.as_ref().map_or("", |certificate| &certificate.issuer);
        let issuer = if issuer.is_empty() { String::new() } else { format!(", issued by {issuer}") };
        facts.push(("certificate", style, format!("{}, {until}{issuer}", words::validity(not_after, now))));
    }
    if unverified {
        facts.push(("", look::WARNING, words::UNVERIFIED.to_owned()));
    }
    if let Some(certificate) = &result.certificate
        && view.verbose
    {
        facts.push(("", look::PLAIN, format!("for {}", certificate.subject_names.join(", "))));
        facts.push(("", look::PLAIN, format!("SHA-256 {}", certificate.sha256)));
        if let Some(at) = certificate.chain_not_after
            && Some(at) != result.cert_not_after
        {
            facts.push(("", look::PLAIN, format!("its chain until {}", at.strftime("%F"))));
        }
    }
    if let Some(bytes) = result.body_bytes {
        let more = if result.body_truncated { ", of which the rest was not read" } else { "" };
        facts.push(("body", look::PLAIN, format!("{}{more}", words::bytes(bytes))));
    }
    if !facts.is_empty() {
        lines.push(Line::new());
    }
    for (label, style, text) in facts {
        view.hang(lines, &format!("  {label:<12}"), style, &text);
    }
}

/// The first lines of a body, each on one line.
fn start_of_body(body: &str, view: View) -> Vec<Line> {
    let mut lines = vec![Line::new()];
    let quote = format!("  {} ", view.signs.quote);
    if is_binary(body) {
        lines.push(Line::new().add(look::DIM, &quote).add(look::DIM, "binary"));
        return lines;
    }
    let shown = body.lines().map(|line| line.trim_end().replace('\t', "    "));
    let mut shown = shown.skip_while(String::is_empty);
    for text in shown.by_ref().take(BODY_LINES) {
        lines.push(Line::new().add(look::DIM, &quote).add(look::PLAIN, &text));
    }
    if shown.next().is_some() {
        lines.push(Line::new().add(look::DIM, &quote).add(look::DIM, view.signs.more));
    }
    if lines.len() == 1 { Vec::new() } else { lines }
}

/// Whether more than a tenth of `text` is nothing that people read.
fn is_binary(text: &str) -> bool {
    let strange = |c: &char| (c.is_control() && !c.is_whitespace()) || *c == '\u{fffd}';
    let (mut all, mut bad) = (0, 0);
    for c in text.chars() {
        all += 1;
        bad += usize::from(strange(&c));
    }
    bad * 10 > all
}

#[cfg(test)]
mod tests {
    use webmon::record::Record;

    use super::*;

    #[test]
    fn a_certificate_is_shown_with_its_days_and_its_issuer_and_in_full_if_wanted() {
        let record = serde_json::json!({
            "v": 1, "site": "shop", "name": "shop", "location": "a", "checker": "b",
            "url": "https://shop.example/", "method": "GET", "scheduled_at": "2026-03-01T00:00:00Z",
            "started_at": "2026-03-01T00:00:00Z", "outcome": "success", "http_status": 200, "total_us": 1, "attempts": 1,
            "cert_not_after": "2999-04-28T12:00:00Z", "certificate": {
                "sha256": "0f".repeat(32), "issuer": "CN=R11, O=Let's Encrypt, C=US",
                "subject_names": ["shop.example", "www.shop.example"], "chain_not_after": "2999-04-01T00:00:00Z",
            },
        });
        let Record::Result(result) = Record::decode(record.to_string().as_bytes()).unwrap() else { panic!() };
        for (verbose, more) in [
            (false, ""),
            (true, "for shop.example, www.shop.example|SHA-256 0f0f|its chain until 2999-04-01"),
        ] {
            let view = View { width: 120, verbose, signs: Signs::of_locale() };
            let mut lines = Vec::new();
            facts(&mut lines, &result, false, view);
            let shown: Vec<String> = lines.iter().map(|line| line.show(false)).collect();
            assert!(shown[1].starts_with("  certificate 3"), "{shown:?}");
            assert!(
                shown[1].ends_with(" days left, until 2999-04-28, issued by CN=R11, O=Let's Encrypt, C=US")
            );
            let more: Vec<&str> = more.split('|').filter(|more| !more.is_empty()).collect();
            assert_eq!(shown.len(), 2 + more.len(), "{shown:?}");
            assert!(more.iter().zip(&shown[2..]).all(|(more, line)| line.contains(more)), "{shown:?}");
        }
    }
}
