//! The whole configuration, and where it is read from.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};

use super::check::{Check, check};
use super::context::{Context, Fault};
use super::env::Environment;
use super::error::ConfigError;
use super::jobs::{Jobs, jobs};
use super::kafka::{Kafka, kafka};
use super::maintenance::maintenance;
use super::postgres::{Postgres, postgres};
use super::role::Role;
use super::sites::sites;
use super::store::{Store, store};
use super::table::Table;
use crate::site::{Maintenance, Site};

/// The largest file, in bytes.
pub const MAX_FILE: usize = 256 << 20;

/// The whole configuration, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[postgres]`
    pub postgres: Postgres,
    /// `[check]`
    pub check: Check,
    /// `[store]`
    pub store: Store,
    /// `[jobs]`
    pub jobs: Jobs,
    /// `[[site]]`, each with `[site_defaults]` filled in.
    pub sites: Vec<Arc<Site>>,
    /// `[[maintenance]]`
    pub maintenance: Vec<Maintenance>,
}

impl Config {
    /// Reads `path` and then the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, is not TOML, or has faults in its values, all of which are listed.
    pub fn load(path: &Path, role: Role) -> Result<Config, ConfigError> {
        let (mut variables, mut faults) = (Vec::new(), Vec::new());
        for (name, value) in std::env::vars_os() {
            // A name that is not Unicode cannot be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) if Environment::keys(&name).is_some() => {
                    let problem = "the value is not UTF-8".to_owned();
                    faults.push(Fault { origin: name, path: String::new(), problem });
                }
                Err(_) => {}
            }
        }
        if faults.is_empty() {
            Config::load_with(path, variables, role)
        } else {
            Err(ConfigError::Faults(faults))
        }
    }

    /// As [`Config::load`], with these environment variables instead of the process's own.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        role: Role,
    ) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let bytes = read(path).map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Syntax { path: shown.clone(), problem: format!("line {line} is not UTF-8") }
        })?;
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        // The directory for state that systemd gives; the first if there are several.
        let state = variables.iter().find(|(name, value)| name == "STATE_DIRECTORY" && !value.is_empty());
        let state = state.and_then(|(_, value)| value.split(':').next()).map(PathBuf::from);
        let state = state.or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
        let environment = Environment::new(variables);
        let figment = Figment::new().merge(TomlFile { path, text: &text }).merge(&environment);
        Config::resolve(&figment, &environment, shown, &state, role)
    }

    /// As [`Config::load`], from TOML in memory and without an environment.
    ///
    /// ```
    /// use webmon::config::{Config, Role};
    ///
    /// let config = Config::from_toml(
    ///     r#"
    ///     kafka.brokers = ["127.0.0.1:9092"]
    ///     check.location = "berlin-1"
    ///     [[site]]
    ///     name = "shop"
    ///     url = "https://shop.example/"
    ///     schedule = "*/30 * * * * *"
    ///     "#,
    ///     Role::Check,
    /// )?;
    /// assert_eq!(config.sites[0].key, "shop");
    /// # Ok::<(), webmon::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml(toml: &str, role: Role) -> Result<Config, ConfigError> {
        let figment = Figment::new().merge(Toml::string(toml));
        Config::resolve(&figment, &Environment::default(), "config".to_owned(), Path::new(""), role)
    }

    fn resolve(
        figment: &Figment,
        environment: &Environment,
        origin: String,
        state: &Path,
        role: Role,
    ) -> Result<Config, ConfigError> {
        let data: Map<Profile, Dict> = figment.data().map_err(|error| ConfigError::Syntax {
            path: origin.clone(),
            problem: without_source(&error.kind.to_string()),
        })?;
        let empty = Dict::new();
        let dict = data.get(&Profile::Default).unwrap_or(&empty);
        let context = Context { figment, environment, default_origin: origin, faults: Default::default() };

        let root = Table::root(&context, dict);
        let section = |key| root.section(key, &empty);
        let config = Config {
            kafka: kafka(&section("kafka")),
            postgres: postgres(&section("postgres"), role),
            check: check(&section("check"), state),
            store: store(&section("store")),
            jobs: jobs(&section("jobs")),
            sites: sites(&root, &section("site_defaults"), role),
            maintenance: maintenance(&root),
        };
        root.refuse_unknown();

        let faults = context.faults.into_inner().into_found();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }
}

/// Reads the whole file, once, because it may be a pipe.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        return Err(std::io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// TOML already read, known to figment by its file.
struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Provider for TomlFile<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(self.text).data()
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
