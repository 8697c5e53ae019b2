//! Tells results in the order of the arguments: as records, as a page, or as rows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use webmon::record::Record;

use super::checked::Checked;
use super::line::Line;
use super::look::{self, Signs};
use super::page::{View, page, reasons};
use super::screen::{Screen, write};
use super::{row, words};

/// In which form results are told.
pub struct List {
    pub form: Form,
    pub verbose: bool,
    pub signs: &'static Signs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Pages,
    Rows,
}

/// The results of one round, as far as they are told.
pub struct Telling<'a> {
    list: &'a List,
    header: bool,
    round_at: Option<Timestamp>,
    next: usize,
    early: BTreeMap<usize, Checked>,
}

impl List {
    pub fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub fn view(&self, screen: &Screen) -> View {
        View { width: screen.width(), verbose: self.verbose, signs: self.signs }
    }

    /// Begins a round. A row begins with the time of the round if there are several rounds.
    pub fn begin(&self, header: bool, round_at: Option<Timestamp>) -> Telling<'_> {
        Telling { list: self, header, round_at, next: 0, early: BTreeMap::new() }
    }
}

impl Telling<'_> {
    /// Takes the result of the site at `index`, and tells those that are next.
    pub fn tell(&mut self, screen: &mut Screen, index: usize, checked: Checked) -> anyhow::Result<()> {
        self.early.insert(index, checked);
        while let Some(checked) = self.early.remove(&self.next) {
            self.next += 1;
            self.tell_one(screen, checked)?;
        }
        Ok(())
    }

    /// Tells the results that have come, although others before them have not.
    pub fn tell_rest(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        while let Some((_, checked)) = self.early.pop_first() {
            self.tell_one(screen, checked)?;
        }
        Ok(())
    }

    fn tell_one(&mut self, screen: &mut Screen, checked: Checked) -> anyhow::Result<()> {
        let view = self.list.view(screen);
        match self.list.form {
            Form::Json => {
                let mut line = Record::from(checked.observed.result).encode();
                line.push(b'\n');
                write(&line)?;
            }
            Form::Pages => {
                let mut lines = page(&checked, view);
                if self.next > 1 {
                    lines.insert(0, Line::new());
                }
                screen.print(&lines)?;
            }
            Form::Rows => screen.print(&self.rows(&checked, view))?,
        }
        Ok(())
    }

    fn rows(&mut self, checked: &Checked, view: View) -> Vec<Line> {
        let clock = self.round_at.map(|at| format!("{} ", words::clock(at))).unwrap_or_default();
        let row_view = View { width: view.width.saturating_sub(clock.len()), ..view };
        let mut lines = Vec::new();
        if std::mem::take(&mut self.header) {
            lines.push(Line::new().add(look::DIM, &" ".repeat(clock.len())).append(row::header(row_view)));
        }
        lines.push(Line::new().add(look::DIM, &clock).append(row::row(&checked.observed.result, row_view)));
        reasons(&mut lines, checked, view);
        if checked.is_unverified() {
            view.hang(&mut lines, "  ", look::WARNING, words::UNVERIFIED);
        }
        lines
    }
}
