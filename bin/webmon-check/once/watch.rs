//! `--watch`: round after round, until somebody stops it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use webmon::record::Outcome;
use webmon::shutdown::Shutdown;

use super::checked::Checked;
use super::history::History;
use super::line::Line;
use super::list::List;
use super::look;
use super::page::{View, page};
use super::rounds::Rounds;
use super::screen::Screen;
use super::{row, words};

/// How often a screen is drawn at most.
const FRAME: Duration = Duration::from_millis(100);

/// What is known of the sites, in the order of the arguments.
struct Board {
    period: Duration,
    histories: Vec<History>,
    last: Vec<Option<Checked>>,
    round_at: Timestamp,
}

/// Checks in rounds that begin `period` apart, or as soon as the one before has ended. Returns whether every check of the
/// last round succeeded.
pub fn watch(
    rounds: &Rounds,
    period: Duration,
    stop: &Shutdown,
    screen: &mut Screen,
    list: &List,
) -> anyhow::Result<bool> {
    let count = rounds.sites().len();
    let mut board = Board {
        period,
        histories: (0..count).map(|_| History::default()).collect(),
        last: vec![None; count],
        round_at: Timestamp::now(),
    };
    // Only a screen that shows nothing else can be drawn again.
    let draws = screen.is_terminal() && !list.is_json();
    loop {
        let begun = Instant::now();
        board.round_at = Timestamp::now();
        if draws {
            let mut drawn = None::<Instant>;
            rounds.round(stop, |result| {
                let Some((index, checked)) = result else { return Ok(()) };
                board.note(index, checked);
                // One by one they would be drawn faster than anybody can see.
                if count > 1 && drawn.is_none_or(|at| at.elapsed() >= FRAME) {
                    drawn = Some(Instant::now());
                    screen.redraw(&board.frame(list.view(screen)))?;
                }
                Ok(())
            })?;
            screen.redraw(&board.frame(list.view(screen)))?;
        } else {
            let mut told = list.begin(count > 1 && board.is_new(), Some(board.round_at));
            rounds.round(stop, |result| {
                let Some((index, checked)) = result else { return Ok(()) };
                board.note(index, checked.clone());
                told.tell(screen, index, checked)
            })?;
        }
        if stop.wait(period.saturating_sub(begun.elapsed())) {
            match draws {
                // Over what the terminal shows of Ctrl-C.
                true => screen.redraw(&board.frame(list.view(screen)))?,
                false if list.is_json() => {}
                false => screen.print(&board.counts(list.view(screen)))?,
            }
            return Ok(board.all_up());
        }
    }
}

impl Board {
    fn note(&mut self, index: usize, checked: Checked) {
        self.histories[index].add(&checked.observed.result);
        self.last[index] = Some(checked);
    }

    fn is_new(&self) -> bool {
        self.last.iter().all(Option::is_none)
    }

    fn all_up(&self) -> bool {
        self.last.iter().all(|checked| {
            checked.as_ref().is_some_and(|checked| checked.observed.result.outcome == Outcome::Success)
        })
    }

    fn frame(&self, view: View) -> Vec<Line> {
        let period = webmon::text::show_duration(self.period);
        let when = format!("  every {period}, {}", words::clock(self.round_at));
        let head =
            |history: &History| history.counts().add(look::DIM, &when).cut(view.width, view.signs.more);
        match (&self.histories[..], &self.last[..]) {
            ([history], [last]) => {
                let mut lines = vec![head(history)];
                lines.push(history.sparkline(view.width, view.signs));
                lines.push(Line::new().add(look::DIM, &history.times().unwrap_or_default()));
                lines.push(Line::new());
                lines.extend(last.iter().flat_map(|checked| page(checked, view)));
                lines.into_iter().map(|line| line.cut(view.width, view.signs.more)).collect()
            }
            _ => {
                let mut lines = vec![head(&self.total())];
                lines.extend(self.rows(view));
                lines
            }
        }
    }

    /// A row for each site with its sparkline, and below it the first reason if it was no fast success.
    fn rows(&self, view: View) -> Vec<Line> {
        let names = self.last.iter().flatten().map(|checked| checked.observed.result.name.chars().count());
        let name_width = names.max().unwrap_or_default().clamp(4, view.width / 3);
        let mut lines = Vec::new();
        for (history, last) in self.histories.iter().zip(&self.last) {
            let Some(checked) = last else { continue };
            let result = &checked.observed.result;
            let start = row::start(result, view).add(look::PLAIN, "  ");
            let name = Line::new().add(look::PLAIN, &result.name).cut(name_width, view.signs.more);
            let line = start.append(name.to(name_width)).add(look::PLAIN, "  ");
            let room = view.width.saturating_sub(line.width());
            lines.push(line.append(history.sparkline(room, view.signs)).cut(view.width, view.signs.more));
            // The rest of the reasons has no room here.
            if let Some(why) = words::why(&checked.site, &checked.observed).first() {
                let style = look::of_result(result);
                lines.push(Line::new().add(style, &format!("    {why}")).cut(view.width, view.signs.more));
            }
            if checked.is_unverified() {
                let warning = Line::new().add(look::WARNING, &format!("    {}", words::UNVERIFIED));
                lines.push(warning.cut(view.width, view.signs.more));
            }
        }
        lines
    }

    fn counts(&self, view: View) -> Vec<Line> {
        vec![self.total().counts().cut(view.width, view.signs.more)]
    }

    fn total(&self) -> History {
        let mut total = History::default();
        for history in &self.histories {
            total.success += history.success;
            total.degraded += history.degraded;
            total.failure += history.failure;
            total.missed += history.missed;
        }
        total
    }
}
