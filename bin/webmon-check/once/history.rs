//! How the checks of one site went, round after round.

use std::collections::VecDeque;

use anstyle::Style;
use webmon::record::{CheckResult, Outcome};

use super::line::Line;
use super::look::{self, Signs};
use super::words::time;

/// How many results are remembered one by one.
const REMEMBERED: usize = 1_000;

/// What is remembered of a result.
#[derive(Clone, Copy)]
struct Past {
    outcome: Outcome,
    style: Style,
    us: Option<u32>,
}

#[derive(Default)]
pub struct History {
    last: VecDeque<Past>,
    pub success: u64,
    /// Of the successes, those that were degraded.
    pub degraded: u64,
    pub failure: u64,
    pub missed: u64,
}

impl History {
    pub fn add(&mut self, result: &CheckResult) {
        match result.outcome {
            Outcome::Success => self.success += 1,
            Outcome::Failure => self.failure += 1,
            Outcome::Missed => self.missed += 1,
        }
        self.degraded += u64::from(result.degraded);
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        let (outcome, us) = (result.outcome, result.total_us);
        self.last.push_back(Past { outcome, style: look::of_result(result), us });
    }

    pub fn all(&self) -> u64 {
        self.success + self.failure + self.missed
    }

    /// `38 checks: 36 success, 2 failure`.
    pub fn counts(&self) -> Line {
        let checks = super::words::checks(self.all());
        let mut line = Line::new().add(look::PLAIN, &format!("{checks}: "));
        line.push(look::GOOD, &format!("{} success", self.success));
        if self.degraded > 0 {
            line.push(look::WARNING, &format!(" ({} degraded)", self.degraded));
        }
        for (count, word, style) in
            [(self.failure, "failure", look::BAD), (self.missed, "missed", look::WARNING)]
        {
            if count > 0 {
                line.push(look::PLAIN, ", ");
                line.push(style, &format!("{count} {word}"));
            }
        }
        line
    }

    /// `min 46.1 ms, median 48.2 ms, max 131 ms`, of the successful checks that are remembered.
    pub fn times(&self) -> Option<String> {
        let successful = self.last.iter().filter(|past| past.outcome == Outcome::Success);
        let mut times: Vec<u64> = successful.filter_map(|past| past.us.map(u64::from)).collect();
        times.sort_unstable();
        let (min, max) = (*times.first()?, *times.last()?);
        Some(format!("min {}, median {}, max {}", time(min), time(times[times.len() / 2]), time(max)))
    }

    /// The last results in at most `width` columns: how long each took, from 0 to the longest of them, and a sign for
    /// each that was no success.
    pub fn sparkline(&self, width: usize, signs: &Signs) -> Line {
        let shown: Vec<_> = self.last.iter().rev().take(width).rev().collect();
        let longest = shown.iter().filter_map(|past| past.us).max().unwrap_or_default().max(1);
        let mut line = Line::new();
        for Past { outcome, style, us } in shown {
            let sign = match (outcome, us) {
                (Outcome::Success, Some(us)) => {
                    let levels = signs.levels.len() as u64;
                    let level = u64::from(*us) * levels / (u64::from(longest) + 1);
                    signs.levels[level as usize]
                }
                (outcome, _) => signs.outcome(*outcome),
            };
            line.push(*style, sign);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(results: &[(Outcome, Option<u32>)]) -> History {
        let past = |(outcome, us): &(Outcome, Option<u32>)| Past {
            outcome: *outcome,
            style: look::of_outcome(*outcome),
            us: *us,
        };
        History { last: results.iter().map(past).collect(), ..History::default() }
    }

    #[test]
    fn a_sparkline_shows_times_from_zero_and_what_was_no_success() {
        let ok = |us| (Outcome::Success, Some(us));
        let all =
            [ok(0), ok(25), ok(50), (Outcome::Failure, Some(10)), (Outcome::Missed, None), ok(87), ok(100)];
        assert_eq!(history(&all).sparkline(10, Signs::of_locale()).show(false), "▁▂▄✘-▇█");
        assert_eq!(history(&all).sparkline(2, Signs::of_locale()).show(false), "▇█");
        assert_eq!(history(&[]).sparkline(2, Signs::of_locale()).show(false), "");
        assert_eq!(history(&all).times().unwrap(), "min 0.00 ms, median 0.05 ms, max 0.10 ms");
        assert_eq!(history(&[(Outcome::Failure, Some(1))]).times(), None);
    }
}
