//! Reads typed values from figment's tree and collects every fault on the way. One run over a file reports all that is
//! wrong with it, each fault with its path, its origin and its value.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Tag, Value};

use super::context::Context;
use super::entry::{Entry, Item};
use super::key::show_key;
use crate::limits::MAX_TEXT;
use crate::text::quoted;

/// A table of the configuration, and which of its keys were read.
pub(super) struct Table<'a> {
    context: &'a Context<'a>,
    path: String,
    separator: &'static str,
    /// Of the table itself: it tells the file.
    tag: Tag,
    dict: &'a Dict,
    /// Of the first that has a key it is taken, if the table itself does not have it.
    defaults: Vec<(&'a str, &'a Dict)>,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    /// The root of the file that `tag` belongs to.
    pub(super) fn root(context: &'a Context<'a>, tag: Tag, dict: &'a Dict) -> Table<'a> {
        Table::new(context, String::new(), "", tag, dict)
    }

    /// A table with a name of its own, such as `site[2]` or a target of a discovered file.
    pub(super) fn entry(context: &'a Context<'a>, path: String, tag: Tag, dict: &'a Dict) -> Table<'a> {
        Table::new(context, path, ": ", tag, dict)
    }

    /// The value as a table.
    pub(super) fn of(entry: Entry<'a>) -> Option<Table<'a>> {
        match entry.value {
            Value::Dict(tag, dict) => Some(Table::new(entry.context, entry.path, ".", *tag, dict)),
            _ => entry.mistyped("a table", ""),
        }
    }

    /// The section `key` of the root, or an empty one.
    pub(super) fn section(&self, key: &'static str, empty: &'a Dict) -> Table<'a> {
        self.table(key).unwrap_or_else(|| Table::new(self.context, key.to_owned(), ".", self.tag, empty))
    }

    pub(super) fn new(
        context: &'a Context<'a>,
        path: String,
        separator: &'static str,
        tag: Tag,
        dict: &'a Dict,
    ) -> Table<'a> {
        Table { context, path, separator, tag, dict, defaults: Vec::new(), known: RefCell::default() }
    }

    /// Takes from `defaults`, each a path and a table, what the table itself does not have: from the first that has it.
    pub(super) fn with_defaults(mut self, defaults: Vec<(&'a str, &'a Dict)>) -> Table<'a> {
        self.defaults = defaults;
        self
    }

    /// Adds a readable name after the index: `site[2] "shop"`.
    pub(super) fn named(mut self, name: &str) -> Table<'a> {
        self.path = format!("{} {}", self.path, quoted(name));
        self
    }

    #[cfg(feature = "check")]
    pub(super) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}{}{}", self.path, self.separator, show_key(key))
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        self.known.borrow_mut().insert(key);
        let own = self.dict.get(key).map(|value| (self.path_of(key), value));
        let (path, value) = own.or_else(|| {
            let mut defaults = self.defaults.iter();
            defaults.find_map(|(path, defaults)| Some((format!("{path}.{key}"), defaults.get(key)?)))
        })?;
        Some(Entry { context: self.context, path, value, hidden: false })
    }

    /// Reports the absence of `key`.
    pub(super) fn missing(&self, key: &'static str, expected: &str) {
        let problem = format!("is missing: expected {expected}");
        self.context.report(self.file_name().to_owned(), self.path_of(key), problem);
    }

    /// The file that the table stands in.
    pub(super) fn file_name(&self) -> &'a str {
        self.context.file(self.tag)
    }

    /// The path of the table as a whole, such as `site[2] "shop"`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reports a fault of the table as a whole.
    pub(super) fn fault(&self, problem: String) {
        let separator = if self.separator == ": " { ":" } else { "" };
        let path = format!("{}{separator}", self.path);
        self.context.report(self.file_name().to_owned(), path, problem);
    }

    /// The `text` that a key has, for a message about the table: not if variables are filled in.
    pub(super) fn shown(&self, key: &'static str, text: &str) -> String {
        let hidden = self.get(key).is_some_and(|entry| self.context.is_filled(entry.value.tag()));
        if hidden { "(hidden)".to_owned() } else { format!("{text:?}") }
    }

    pub(super) fn text(&self, key: &'static str, max: usize) -> Option<String> {
        self.get(key)?.text(max)
    }

    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        let entry = self.get(key)?;
        match entry.value {
            Value::Bool(_, value) => Some(*value),
            Value::String(_, text) if entry.is_environment() && text == "true" => Some(true),
            Value::String(_, text) if entry.is_environment() && text == "false" => Some(false),
            _ => entry.mistyped("a truth value", "true or false"),
        }
    }

    /// Whether the key is `false` instead of a table.
    pub(super) fn is_off(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|entry| match entry.value {
            Value::Bool(_, value) => !value,
            Value::String(_, text) => entry.is_environment() && text == "false",
            _ => false,
        })
    }

    pub(super) fn integer<T>(&self, key: &'static str, min: T, max: T) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy + Display,
    {
        let entry = self.get(key)?;
        let (low, high) = (min.into(), max.into());
        let expected = format!("{min} to {max}");
        let Some(number) = entry.integer() else { return entry.mistyped("an integer", &expected) };
        if number < low || number > high {
            return entry.out_of_range(&expected);
        }
        T::try_from(number).ok()
    }

    pub(super) fn duration(&self, key: &'static str, min: Duration, max: Duration) -> Option<Duration> {
        self.get(key)?.duration(min, max)
    }

    /// A size such as `"64KiB"` or a number of bytes.
    pub(super) fn size(&self, key: &'static str, min: u64, max: u64) -> Option<u64> {
        let entry = self.get(key)?;
        let expected = format!("{} to {}", show_size(min), show_size(max));
        let size = match (entry.integer(), entry.value) {
            (Some(bytes), _) => u64::try_from(bytes).ok(),
            (None, Value::String(_, text)) => {
                text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
            }
            _ => None,
        };
        let Some(size) = size else {
            return entry.mistyped("a size", &format!("one such as \"64KiB\", {expected}"));
        };
        if size < min || size > max { entry.out_of_range(&expected) } else { Some(size) }
    }

    /// A path. A relative one starts at the folder of the file that has it.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        self.get(key)?.file()
    }

    /// The entries of an array, `min` to `max` of them. One text from the environment is split at commas.
    pub(super) fn list(&self, key: &'static str, min: usize, max: usize) -> Option<Vec<Item<'a>>> {
        let entry = self.get(key)?;
        let items: Vec<Item> = match entry.value {
            Value::Array(_, values) => values
                .iter()
                .enumerate()
                .map(|(i, value)| Item {
                    context: self.context,
                    path: format!("{}[{i}]", entry.path),
                    tag: value.tag(),
                    text: value.as_str().map(str::to_owned).ok_or(value),
                })
                .collect(),
            Value::String(tag, text) if entry.is_environment() => text
                .split(',')
                .map(|part| Item {
                    context: self.context,
                    path: entry.path.clone(),
                    tag: *tag,
                    text: Ok(part.trim().to_owned()),
                })
                .collect(),
            _ => return entry.mistyped("an array", &format!("{min} to {max} texts")),
        };
        if items.len() < min || items.len() > max {
            return entry.refuse(format_args!("has {} entries: expected {min} to {max}", items.len()));
        }
        Some(items)
    }

    /// As [`Table::list`], or one text.
    pub(super) fn texts(&self, key: &'static str, min: usize, max: usize) -> Option<Vec<Item<'a>>> {
        let entry = self.get(key)?;
        match entry.value {
            Value::String(tag, text) if !entry.is_environment() => Some(vec![Item {
                context: self.context,
                path: entry.path,
                tag: *tag,
                text: Ok(text.clone()),
            }]),
            _ => self.list(key, min, max),
        }
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        Table::of(self.get(key)?)
    }

    /// The tables of an array of tables, such as `[[site]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        let Value::Array(_, values) = entry.value else {
            return entry.mistyped("an array of tables", "").unwrap_or_default();
        };
        let mut tables = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let path = format!("{}[{i}]", entry.path);
            match value {
                Value::Dict(tag, dict) => tables.push(Table::entry(self.context, path, *tag, dict)),
                _ => {
                    let entry = Entry { context: self.context, path, value, hidden: false };
                    let _: Option<()> = entry.mistyped("a table", "");
                }
            }
        }
        tables
    }

    /// The entries of a table of at most `max` free keys, each of 1 to 200 characters.
    pub(super) fn entries(&self, key: &'static str, max: usize) -> Option<Vec<(&'a str, Entry<'a>)>> {
        let entry = self.get(key)?;
        let Value::Dict(tag, dict) = entry.value else { return entry.mistyped("a table", "") };
        if dict.len() > max {
            return entry.refuse(format_args!("has {} entries: expected at most {max}", dict.len()));
        }
        let table = Table::new(self.context, entry.path, ".", *tag, dict);
        let entries = dict.iter().filter_map(|(key, value)| {
            let entry = Entry { context: self.context, path: table.path_of(key), value, hidden: false };
            let length = key.chars().count();
            if length == 0 || length > MAX_TEXT || key.contains('\0') {
                return entry.refuse(format_args!("is not a name: expected 1 to {MAX_TEXT} characters"));
            }
            Some((key.as_str(), entry))
        });
        Some(entries.collect())
    }

    /// Reports every key that was not read.
    pub(super) fn refuse_unknown(&self) {
        self.refuse_others("is unknown");
    }

    /// As [`Table::refuse_unknown`], with other words than `is unknown`.
    pub(super) fn refuse_others(&self, problem: &str) {
        let known = self.known.borrow();
        for (key, value) in self.dict.iter().filter(|(key, _)| !known.contains(key.as_str())) {
            let path = self.path_of(key);
            let names: Vec<&str> = known.iter().copied().collect();
            let problem = format!("{problem}: expected one of {}", names.join(", "));
            self.context.report(self.context.origin(value.tag(), &path), path, problem);
        }
    }

    pub(super) fn raw(&self) -> &'a Dict {
        self.dict
    }

    /// The tables that it takes defaults from.
    pub(super) fn defaults(&self) -> impl Iterator<Item = &'a Dict> {
        self.defaults.iter().map(|(_, defaults)| *defaults)
    }
}

fn show_size(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}
