//! The environment as a figment provider: `WEBMON_KAFKA__BROKERS` is `kafka.brokers`.
//!
//! figment's own `Env` guesses types, and a password of `007` arrives as the number 7. Here every value stays
//! the text it is; the reader of a number or a truth value parses it.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// The name by which the reader knows a value from the environment.
pub(super) const ENVIRONMENT: &str = "environment";
const PREFIX: &str = "WEBMON_";
const SEPARATOR: &str = "__";

/// Variables that name a key of a section, in the order given.
pub(super) struct Environment(Vec<(Vec<String>, String)>);

impl Environment {
    /// Takes `WEBMON_<SECTION>__<KEY>…`; any other variable is somebody else's.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let named = variables.into_iter().filter_map(|(name, value)| {
            let path = name.strip_prefix(PREFIX)?;
            let keys: Vec<String> = path.split(SEPARATOR).map(str::to_lowercase).collect();
            (keys.len() > 1).then_some((keys, value))
        });
        Environment(named.collect())
    }
}

/// The variable that sets the key at `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', SEPARATOR).to_uppercase())
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut root = Dict::new();
        for (keys, value) in &self.0 {
            insert(&mut root, keys, value);
        }
        Ok(Profile::Default.collect(root))
    }
}

fn insert(dict: &mut Dict, keys: &[String], text: &str) {
    match keys {
        [] => {}
        [key] => {
            dict.insert(key.clone(), Value::from(text));
        }
        [key, rest @ ..] => {
            let entry = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, dict) = entry {
                insert(dict, rest, text);
            }
        }
    }
}
