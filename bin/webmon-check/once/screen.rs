//! Where the output goes: a terminal, whose width and colours it has, or a file.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use anstream::{AutoStream, ColorChoice};
use terminal_size::{Height, Width, terminal_size};

use super::args::Color;
use super::line::Line;
use super::look;

/// The width where none is known, and the bounds of one that is.
const USUAL_WIDTH: usize = 80;
const WIDTHS: (usize, usize) = (30, 500);
const USUAL_HEIGHT: usize = 24;

pub struct Screen {
    colors: bool,
    terminal: bool,
    /// The lines of the frame that is shown, and the width that they were drawn for.
    drawn: Option<(usize, usize)>,
    /// Whether it shows a text that does not stay.
    waits: bool,
}

impl Screen {
    pub fn new(color: Color) -> Screen {
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        };
        Screen { colors, terminal: io::stdout().is_terminal(), drawn: None, waits: false }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The columns of the terminal, or those of `COLUMNS`.
    pub fn width(&self) -> usize {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let width = match terminal_size() {
            Some((Width(0), _)) | None => columns(),
            Some((Width(width), _)) => Some(usize::from(width)),
        };
        width.unwrap_or(USUAL_WIDTH).clamp(WIDTHS.0, WIDTHS.1)
    }

    /// On a terminal, shows `text` until something else is printed.
    pub fn wait(&mut self, text: &str) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        self.waits = true;
        let line = Line::new().add(look::DIM, text).cut(self.width() - 1, "");
        write(format!("\r{}\x1b[K", line.show(self.colors)).as_bytes())
    }

    /// Removes what [`Screen::wait`] shows.
    pub fn waited(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.waits) { write(b"\r\x1b[K") } else { Ok(()) }
    }

    pub fn print(&mut self, lines: &[Line]) -> io::Result<()> {
        self.waited()?;
        let mut shown = String::new();
        for line in lines {
            shown.push_str(&line.show(self.colors));
            shown.push('\n');
        }
        self.drawn = None;
        write(shown.as_bytes())
    }

    /// Shows `lines` in the place of the lines of the call before.
    pub fn redraw(&mut self, lines: &[Line]) -> io::Result<()> {
        let width = self.width();
        let height = terminal_size().map_or(USUAL_HEIGHT, |(_, Height(rows))| usize::from(rows)).max(3);
        // The cursor stays below the frame, so one row is for it.
        let room = height - 1;
        let mut shown = String::new();
        match self.drawn {
            // A terminal that was resized has moved everything.
            Some((_, before)) if before != width => shown.push_str("\x1b[H\x1b[2J"),
            Some((rows, _)) if rows > 0 => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\r\x1b[{rows}A");
            }
            _ => {}
        }
        let fitting = if lines.len() > room { room - 1 } else { lines.len() };
        for line in &lines[..fitting] {
            shown.push_str(&line.show(self.colors));
            shown.push_str("\x1b[K\n");
        }
        let mut rows = fitting;
        if fitting < lines.len() {
            let more = format!("{} more lines", lines.len() - fitting);
            shown.push_str(&Line::new().add(look::DIM, &more).show(self.colors));
            shown.push_str("\x1b[K\n");
            rows += 1;
        }
        shown.push_str("\x1b[J");
        self.drawn = Some((rows, width));
        write(shown.as_bytes())
    }
}

/// Writes to stdout at once.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
