//! A line of text for the terminal: pieces with a style, whose width is known. Nothing that is put into it can control
//! the terminal.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use webmon::text::printable;

#[derive(Clone, Debug, Default)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    pub fn new() -> Line {
        Line::default()
    }

    /// Adds `text`, whoever it is from.
    pub fn add(mut self, style: Style, text: &str) -> Line {
        self.push(style, text);
        self
    }

    pub fn push(&mut self, style: Style, text: &str) {
        self.0.push((style, printable(text)));
    }

    /// Adds spaces up to the column `width`.
    pub fn to(self, width: usize) -> Line {
        let missing = width.saturating_sub(self.width());
        self.add(Style::new(), &" ".repeat(missing))
    }

    pub fn append(mut self, other: Line) -> Line {
        self.0.extend(other.0);
        self
    }

    /// The columns that it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The line in at most `width` columns, with `more` at its end if it was longer.
    pub fn cut(self, width: usize, more: &str) -> Line {
        if self.width() <= width {
            return self;
        }
        let mut room = width.saturating_sub(more.width());
        let mut line = Line::new();
        for (style, text) in self.0 {
            let (fits, rest) = split_at_width(&text, room);
            room -= fits.width();
            line.0.push((style, fits.to_owned()));
            if !rest.is_empty() {
                line.0.push((style, more.to_owned()));
                break;
            }
        }
        line
    }

    pub fn show(&self, colors: bool) -> String {
        let mut shown = String::new();
        for (style, text) in &self.0 {
            if colors && *style != Style::new() && !text.is_empty() {
                shown.push_str(&format!("{style}{text}{style:#}"));
            } else {
                shown.push_str(text);
            }
        }
        // What is right of the last letter is of no use in a file.
        if colors { shown } else { shown.trim_end().to_owned() }
    }
}

/// Breaks `text` into lines of at most `width` columns, between words where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let (text, width) = (printable(text), width.max(1));
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let space = usize::from(!line.is_empty());
        if line.width() + space + word.width() <= width {
            if space == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut word = word;
        while word.width() > width {
            let (fits, rest) = split_at_width(word, width);
            // A letter may be wider than the line.
            let at = if fits.is_empty() { word.chars().next().map_or(0, char::len_utf8) } else { fits.len() };
            lines.push(word[..at].to_owned());
            word = if fits.is_empty() { &word[at..] } else { rest };
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `text` in at most `width` columns, and the rest.
fn split_at_width(text: &str, width: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken > width {
            return text.split_at(at);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::new().add(Style::new().bold(), text)
    }

    #[test]
    fn a_line_takes_no_more_columns_than_it_is_given() {
        for text in ["", "shop", "東京の店", "e\u{301}e\u{301}e\u{301}", "👩‍💻👩‍💻", "a\u{1b}[31mb"]
        {
            for width in 1..20 {
                let cut = line(text).add(Style::new(), text).cut(width, "…");
                assert!(cut.width() <= width, "{text:?} in {width}: {:?}", cut.show(false));
            }
        }
        assert_eq!(line("東京の店").cut(5, "…").show(false), "東京…");
        assert_eq!(line("shop").cut(4, "…").show(false), "shop");
    }

    #[test]
    fn a_line_cannot_control_the_terminal() {
        let shown = line("a\u{1b}]0;title\u{7}\u{202e}b's").show(true);
        assert_eq!(shown, "\u{1b}[1ma\\u{1b}]0;title\\u{7}\\u{202e}b's\u{1b}[0m");
    }

    #[test]
    fn text_is_broken_between_words_and_within_long_ones() {
        assert_eq!(wrap("the body does not match", 10), ["the body", "does not", "match"]);
        assert_eq!(wrap("https://shop.example/ is", 10), ["https://sh", "op.example", "/ is"]);
        assert_eq!(wrap("東京", 1), ["東", "京"]);
        assert_eq!(wrap("", 10), [""]);
    }
}
