//! One value of the configuration, read as what it should be.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Num, Tag, Value};

use super::context::Context;
use super::source::Source;
use crate::secret::Secret;
use crate::text::{parse_duration, quoted, show_duration};

/// The longest entry of an array of texts, in bytes.
const MAX_ITEM: usize = 300;

/// A value, with what is needed to report a fault in it.
pub(super) struct Entry<'a> {
    pub context: &'a Context<'a>,
    pub path: String,
    pub value: &'a Value,
    pub hidden: bool,
}

impl<'a> Entry<'a> {
    /// Keeps the value out of every report, because it is a secret or may hold one.
    pub(super) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(super) fn text(&self, max: usize) -> Option<String> {
        let Value::String(_, text) = self.value else { return self.mistyped("a text", "") };
        if text.contains('\0') {
            return self.refuse("has a NUL character");
        }
        if text.is_empty() || text.chars().count() > max {
            return self.out_of_range(&format!("1 to {max} characters"));
        }
        Some(text.clone())
    }

    /// A path. A relative one starts at the folder of the file that has it.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(4_096)?);
        let folder = self.context.sources.file(self.value.tag()).and_then(|(file, _)| file.parent());
        Some(folder.map_or(path.clone(), |folder| folder.join(&path)))
    }

    /// A text that no message quotes.
    pub(super) fn secret(&self) -> Option<Secret> {
        match self.value {
            Value::String(_, text) if !text.is_empty() && text.len() <= 4_096 && !text.contains('\0') => {
                Some(Secret::new(text))
            }
            Value::String(..) => self.refuse("is out of range: expected 1 to 4096 bytes"),
            _ => self.refuse("is not a text: expected it in quotes"),
        }
    }

    pub(super) fn duration(&self, min: Duration, max: Duration) -> Option<Duration> {
        let expected = format!("{} to {}", show_duration(min), show_duration(max));
        let duration = self.value.as_str().and_then(parse_duration);
        let Some(duration) = duration else {
            return self.mistyped("a duration", &format!("one such as \"10s\", {expected}"));
        };
        if duration < min || duration > max { self.out_of_range(&expected) } else { Some(duration) }
    }

    /// How long something is kept: a duration, whole years of 365 days such as `"2y"`, or `"forever"`, which is the
    /// inner none.
    pub(super) fn age(&self, min: Duration, max: Duration) -> Option<Option<Duration>> {
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

    pub(super) fn integer(&self) -> Option<i128> {
        match self.value {
            Value::Num(_, Num::F32(_) | Num::F64(_)) => None,
            Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128()?.try_into().ok()),
            Value::String(_, text) if self.is_environment() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A finite number.
    pub(super) fn number(&self) -> Option<f64> {
        let float = self.value.to_f64();
        let number = float.or_else(|| self.integer().map(|integer| integer as f64));
        let text = self.value.as_str().filter(|_| self.is_environment());
        let number = number.or_else(|| text?.trim().parse().ok());
        match number.filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => self.mistyped("a number", ""),
        }
    }

    /// The value as JSON, of at most `max` bytes.
    pub(super) fn json(&self, max: usize) -> Option<serde_json::Value> {
        let json = match serde_json::to_value(self.value) {
            Ok(json) if is_whole(&json) => json,
            _ => {
                return self
                    .refuse("has no form in JSON: expected a text, number, truth value, array or table");
            }
        };
        let length = json.to_string().len();
        if length > max {
            return self.refuse(format_args!("has {length} bytes as JSON: expected at most {max}"));
        }
        Some(json)
    }

    /// The value itself, or, if it is an array, its 1 to `max` entries.
    pub(super) fn one_or_more(self, max: usize) -> Vec<Entry<'a>> {
        let Value::Array(_, values) = self.value else { return vec![self] };
        if values.is_empty() || values.len() > max {
            let problem = format!("has {} entries: expected 1 to {max}", values.len());
            return self.refuse(problem).unwrap_or_default();
        }
        let entry = |(i, value)| Entry { path: format!("{}[{i}]", self.path), value, ..self };
        values.iter().enumerate().map(entry).collect()
    }

    pub(super) fn is_environment(&self) -> bool {
        self.context.sources.of(self.value.tag()) == Some(Source::Environment)
    }

    /// Reports that the value cannot be used, and why.
    pub(super) fn refuse<T>(&self, problem: impl Display) -> Option<T> {
        let text = self.value.as_str().unwrap_or_default();
        self.context.refuse_text(self.value.tag(), &self.path, text, problem.to_string());
        None
    }

    pub(super) fn mistyped<T>(&self, kind: &str, expected: &str) -> Option<T> {
        let expected = if expected.is_empty() { String::new() } else { format!(": expected {expected}") };
        let problem = format!("{} is not {kind}{expected}", self.shown());
        self.context.refuse(self.value.tag(), &self.path, problem);
        None
    }

    pub(super) fn out_of_range<T>(&self, expected: &str) -> Option<T> {
        let problem = format!("{} is out of range: expected {expected}", self.shown());
        self.context.refuse(self.value.tag(), &self.path, problem);
        None
    }

    fn shown(&self) -> Cow<'static, str> {
        let hidden = self.hidden || self.context.is_filled(self.value.tag());
        if hidden { Cow::Borrowed("(hidden)") } else { show(self.value) }
    }
}

/// Whether nothing was lost on the way from TOML: a number that is not finite became a null, and a date a table.
fn is_whole(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Null => false,
        serde_json::Value::Array(values) => values.iter().all(is_whole),
        serde_json::Value::Object(values) => {
            values.iter().all(|(key, value)| !key.starts_with("$__toml_private") && is_whole(value))
        }
        _ => true,
    }
}

/// An entry of an array of texts.
pub(super) struct Item<'a> {
    pub context: &'a Context<'a>,
    pub path: String,
    pub tag: Tag,
    pub text: Result<String, &'a Value>,
}

impl Item<'_> {
    /// The text, parsed.
    pub(super) fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
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
        let text = self.text.as_deref().unwrap_or_default();
        self.context.refuse_text(self.tag, &self.path, text, problem);
        None
    }
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
