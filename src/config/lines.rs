//! The lines of a TOML file at which its tables and keys stand. They are looked for only when there is a fault to name.

use toml_edit::{Array, ArrayOfTables, ImDocument, Item, Key, TableLike, Value};

use super::key::show_key;

/// A file, parsed once more, with the place of everything in it.
pub(super) struct Lines<'a> {
    document: ImDocument<&'a str>,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// None if `text` is not TOML.
    pub(super) fn new(text: &'a str) -> Option<Lines<'a>> {
        let document = ImDocument::parse(text).ok()?;
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Some(Lines { document, starts: std::iter::once(0).chain(ends).collect() })
    }

    /// The line, from 1, of the key, table or entry at `path`, which is as a fault shows it: `kafka.brokers[1]`, or
    /// `site[2] "shop": timeout`. What the file does not have is at the line of the table that should have it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let mut place = Place::Table(self.document.as_table());
        let mut found = None;
        for step in Steps(path) {
            let (at, next) = match (place, step) {
                (Place::Table(table), Step::Key(shown)) => {
                    let Some((key, item)) = entry(table, shown) else { break };
                    (key.span().or(item.span()), Place::of(item))
                }
                (Place::Array(array), Step::Index(i)) => {
                    let Some(value) = array.get(i) else { break };
                    (value.span(), Place::of_value(value))
                }
                (Place::Tables(tables), Step::Index(i)) => {
                    let Some(table) = tables.get(i) else { break };
                    (table.span(), Place::Table(table))
                }
                _ => break,
            };
            found = at.or(found);
            place = next;
        }
        let at = found?.start;
        Some(self.starts.partition_point(|start| *start <= at))
    }
}

/// The entry whose key messages show as `shown`.
fn entry<'t>(table: &'t dyn TableLike, shown: &str) -> Option<(&'t Key, &'t Item)> {
    match table.get_key_value(shown) {
        Some(found) => Some(found),
        None => {
            let (key, _) = table.iter().find(|(key, _)| show_key(key) == shown)?;
            table.get_key_value(key)
        }
    }
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Table(&'t dyn TableLike),
    Array(&'t Array),
    Tables(&'t ArrayOfTables),
    /// Nothing is within it.
    Leaf,
}

impl<'t> Place<'t> {
    fn of(item: &'t Item) -> Place<'t> {
        match item {
            Item::None => Place::Leaf,
            Item::Value(value) => Place::of_value(value),
            Item::Table(table) => Place::Table(table),
            Item::ArrayOfTables(tables) => Place::Tables(tables),
        }
    }

    fn of_value(value: &'t Value) -> Place<'t> {
        match value {
            Value::Array(array) => Place::Array(array),
            Value::InlineTable(table) => Place::Table(table),
            _ => Place::Leaf,
        }
    }
}

enum Step<'p> {
    /// A key as [`show_key`] shows it.
    Key(&'p str),
    Index(usize),
}

/// The steps of a path, from the root.
struct Steps<'p>(&'p str);

impl<'p> Iterator for Steps<'p> {
    type Item = Step<'p>;

    fn next(&mut self) -> Option<Step<'p>> {
        // The name behind the index of a site is for people.
        if let Some(name) = self.0.strip_prefix(' ') {
            self.0 = name.get(length_of_quoted(name)..)?;
        }
        self.0 = self.0.trim_start_matches([':', ' ', '.']);
        if let Some(rest) = self.0.strip_prefix('[') {
            let (index, rest) = rest.split_once(']')?;
            self.0 = rest;
            return Some(Step::Index(index.parse().ok()?));
        }
        let length = match self.0.starts_with('"') {
            true => length_of_quoted(self.0),
            false => self.0.find(['.', '[', ':', ' ']).unwrap_or(self.0.len()),
        };
        let (key, rest) = self.0.split_at_checked(length).filter(|_| length > 0)?;
        self.0 = rest;
        Some(Step::Key(key))
    }
}

/// The length of the quoted text at the start, with the mark of a text that was cut.
fn length_of_quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    let end = end.map_or(text.len(), |(at, _)| at + 1);
    if text.get(end..).is_some_and(|rest| rest.starts_with('…')) { end + '…'.len_utf8() } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"check.location = "here"
[kafka]
brokers = [
    "a:1",
    "b",
]
[site_defaults.expect]
status = ["200"]
[template.api]
labels = { a = "1", "x y" = "2" }

[[site]]
name = "one"

[[site]] # the second
name = "two"
expect.header."X \" Y" = "("
[site.incident]
failures = 0
[[maintenance]]
"#;

    #[test]
    fn a_path_leads_to_the_line_of_its_key_entry_or_table() {
        let lines = Lines::new(FILE).unwrap();
        for (path, line) in [
            ("check.location", Some(1)),
            ("kafka", Some(2)),
            ("kafka.brokers", Some(3)),
            ("kafka.brokers[1]", Some(5)),
            ("kafka.topic", Some(2)),
            ("site_defaults.expect.status[0]", Some(8)),
            ("template.api", Some(9)),
            ("template.api.labels.\"x y\"", Some(10)),
            ("site[0] \"one\": url", Some(12)),
            ("site[1] \"two\":", Some(15)),
            ("site[1] \"t.w: [o]\": name", Some(16)),
            (r#"site[1] "a \" b"…: expect.header."X \" Y""#, Some(17)),
            ("site[1]: incident.failures", Some(19)),
            ("maintenance[0]: sites[3]", Some(20)),
            ("site[9]: name", Some(12)),
            ("", None),
            ("zzz", None),
        ] {
            assert_eq!(lines.line(path), line, "{path}");
        }
    }

    #[test]
    fn no_path_makes_it_panic() {
        let lines = Lines::new(FILE).unwrap();
        for path in [
            "[",
            "[]",
            "[99999999999999999999]",
            " ",
            " \"",
            "\"",
            "site[",
            "site[0",
            "site[0] ",
            ".",
            "…",
            "site…",
        ] {
            lines.line(path);
        }
        assert!(Lines::new("a = ").is_none());
    }
}
