//! Draws a time line: a row for each phase, its bar where it was in the time of the whole check.

use super::line::Line;
use super::look::{self, Signs};
use super::phases::{Leg, Span, Timeline};
use super::words::{percent, time};

/// Columns left of the bars, and right of them: a time and a percentage.
const LEFT: usize = 11;
const RIGHT: usize = 15;
/// The shortest bar, if the terminal is very narrow.
const SHORTEST: usize = 8;

/// The rows in `width` columns. A redirect takes one row for all of its phases, unless all are wanted (`in_full`).
pub fn waterfall(timeline: &Timeline, width: usize, in_full: bool, signs: &Signs) -> Vec<Line> {
    let bar = Bar { columns: width.saturating_sub(LEFT + RIGHT).max(SHORTEST), total: timeline.total, signs };
    let mut rows = Vec::new();
    let redirected = timeline.legs.len() > 1;
    for (index, leg) in timeline.legs.iter().enumerate() {
        let is_last = index + 1 == timeline.legs.len();
        if redirected {
            rows.push(title(leg));
        }
        if is_last || in_full {
            for span in &leg.spans {
                let style = if span.failed { look::BAD } else { look::of_phase(span.phase) };
                rows.push(row(span.phase.word(), style, bar.draw(&[*span]), span.length, timeline.total));
            }
        } else {
            let length = leg.spans.iter().map(|span| span.length).sum();
            rows.push(row("redirect", look::PLAIN, bar.draw(&leg.spans), length, timeline.total));
        }
    }
    let whole = Line::new().add(look::DIM, &signs.total.repeat(bar.columns));
    rows.push(row("total", look::BOLD, whole, timeline.total, timeline.total));
    rows
}

fn title(leg: &Leg) -> Line {
    let status = leg.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let ip = leg.ip.map(|ip| format!("  {ip}")).unwrap_or_default();
    Line::new()
        .add(look::PLAIN, "  ")
        .add(look::BOLD, &format!("{status:<3} "))
        .add(look::PLAIN, &leg.url)
        .add(look::DIM, &ip)
}

fn row(label: &str, style: anstyle::Style, bar: Line, length: u64, total: u64) -> Line {
    Line::new()
        .add(style, &format!("  {label:<8} "))
        .append(bar)
        .add(look::PLAIN, &format!(" {:>8}", time(length)))
        .add(look::DIM, &format!(" {:>5}", percent(length, total)))
}

struct Bar<'a> {
    columns: usize,
    total: u64,
    signs: &'a Signs,
}

impl Bar<'_> {
    /// The bars of spans that follow each other, in half columns.
    fn draw(&self, spans: &[Span]) -> Line {
        let mut line = Line::new();
        let mut column = 0;
        for span in spans {
            let style = if span.failed { look::BAD } else { look::of_phase(span.phase) };
            let (from, to) = (self.half(span.from), self.half(span.from + span.length));
            let first = (from / 2).max(column).min(self.columns.saturating_sub(1));
            if first < column || column >= self.columns {
                continue;
            }
            line = line.add(look::PLAIN, &" ".repeat(first - column));
            column = first;
            if to <= from.max(column * 2) {
                // Too short for a half, but it was there.
                line.push(style, self.signs.thin);
                column += 1;
                continue;
            }
            if from == first * 2 + 1 {
                line.push(style, self.signs.right);
                column += 1;
            }
            let whole = (to / 2).saturating_sub(column);
            line.push(style, &self.signs.full.repeat(whole));
            column += whole;
            if to % 2 == 1 && to / 2 >= column && column < self.columns {
                line.push(style, self.signs.left);
                column += 1;
            }
        }
        line.to(self.columns)
    }

    /// A point in time as a number of half columns.
    fn half(&self, at: u64) -> usize {
        let halves = self.columns as u64 * 2;
        // Times have 31 bits.
        let half = (at.min(self.total) * halves + self.total / 2) / self.total.max(1);
        half as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::phases::Phase;
    use super::*;

    fn drawn(columns: usize, total: u64, spans: &[(u64, u64)]) -> String {
        let spans: Vec<Span> = spans
            .iter()
            .map(|(from, length)| Span { phase: Phase::Wait, from: *from, length: *length, failed: false })
            .collect();
        let line = Bar { columns, total, signs: Signs::of_locale() }.draw(&spans);
        assert_eq!(line.width(), columns);
        line.show(false)
    }

    #[test]
    fn a_bar_is_where_its_phase_was() {
        for (spans, expected) in [
            (&[(0, 100)][..], "██████████"),
            (&[(0, 50)], "█████"),
            (&[(50, 50)], "     █████"),
            (&[(0, 5)], "▌"),
            (&[(25, 30)], "  ▐██▌"),
            (&[(99, 1)], "         ▏"),
            (&[(0, 0), (0, 20), (20, 80)], "▏█████████"),
        ] {
            assert_eq!(drawn(10, 100, spans), expected, "{spans:?}");
        }
    }

    #[test]
    fn a_bar_is_as_wide_as_it_must_be_whatever_the_times_are() {
        for total in [0, 1, 7, 999, u64::from(u32::MAX)] {
            for columns in [1, 8, 9, 200] {
                for (from, length) in [(0, 0), (0, total), (total / 3, total / 5), (total, 0), (total, total)]
                {
                    drawn(columns, total, &[(from, length), (from + length, length)]);
                }
            }
        }
    }
}
