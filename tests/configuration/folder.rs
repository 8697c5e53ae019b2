//! A folder with the files of a configuration.

use std::path::PathBuf;
use std::process::{Command, Output};

use webmon::config::{Config, ConfigError, Role};
use webmon::site::Site;

use crate::CHECK;

pub const KAFKA: &str = "kafka.brokers = [\"127.0.0.1:1\"]\n";

pub struct Folder(pub tempfile::TempDir);

/// A site of this name that needs nothing but a schedule.
pub fn site(name: &str) -> String {
    format!("[[site]]\nname = {name:?}\nurl = \"https://{name}.example/\"\nschedule = \"@every 1m\"\n")
}

impl Folder {
    /// With a file `config.toml`.
    pub fn new(config: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("config.toml", config);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file anew, and its folders.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts a file in the place of another, at once, as editors do.
    pub fn replace(&self, name: &str, text: &str) {
        self.write("new~", text);
        std::fs::rename(self.path("new~"), self.path(name)).unwrap();
    }

    pub fn load_with(&self, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load_with(&self.path("config.toml"), variables, Role::Inspect)
    }

    #[track_caller]
    pub fn load(&self) -> Config {
        self.load_with(&[]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The faults, with the paths of files as seen from this folder.
    #[track_caller]
    pub fn faults_with(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let error = self.load_with(variables).expect_err("there are no faults");
        let here = format!("{}/", self.0.path().display());
        error.to_string().lines().map(|line| line.replace(&here, "")).collect()
    }

    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        self.faults_with(&[])
    }

    /// Runs webmon-check in this folder, to its end, or for a minute.
    pub fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command
            .args(["60", CHECK])
            .args(arguments)
            .args(["--log-format", "json"])
            .current_dir(self.0.path())
            .env_clear();
        command.output().unwrap()
    }
}

/// The site with this key.
#[track_caller]
pub fn named<'c>(config: &'c Config, key: &str) -> &'c Site {
    config.sites.iter().find(|site| site.key == key).unwrap_or_else(|| panic!("no site {key}"))
}

pub fn keys(config: &Config) -> Vec<&str> {
    config.sites.iter().map(|site| site.key.as_str()).collect()
}
