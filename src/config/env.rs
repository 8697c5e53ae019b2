//! The environment as a figment provider: `WEBMON_KAFKA__BROKERS` is `kafka.brokers`.
//!
//! figment's own `Env` guesses types, so a password of `007` becomes the number 7. Here every value stays a text; the
//! reader of a number or a truth value parses it.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::key::show_key;

/// What messages call a variable whose name is not found.
const ENVIRONMENT: &str = "environment";
const PREFIX: &str = "WEBMON_";
const SEPARATOR: &str = "__";

/// Variables that name a key of a section, in the order given.
#[derive(Default)]
pub(super) struct Environment(Vec<Variable>);

struct Variable {
    name: String,
    keys: Vec<String>,
    value: String,
}

impl Environment {
    /// Takes the variables `WEBMON_<SECTION>__<KEY>…` and ignores all others.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some(Variable { keys: Environment::keys(&name)?, name, value }));
        Environment(named.collect())
    }

    /// The keys that a variable of this name sets; none if it is not ours.
    pub(super) fn keys(name: &str) -> Option<Vec<String>> {
        let keys: Vec<String> = name.strip_prefix(PREFIX)?.split(SEPARATOR).map(str::to_lowercase).collect();
        (keys.len() > 1).then_some(keys)
    }

    /// The name, as given, of a variable that sets the value at `path` or one within it.
    pub(super) fn name_of(&self, path: &str) -> &str {
        let sets = |variable: &&Variable| {
            let keys: Vec<_> = variable.keys.iter().map(|key| show_key(key)).collect();
            let rest = keys.join(".");
            rest.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.iter().find(sets).map_or(ENVIRONMENT, |variable| &variable.name)
    }
}

impl Provider for &Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut root = Dict::new();
        for variable in &self.0 {
            insert(&mut root, &variable.keys, &variable.value);
        }
        Ok(Profile::Default.collect(root))
    }
}

fn insert(dict: &mut Dict, keys: &[String], text: &str) {
    match keys {
        [] => {}
        // If there are a text and a table at one place, the table stays, in either order: there the fault is noticed.
        [key] => {
            let entry = dict.entry(key.clone()).or_insert_with(|| Value::from(text));
            if !matches!(entry, Value::Dict(..)) {
                *entry = Value::from(text);
            }
        }
        [key, rest @ ..] => {
            let entry = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            if !matches!(entry, Value::Dict(..)) {
                *entry = Value::from(Dict::new());
            }
            if let Value::Dict(_, dict) = entry {
                insert(dict, rest, text);
            }
        }
    }
}
