//! The whole configuration, and where it is read from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::{Dict, Tag};

#[cfg(feature = "store")]
use super::alerts::{Alerts, alerts};
use super::check::{Check, check};
use super::context::{Context, Faults};
use super::discover;
use super::env::Environment;
use super::error::ConfigError;
use super::fault::Fault;
use super::files::{self, Reader};
#[cfg(feature = "alerts")]
use super::heartbeat::{Heartbeat, heartbeat};
use super::include;
use super::interpolate::Interpolation;
use super::jobs::{Jobs, jobs};
use super::kafka::{Kafka, kafka};
use super::maintenance::Selections;
#[cfg(feature = "page")]
use super::page::{Page, pages};
use super::postgres::{Postgres, postgres};
#[cfg(feature = "alerts")]
use super::receiver::{Receiver, receivers};
use super::role::Role;
#[cfg(feature = "store")]
use super::route::{Route, routes};
use super::site_defaults::SiteDefaults;
use super::site_list::{SiteList, SiteSources};
use super::sites::MAX_SITES;
use super::source::Sources;
use super::store::{Store, store};
use super::table::Table;
#[cfg(feature = "page")]
use super::web::{Web, web};
use crate::site::Site;

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
    /// `[[site]]` and what `[[discover]]` finds, each with its templates, `[site_defaults]` and `[[maintenance]]` filled in.
    pub sites: Vec<Arc<Site>>,
    /// Sites with `enabled = false`, which nobody checks.
    pub disabled: Vec<Arc<Site>>,
    /// `[site_defaults]`, for URLs that are not listed as sites.
    pub site_defaults: SiteDefaults,
    /// `[[receiver]]`: who can be told of alerts. Only [`Role::Store`] reads them, so that a checker needs none of their
    /// secrets.
    #[cfg(feature = "alerts")]
    pub receivers: Vec<Receiver>,
    /// `[heartbeat]`: what is asked while results are being stored. Only [`Role::Store`] reads it.
    #[cfg(feature = "alerts")]
    pub heartbeat: Option<Heartbeat>,
    /// `[alerts]`. Only [`Role::Store`] reads it.
    #[cfg(feature = "store")]
    pub alerts: Alerts,
    /// `[[route]]`: who is told of which alerts. Only [`Role::Store`] reads them.
    #[cfg(feature = "store")]
    pub routes: Vec<Route>,
    /// `[web]`. Only [`Role::Page`] reads it.
    #[cfg(feature = "page")]
    pub web: Web,
    /// `[[page]]`: the status pages. Only [`Role::Page`] reads them, so that no other program needs their passwords.
    #[cfg(feature = "page")]
    pub pages: Vec<Page>,
}

impl Config {
    /// Reads `path`, the files that it names, and then the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, is not TOML, or has faults in its values, all of which are listed.
    pub fn load(path: &Path, role: Role) -> Result<Config, ConfigError> {
        Config::load_by(&mut Reader::default(), path, Config::variables()?, role)
    }

    /// Reads only the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError::Faults`], as [`Config::load`].
    pub fn from_environment(role: Role) -> Result<Config, ConfigError> {
        let (shown, text, state) = ("the environment".to_owned(), String::new(), PathBuf::new());
        let main = Main { path: Path::new(""), shown, text, state };
        Config::resolve(main, &Config::variables()?, role, &mut Reader::default())
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
        Config::load_by(&mut Reader::default(), path, variables.into_iter().collect(), role)
    }

    /// The variables of this process's environment, except foreign ones that are not Unicode.
    pub(super) fn variables() -> Result<Vec<(String, String)>, ConfigError> {
        let (mut variables, mut faults) = (Vec::new(), Vec::new());
        for (name, value) in std::env::vars_os() {
            // A name that is not Unicode cannot be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) if Environment::keys(&name).is_some() => {
                    faults.push(Fault::new(name, "", "the value is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        if faults.is_empty() { Ok(variables) } else { Err(ConfigError::Faults(faults)) }
    }

    /// Reads all files by `reader`.
    pub(super) fn load_by(
        reader: &mut Reader,
        path: &Path,
        variables: Vec<(String, String)>,
        role: Role,
    ) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let bytes =
            reader.read(path).map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
        let text = files::text(bytes).map_err(|line| ConfigError::Syntax {
            path: shown.clone(),
            problem: format!("line {line} is not UTF-8"),
        })?;
        // The directory for state that systemd gives; the first if there are several.
        let state = variables.iter().find(|(name, value)| name == "STATE_DIRECTORY" && !value.is_empty());
        let state = state.and_then(|(_, value)| value.split(':').next()).map(PathBuf::from);
        let state = state.or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
        let main = Main { path, shown, text, state };
        Config::resolve(main, &variables, role, reader)
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
        let (shown, text, state) = ("config".to_owned(), toml.to_owned(), PathBuf::new());
        let main = Main { path: Path::new(""), shown, text, state };
        Config::resolve(main, &[], role, &mut Reader::default())
    }

    fn resolve(
        main: Main,
        variables: &[(String, String)],
        role: Role,
        reader: &mut Reader,
    ) -> Result<Config, ConfigError> {
        let Main { path, shown, text, state } = main;
        let environment = Environment::new(variables.iter().cloned());
        let mut sources = Sources::new();
        let mut dicts: Vec<(Tag, Dict)> = Vec::new();
        let (tag, mut dict) = sources
            .add_toml(path, &shown, text)
            .map_err(|problem| ConfigError::Syntax { path: shown.clone(), problem })?;
        sources.add_environment(&mut dict, &environment);
        dicts.push((tag, dict));

        // The files that it names.
        let folder = path.parent().unwrap_or(Path::new(""));
        let context = Context::new(&sources, &environment, &shown, role, Faults::default());
        let (_, dict) = &dicts[0];
        let root = Table::root(&context, tag, dict);
        let (included, targets) =
            (include::files(&root, folder, reader), discover::files(&root, folder, reader));
        let mut faults = context.faults.into_inner();
        for path in included.iter().filter(|included| *included != path) {
            dicts.extend(include::read(path, reader, &mut sources, &mut faults));
        }
        let mut found = 0;
        let mut discovered = Vec::with_capacity(targets.len());
        for files in targets {
            let mut targets = Vec::new();
            for path in files {
                let left = MAX_SITES - found.min(MAX_SITES);
                let new = discover::targets(&path, left, reader, &mut sources, &mut faults);
                found += new.len();
                targets.extend(new);
            }
            discovered.push(targets);
        }

        let mut interpolation = Interpolation::new(&sources, variables);
        for (_, dict) in &mut dicts {
            interpolation.fill(dict, role, &mut faults);
        }
        let variables = interpolation.into_values();
        let context = Context::new(&sources, &environment, &shown, role, faults);
        let roots: Vec<Table> = dicts.iter().map(|(tag, dict)| Table::root(&context, *tag, dict)).collect();
        let (root, empty) = (&roots[0], Dict::new());
        let section = |key| root.section(key, &empty);
        let kafka = kafka(&section("kafka"), role);
        let postgres = postgres(&section("postgres"), role);
        let check = check(&section("check"), &state);
        let store = store(&section("store"));
        let jobs = jobs(&section("jobs"));
        let defaults = section("site_defaults");
        let list =
            SiteSources { context: &context, roots: &roots, defaults, discovered: &discovered, variables };
        let SiteList { enabled: mut sites, mut disabled, keys } = list.list(role);
        let site_defaults = list.site_defaults();
        let mut maintenance = Selections::new(&roots, &keys);
        for site in sites.iter_mut().chain(&mut disabled) {
            maintenance.apply(Arc::make_mut(site));
        }
        #[cfg(feature = "alerts")]
        let (receivers, heartbeat) = match role {
            Role::Store => (receivers(root), heartbeat(&section("heartbeat"))),
            _ => (Vec::new(), None),
        };
        #[cfg(feature = "store")]
        let (alerts, routes) = match role {
            Role::Store => (alerts(&section("alerts")), routes(root)),
            _ => (Alerts::default(), Vec::new()),
        };
        #[cfg(feature = "page")]
        let (web, pages) = match role {
            Role::Page => (web(&section("web")), pages(root)),
            _ => (Web::default(), Vec::new()),
        };
        let config = Config {
            kafka,
            postgres,
            check,
            store,
            jobs,
            sites,
            disabled,
            site_defaults,
            #[cfg(feature = "alerts")]
            receivers,
            #[cfg(feature = "alerts")]
            heartbeat,
            #[cfg(feature = "store")]
            alerts,
            #[cfg(feature = "store")]
            routes,
            #[cfg(feature = "page")]
            web,
            #[cfg(feature = "page")]
            pages,
        };
        // Read above, or for the other program.
        for key in ["include", "discover", "receiver", "heartbeat", "alerts", "route", "web", "page"] {
            let _ = root.get(key);
        }
        root.refuse_unknown();
        roots.iter().skip(1).for_each(include::refuse_others);

        let mut faults = context.faults.into_inner().into_found();
        if faults.is_empty() {
            return Ok(config);
        }
        sources.add_lines(&mut faults);
        Err(ConfigError::Faults(faults))
    }
}

/// The main file.
struct Main<'a> {
    path: &'a Path,
    shown: String,
    text: String,
    /// The folder for state.
    state: PathBuf,
}
