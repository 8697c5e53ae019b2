//! Reads typed values out of figment's tree and collects every fault on the way: one run over a file tells
//! all that is wrong with it, each with its path, its origin and its value.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Num, Tag, Value};
use figment::{Figment, Source};
use jiff::{Span, SpanRelativeTo};

use super::env::{ENVIRONMENT, Environment};
use crate::result::{MAX_TEXT, truncated};

/// The longest entry of an array of texts, in bytes.
const MAX_ITEM: usize = 300;

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where the value comes from: the file, or the environment variable.
    pub origin: String,
    /// The key's path, such as `kafka.brokers` or `site[2] "shop": timeout`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { " " };
        write!(f, "{}: {}{separator}{}", self.origin, self.path, self.problem)
    }
}

/// What all tables of one configuration share.
pub(super) struct Context<'a> {
    pub figment: &'a Figment,
    pub environment: &'a Environment,
    /// Where a missing key would be: the file.
    pub default_origin: String,
    pub faults: RefCell<Faults>,
}

/// Faults in the order found, each once: a value of `site_defaults` is read for every site.
#[derive(Default)]
pub(super) struct Faults {
    found: Vec<Fault>,
    seen: HashSet<Fault>,
}

impl Faults {
    fn push(&mut self, fault: Fault) {
        if self.seen.insert(fault.clone()) {
            self.found.push(fault);
        }
    }

    pub fn into_found(self) -> Vec<Fault> {
        self.found
    }
}

impl Context<'_> {
    fn origin(&self, tag: Tag, path: &str) -> String {
        match self.figment.get_metadata(tag) {
            Some(metadata) if metadata.name == ENVIRONMENT => self.environment.name_of(path).to_owned(),
            Some(metadata) => match &metadata.source {
                Some(Source::File(file)) => file.display().to_string(),
                _ => metadata.name.to_string(),
            },
            None => self.default_origin.clone(),
        }
    }

    fn report(&self, origin: String, path: String, problem: String) {
        self.faults.borrow_mut().push(Fault { origin, path, problem });
    }
}

/// A table of the configuration, and which of its keys were asked for.
pub(super) struct Table<'a> {
    context: &'a Context<'a>,
    path: String,
    separator: &'static str,
    dict: &'a Dict,
    defaults: Option<(&'a str, &'a Dict)>,
    known: RefCell<BTreeSet<&'static str>>,
}

/// A value with what is needed to report a fault in it.
pub(super) struct Entry<'a> {
    context: &'a Context<'a>,
    pub path: String,
    value: &'a Value,
    hidden: bool,
}

impl<'a> Table<'a> {
    pub fn root(context: &'a Context<'a>, dict: &'a Dict) -> Table<'a> {
        Table::new(context, String::new(), "", dict)
    }

    /// The section `key` of the root, or an empty one.
    pub fn section(&self, key: &'static str, empty: &'a Dict) -> Table<'a> {
        self.table(key).unwrap_or_else(|| Table::new(self.context, key.to_owned(), ".", empty))
    }

    fn new(context: &'a Context<'a>, path: String, separator: &'static str, dict: &'a Dict) -> Table<'a> {
        Table { context, path, separator, dict, defaults: None, known: RefCell::default() }
    }

    /// Looks up in `defaults` what the table itself does not have.
    pub fn with_defaults(mut self, path: &'a str, defaults: &'a Dict) -> Table<'a> {
        self.defaults = Some((path, defaults));
        self
    }

    /// Puts a readable name behind the index: `site[2] "shop"`.
    pub fn named(mut self, name: &str) -> Table<'a> {
        self.path = format!("{} {}", self.path, quoted(name));
        self
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}{}{}", self.path, self.separator, show_key(key))
    }

    pub fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        self.known.borrow_mut().insert(key);
        let own = self.dict.get(key).map(|value| (self.path_of(key), value));
        let (path, value) = own.or_else(|| {
            let (path, defaults) = self.defaults?;
            Some((format!("{path}.{key}"), defaults.get(key)?))
        })?;
        Some(Entry { context: self.context, path, value, hidden: false })
    }

    /// Reports the absence of `key`.
    pub fn missing(&self, key: &'static str, expected: &str) {
        let problem = format!("is missing: expected {expected}");
        self.context.report(self.context.default_origin.clone(), self.path_of(key), problem);
    }

    /// Reports a fault of the table as a whole.
    pub fn fault(&self, problem: String) {
        let separator = if self.separator == ": " { ":" } else { "" };
        let path = format!("{}{separator}", self.path);
        self.context.report(self.context.default_origin.clone(), path, problem);
    }

    pub fn text(&self, key: &'static str, max: usize) -> Option<String> {
        self.get(key)?.text(max)
    }

    pub fn bool(&self, key: &'static str) -> Option<bool> {
        let entry = self.get(key)?;
        match entry.value {
            Value::Bool(_, value) => Some(*value),
            Value::String(_, text) if entry.is_environment() && text == "true" => Some(true),
            Value::String(_, text) if entry.is_environment() && text == "false" => Some(false),
            _ => entry.mistyped("a truth value", "true or false"),
        }
    }

    /// Whether `false` stands where otherwise there is a table.
    pub fn is_off(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|entry| match entry.value {
            Value::Bool(_, value) => !value,
            Value::String(_, text) => entry.is_environment() && text == "false",
            _ => false,
        })
    }

    pub fn integer<T>(&self, key: &'static str, min: T, max: T) -> Option<T>
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

    pub fn duration(&self, key: &'static str, min: Duration, max: Duration) -> Option<Duration> {
        self.get(key)?.duration(min, max)
    }

    /// A size such as `"64KiB"` or a number of bytes.
    pub fn size(&self, key: &'static str, min: u64, max: u64) -> Option<u64> {
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

    /// A path; a relative one is taken from the folder of the file that states it.
    pub fn file(&self, key: &'static str) -> Option<PathBuf> {
        let entry = self.get(key)?;
        let path = PathBuf::from(entry.text(4_096)?);
        let source = self.context.figment.get_metadata(entry.value.tag()).and_then(|m| m.source.as_ref());
        match source {
            Some(Source::File(file)) => Some(file.parent().map_or(path.clone(), |folder| folder.join(&path))),
            _ => Some(path),
        }
    }

    /// The entries of an array, `min` to `max` of them. One text from the environment is split at commas.
    pub fn list(&self, key: &'static str, min: usize, max: usize) -> Option<Vec<Item<'a>>> {
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

    pub fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let entry = self.get(key)?;
        match entry.value {
            Value::Dict(_, dict) => Some(Table::new(self.context, entry.path, ".", dict)),
            _ => entry.mistyped("a table", ""),
        }
    }

    /// The tables of an array of tables, such as `[[site]]`.
    pub fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        let Value::Array(_, values) = entry.value else {
            return entry.mistyped("an array of tables", "").unwrap_or_default();
        };
        let mut tables = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            let path = format!("{}[{i}]", entry.path);
            match value {
                Value::Dict(_, dict) => tables.push(Table::new(self.context, path, ": ", dict)),
                _ => {
                    let entry = Entry { context: self.context, path, value, hidden: false };
                    let _: Option<()> = entry.mistyped("a table", "");
                }
            }
        }
        tables
    }

    /// The entries of a table of at most `max` free keys, each of 1 to 200 characters.
    pub fn entries(&self, key: &'static str, max: usize) -> Option<Vec<(&'a str, Entry<'a>)>> {
        let entry = self.get(key)?;
        let Value::Dict(_, dict) = entry.value else { return entry.mistyped("a table", "") };
        if dict.len() > max {
            return entry.refuse(format_args!("has {} entries: expected at most {max}", dict.len()));
        }
        let table = Table::new(self.context, entry.path, ".", dict);
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

    /// Reports every key that nobody asked for.
    pub fn refuse_unknown(&self) {
        let known = self.known.borrow();
        for (key, value) in self.dict.iter().filter(|(key, _)| !known.contains(key.as_str())) {
            let path = self.path_of(key);
            let names: Vec<&str> = known.iter().copied().collect();
            let problem = format!("is unknown: expected one of {}", names.join(", "));
            self.context.report(self.context.origin(value.tag(), &path), path, problem);
        }
    }

    pub fn raw(&self) -> &'a Dict {
        self.dict
    }
}

impl Entry<'_> {
    /// Keeps the value out of every report: it is a secret, or may hold one.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub fn text(&self, max: usize) -> Option<String> {
        let Value::String(_, text) = self.value else { return self.mistyped("a text", "") };
        if text.contains('\0') {
            return self.refuse("has a NUL character");
        }
        if text.is_empty() || text.chars().count() > max {
            return self.out_of_range(&format!("1 to {max} characters"));
        }
        Some(text.clone())
    }

    /// A text that no message quotes.
    pub fn secret(&self) -> Option<super::Secret> {
        match self.value {
            Value::String(_, text) if !text.is_empty() && text.len() <= 4_096 && !text.contains('\0') => {
                Some(super::Secret::new(text))
            }
            Value::String(..) => self.refuse("is out of range: expected 1 to 4096 bytes"),
            _ => self.refuse("is not a text: expected it in quotes"),
        }
    }

    pub fn duration(&self, min: Duration, max: Duration) -> Option<Duration> {
        let expected = format!("{} to {}", show_duration(min), show_duration(max));
        let duration = self.value.as_str().and_then(parse_duration);
        let Some(duration) = duration else {
            return self.mistyped("a duration", &format!("one such as \"10s\", {expected}"));
        };
        if duration < min || duration > max { self.out_of_range(&expected) } else { Some(duration) }
    }

    /// How long something is kept: a duration, whole years of 365 days such as `"2y"`, or `"forever"`, the inner none.
    pub fn age(&self, min: Duration, max: Duration) -> Option<Option<Duration>> {
        let text = self.value.as_str().unwrap_or_default();
        if text == "forever" {
            return Some(None);
        }
        let expected = format!("{} to {}, or \"forever\"", show_duration(min), show_duration(max));
        let years = text.strip_suffix('y').and_then(|years| years.parse::<u32>().ok());
        let years = years.map(|years| Duration::from_secs(u64::from(years) * 365 * 86_400));
        match years.or_else(|| parse_duration(text)) {
            None => self.mistyped("a duration", &format!("one such as \"90d\" or \"2y\", {expected}")),
            Some(age) if age < min || age > max => self.out_of_range(&expected),
            Some(age) => Some(Some(age)),
        }
    }

    fn integer(&self) -> Option<i128> {
        match self.value {
            Value::Num(_, Num::F32(_) | Num::F64(_)) => None,
            Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128()?.try_into().ok()),
            Value::String(_, text) if self.is_environment() => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn is_environment(&self) -> bool {
        self.context.figment.get_metadata(self.value.tag()).is_some_and(|m| m.name == ENVIRONMENT)
    }

    /// Reports that the value parsed is not usable, with the parser's own words.
    pub fn refuse<T>(&self, problem: impl Display) -> Option<T> {
        let origin = self.context.origin(self.value.tag(), &self.path);
        self.context.report(origin, self.path.clone(), problem.to_string());
        None
    }

    fn mistyped<T>(&self, kind: &str, expected: &str) -> Option<T> {
        let expected = if expected.is_empty() { String::new() } else { format!(": expected {expected}") };
        self.refuse(format_args!("{} is not {kind}{expected}", self.shown()))
    }

    fn out_of_range<T>(&self, expected: &str) -> Option<T> {
        self.refuse(format_args!("{} is out of range: expected {expected}", self.shown()))
    }

    fn shown(&self) -> Cow<'static, str> {
        if self.hidden { Cow::Borrowed("(hidden)") } else { show(self.value) }
    }
}

/// An entry of an array of texts.
pub(super) struct Item<'a> {
    context: &'a Context<'a>,
    path: String,
    tag: Tag,
    text: Result<String, &'a Value>,
}

impl Item<'_> {
    /// The text, parsed.
    pub fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let problem = match &self.text {
            Ok(text) if text.is_empty() || text.len() > MAX_ITEM => {
                format!("{} is out of range: expected 1 to {MAX_ITEM} bytes", quoted(text))
            }
            Ok(text) => match parse(text) {
                Ok(value) => return Some(value),
                Err(problem) => problem.to_string(),
            },
            Err(value) => format!("{} is not a text", show(value)),
        };
        self.context.report(self.context.origin(self.tag, &self.path), self.path.clone(), problem);
        None
    }
}

/// Reads `250ms`, `10s`, `1h30m`, `90d`; a day has 24 hours.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// The shortest usual form: `90s` as `1m30s`, `250ms`, `90d`.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut shown = String::new();
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= millis {
            shown.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    shown
}

fn show_size(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// A key as TOML writes it: bare where it can be.
pub(super) fn show_key(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.len() <= MAX_TEXT && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(quoted(key))
    }
}

/// `text` in quotes, escaped, the start of it where it is long.
pub(super) fn quoted(text: &str) -> String {
    let more = if text.len() > MAX_TEXT { "…" } else { "" };
    format!("{:?}{more}", truncated(text, MAX_TEXT))
}

fn show(value: &Value) -> Cow<'static, str> {
    match value {
        Value::String(_, text) => Cow::Owned(quoted(text)),
        Value::Char(_, character) => Cow::Owned(format!("{character:?}")),
        Value::Bool(_, value) => Cow::Owned(value.to_string()),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(integer), _) => Cow::Owned(integer.to_string()),
            (None, Some(float)) => Cow::Owned(float.to_string()),
            (None, None) => Cow::Borrowed("(a number)"),
        },
        Value::Empty(..) => Cow::Borrowed("(nothing)"),
        Value::Dict(..) => Cow::Borrowed("(a table)"),
        Value::Array(..) => Cow::Borrowed("(an array)"),
    }
}
