//! Where each value comes from: every value of the tree has a tag, and here is what the tags stand for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::fault::Fault;
use super::lines::Lines;

/// What a tag says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It comes from an environment variable.
    Environment,
    /// It stands in the file of this number.
    File(usize),
    /// It stands in the file of this number, and variables are filled in. No message shows it.
    Filled(usize),
    /// It stands in the file of this number, and has a variable without a value. That is reported already.
    Unfilled(usize),
}

/// All that one configuration is read from.
#[derive(Default)]
pub(super) struct Sources {
    files: Vec<SourceFile>,
    sources: BTreeMap<Tag, Source>,
    environment: Tag,
}

struct SourceFile {
    path: PathBuf,
    shown: String,
    /// For the lines of faults; none if it is not TOML.
    toml: Option<String>,
    plain: Tag,
    filled: Tag,
    unfilled: Tag,
}

impl Sources {
    pub(super) fn new() -> Sources {
        let mut sources = Sources::default();
        sources.environment = sources.mint(Source::Environment);
        sources
    }

    /// Adds a file and returns the tag of what stands in it.
    pub(super) fn add(&mut self, path: &Path, shown: &str, toml: Option<String>) -> Tag {
        let number = self.files.len();
        let file = SourceFile {
            path: path.to_owned(),
            shown: shown.to_owned(),
            toml,
            plain: self.mint(Source::File(number)),
            filled: self.mint(Source::Filled(number)),
            unfilled: self.mint(Source::Unfilled(number)),
        };
        let tag = file.plain;
        self.files.push(file);
        tag
    }

    /// Adds a file of TOML and returns its tables.
    ///
    /// # Errors
    /// What is wrong with it, on one line, without any text of the file.
    pub(super) fn add_toml(&mut self, path: &Path, shown: &str, text: String) -> Result<(Tag, Dict), String> {
        let data = Toml::string(&text).data().map_err(|error| without_source(&error.kind.to_string()));
        let tag = self.add(path, shown, Some(text));
        let mut dict = data?.remove(&Profile::Default).unwrap_or_default();
        dict.values_mut().for_each(|value| set_tag(value, tag));
        Ok((tag, dict))
    }

    /// Puts the values of `environment` over those of `dict`.
    pub(super) fn add_environment(&self, dict: &mut Dict, environment: impl Provider) {
        let over = environment.data().ok().and_then(|mut data| data.remove(&Profile::Default));
        for (key, mut value) in over.into_iter().flatten() {
            set_tag(&mut value, self.environment);
            // Only what the environment touches is copied.
            let value = match dict.remove(&key) {
                None => value,
                Some(old) => {
                    let (old, new) = (Dict::from([(key.clone(), old)]), Dict::from([(key.clone(), value)]));
                    match Figment::new().merge(Tagged(&old)).merge(Tagged(&new)).find_value(&key) {
                        Ok(merged) => merged,
                        Err(_) => continue,
                    }
                }
            };
            dict.insert(key, value);
        }
    }

    /// None for a value that has no tag of these.
    pub(super) fn of(&self, tag: Tag) -> Option<Source> {
        self.sources.get(&tag).copied()
    }

    /// The file that a value stands in, as it was given, and as messages show it.
    pub(super) fn file(&self, tag: Tag) -> Option<(&Path, &str)> {
        match self.of(tag)? {
            Source::Environment => None,
            Source::File(n) | Source::Filled(n) | Source::Unfilled(n) => {
                self.files.get(n).map(|file| (file.path.as_path(), file.shown.as_str()))
            }
        }
    }

    /// The tags of values that stand in the same file as one with this `tag`, with and without values for all of their
    /// variables. None for a value of the environment.
    pub(super) fn filled_and_unfilled(&self, tag: Tag) -> Option<(Tag, Tag)> {
        match self.of(tag)? {
            Source::Environment => None,
            Source::File(n) | Source::Filled(n) | Source::Unfilled(n) => {
                self.files.get(n).map(|file| (file.filled, file.unfilled))
            }
        }
    }

    /// Adds to each fault the line of what it is about.
    pub(super) fn add_lines(&self, faults: &mut [Fault]) {
        let files: HashMap<&str, &str> =
            self.files.iter().filter_map(|file| Some((file.shown.as_str(), file.toml.as_deref()?))).collect();
        let mut parsed: HashMap<&str, Option<Lines>> = HashMap::new();
        for fault in faults.iter_mut().filter(|fault| fault.line.is_none() && !fault.path.is_empty()) {
            let Some((shown, text)) = files.get_key_value(fault.origin.as_str()) else { continue };
            let lines = parsed.entry(shown).or_insert_with(|| Lines::new(text));
            fault.line = lines.as_ref().and_then(|lines| lines.line(&fault.path));
        }
    }

    /// A new tag. figment gives one to every provider.
    fn mint(&mut self, source: Source) -> Tag {
        let dict = Dict::from([("key".to_owned(), Value::from(true))]);
        let tag = Figment::from(Tagged(&dict)).find_value("key").map(|value| value.tag()).unwrap_or_default();
        self.sources.insert(tag, source);
        tag
    }
}

/// Values as a provider. figment leaves the tags that they have.
struct Tagged<'a>(&'a Dict);

impl Provider for Tagged<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("values")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

fn set_tag(value: &mut Value, new: Tag) {
    match value {
        Value::String(tag, _)
        | Value::Char(tag, _)
        | Value::Bool(tag, _)
        | Value::Num(tag, _)
        | Value::Empty(tag, _) => *tag = new,
        Value::Dict(tag, dict) => {
            *tag = new;
            dict.values_mut().for_each(|value| set_tag(value, new));
        }
        Value::Array(tag, values) => {
            *tag = new;
            values.iter_mut().for_each(|value| set_tag(value, new));
        }
    }
}

/// Puts a message of the TOML parser on one line, without the line at fault that it shows. The message is `TOML parse
/// error at line 2, column 5`, lines that begin with `2 |` or `  |`, and what is wrong.
fn without_source(message: &str) -> String {
    let picture = |line: &&str| {
        line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).starts_with('|')
    };
    let (place, rest) = message.split_once('\n').unwrap_or(("", message));
    let place = place.trim_start_matches("TOML parse error at ");
    let what: Vec<&str> =
        rest.lines().filter(|line| !picture(line)).map(str::trim).filter(|line| !line.is_empty()).collect();
    let what = what.join(", ");
    if place.is_empty() { what } else { format!("{place}: {what}") }
}
