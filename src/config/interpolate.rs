//! `${NAME}` and `${NAME:-default}` in the texts of sites, templates, `[site_defaults]`, receivers, `[heartbeat]` and
//! pages: filled in once, when the configuration is read. What they stand for is never shown.

use std::collections::HashMap;

use figment::value::{Dict, Tag, Value};

use super::context::Faults;
use super::fault::Fault;
use super::key::show_key;
use super::role::Role;
use super::source::Sources;
use crate::text::quoted;

/// The longest text with its variables filled in, in bytes.
const MAX_FILLED: usize = 1 << 20;
/// The most bytes of all such texts together.
const MAX_ALL: usize = 256 << 20;

/// Which texts have variables, and what these stand for.
pub(super) struct Interpolation<'a> {
    sources: &'a Sources,
    variables: HashMap<&'a str, &'a str>,
    /// What each text with variables filled in holds of them.
    values: HashMap<String, Vec<String>>,
    bytes: usize,
}

impl<'a> Interpolation<'a> {
    pub(super) fn new(sources: &'a Sources, variables: &'a [(String, String)]) -> Interpolation<'a> {
        let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Interpolation { sources, variables, values: HashMap::new(), bytes: 0 }
    }

    /// Fills in the variables of one file, as far as a program of this role reads it.
    pub(super) fn fill(&mut self, root: &mut Dict, role: Role, faults: &mut Faults) {
        // A program is not given the secrets of the others.
        let is_told = |key: &&str| match *key {
            "receiver" | "heartbeat" => role == Role::Store,
            "page" => role == Role::Page,
            _ => true,
        };
        for key in ["site_defaults", "template", "heartbeat"].into_iter().filter(is_told) {
            if let Some(value) = root.get_mut(key) {
                self.value(value, &|| key.to_owned(), faults);
            }
        }
        for key in ["site", "receiver", "page"].into_iter().filter(is_told) {
            if let Some(Value::Array(_, tables)) = root.get_mut(key) {
                self.tables(key, tables, faults);
            }
        }
    }

    fn tables(&mut self, kind: &str, tables: &mut [Value], faults: &mut Faults) {
        for (i, table) in tables.iter_mut().enumerate().filter(|(_, table)| has_dollar(table)) {
            let Value::Dict(_, dict) = table else { continue };
            let name = dict.get("name").and_then(Value::as_str).filter(|name| !name.contains('$'));
            let name = name.map_or_else(String::new, |name| format!(" {}", quoted(name)));
            for (key, value) in dict.iter_mut() {
                self.value(value, &|| format!("{kind}[{i}]{name}: {}", show_key(key)), faults);
            }
        }
    }

    fn value(&mut self, value: &mut Value, path: &dyn Fn() -> String, faults: &mut Faults) {
        match value {
            Value::String(tag, text) if text.contains('$') => self.text(tag, text, path, faults),
            Value::Dict(_, dict) => {
                for (key, value) in dict.iter_mut() {
                    self.value(value, &|| format!("{}.{}", path(), show_key(key)), faults);
                }
            }
            Value::Array(_, values) => {
                for (i, value) in values.iter_mut().enumerate() {
                    self.value(value, &|| format!("{}[{i}]", path()), faults);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, tag: &mut Tag, text: &mut String, path: &dyn Fn() -> String, faults: &mut Faults) {
        // A value of the environment is taken literally.
        let Some((filled, unfilled)) = self.sources.filled_and_unfilled(*tag) else { return };
        let origin = self.sources.file(*tag).map_or("", |(_, shown)| shown);
        match self.filled(text) {
            Ok(new) => {
                if !new.values.is_empty() {
                    *tag = filled;
                    self.values.entry(new.text.clone()).or_default().extend(new.values);
                }
                *text = new.text;
            }
            Err(problem) => {
                *tag = unfilled;
                faults.push(Fault::new(origin, path(), problem));
            }
        }
    }

    fn filled(&mut self, text: &str) -> Result<Filled, String> {
        let mut new = Filled { text: String::with_capacity(text.len()), values: Vec::new() };
        let mut rest = text;
        while let Some((before, from_dollar)) = rest.split_once('$') {
            new.text.push_str(before);
            rest = from_dollar;
            if let Some(after) = rest.strip_prefix('$') {
                new.text.push('$');
                rest = after;
                continue;
            }
            let Some(variable) = Variable::at_start(rest) else {
                new.text.push('$');
                continue;
            };
            rest = rest.get(variable.length..).unwrap_or_default();
            let value = self.value_of(&variable)?;
            new.text.push_str(value);
            new.values.push(value.to_owned());
            if new.text.len() > MAX_FILLED {
                return Err(format!("is longer than {MAX_FILLED} bytes with its variables filled in"));
            }
        }
        new.text.push_str(rest);
        if !new.values.is_empty() {
            self.bytes += new.text.len();
            if self.bytes > MAX_ALL {
                return Err(format!("is one text with variables too many: expected {MAX_ALL} bytes of them"));
            }
        }
        Ok(new)
    }

    fn value_of<'v>(&self, variable: &Variable<'v>) -> Result<&'v str, String>
    where
        'a: 'v,
    {
        let Variable { name, default, .. } = variable;
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("has a variable in the default of {name}: expected a text without one"));
        }
        // As a shell has it, a default is for a variable that is empty too.
        match (self.variables.get(name), default) {
            (Some(value), default) if default.is_none() || !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default),
            (_, None) => Err(format!(
                "names the variable {name}, which is not set (or not UTF-8): expected it in the environment, or a default \
                 as in ${{{name}:-text}}"
            )),
        }
    }

    /// What the variables in these texts stand for.
    pub(super) fn into_values(self) -> HashMap<String, Vec<String>> {
        self.values
    }
}

struct Filled {
    text: String,
    values: Vec<String>,
}

struct Variable<'a> {
    name: &'a str,
    default: Option<&'a str>,
    /// Of the whole `{NAME}` or `{NAME:-default}`.
    length: usize,
}

impl<'a> Variable<'a> {
    /// The variable that begins behind a `$`.
    fn at_start(text: &'a str) -> Option<Variable<'a>> {
        let inner = text.strip_prefix('{')?;
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = inner.find(|c| !is_of_name(c))?;
        let (name, rest) = inner.split_at_checked(end)?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        if rest.starts_with('}') {
            return Some(Variable { name, default: None, length: end + 2 });
        }
        let default = rest.strip_prefix(":-")?;
        let default = default.get(..default.find('}')?)?;
        Some(Variable { name, default: Some(default), length: end + default.len() + 4 })
    }
}

fn has_dollar(value: &Value) -> bool {
    match value {
        Value::String(_, text) => text.contains('$'),
        Value::Dict(_, dict) => dict.values().any(has_dollar),
        Value::Array(_, values) => values.iter().any(has_dollar),
        _ => false,
    }
}
