//! webmon's programs, with the configuration and the environment of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use webmon_dev::interrupt::Interrupted;
use webmon_dev::{command, say};

/// Of a command that ends soon. Neither a frozen database nor a firewall's silence shall keep us.
const LIMIT: Duration = Duration::from_secs(20);

/// As long ago as results of a demo may be that a new one must not be put over.
const MONTH: &str = "30d";

pub(crate) struct Webmon {
    pub(crate) check: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) page: PathBuf,
    pub(crate) config: PathBuf,
    /// Variables set, or taken out.
    variables: Vec<(&'static str, Option<String>)>,
}

impl Webmon {
    pub(crate) fn new(config: PathBuf) -> Webmon {
        Webmon {
            check: PathBuf::new(),
            store: PathBuf::new(),
            page: PathBuf::new(),
            config,
            variables: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, Some(value.to_owned())));
    }

    pub(crate) fn unset(&mut self, name: &'static str) {
        self.variables.push((name, None));
    }

    /// A program in this environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub(crate) fn check(&self) -> Command {
        self.check_with(&self.config)
    }

    /// A checker with a configuration of its own.
    pub(crate) fn check_with(&self, config: &Path) -> Command {
        self.with_config(&self.check, config)
    }

    pub(crate) fn store(&self) -> Command {
        self.with_config(&self.store, &self.config)
    }

    pub(crate) fn page(&self) -> Command {
        self.with_config(&self.page, &self.config)
    }

    fn with_config(&self, program: &Path, config: &Path) -> Command {
        let mut command = self.command(program);
        command.arg("--config").arg(config);
        command
    }

    /// All that webmon-store finds wrong with the configuration.
    pub(crate) fn faults(&self) -> Result<String> {
        Ok(command::output(self.store().arg("validate"), LIMIT)?.1)
    }

    /// All programs take the configuration, with more variables; they say what is wrong.
    pub(crate) fn is_valid(&self, more: Vec<(&str, &str)>) -> Result<bool> {
        for mut program in [self.check(), self.store(), self.page()] {
            program.arg("validate").envs(more.clone()).stdout(Stdio::null());
            if !command::run(&mut program, LIMIT)?.success() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is checked, as `14 sites`.
    pub(crate) fn sites(&self) -> Result<String> {
        let (_, said) = command::output(self.check().arg("validate").stderr(Stdio::null()), LIMIT)?;
        Ok(said.trim().rsplit(": ").next().unwrap_or_default().to_owned())
    }

    fn short(&self, arguments: &[&str]) -> Command {
        let mut command = self.store();
        command.args(["--log-format", "human", "--log-level", "warn"]).args(arguments);
        command
    }

    /// Runs webmon-store for what it does; what it says goes to stderr.
    pub(crate) fn prepare(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.short(arguments);
        if !command::run(command.stdout(std::io::stderr()), LIMIT)?.success() {
            bail!("webmon-store {} failed", arguments.join(" "));
        }
        Ok(())
    }

    /// Runs webmon-store for what it shows on stdout; false when it failed.
    pub(crate) fn show(&self, arguments: &[&str]) -> Result<bool> {
        let shown = command::run(&mut self.short(arguments), LIMIT);
        Ok(unless_interrupted(shown)?.is_some_and(|status| status.success()))
    }

    /// Whether webmon-store succeeded, and what it said on stdout.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let said = command::status_and_stdout(&mut self.short(arguments), Stdio::null(), LIMIT);
        Ok(unless_interrupted(said)?
            .map_or((false, String::new()), |(status, said)| (status.success(), said)))
    }

    /// Whether a site has a result in the database.
    pub(crate) fn has_results_of(&self, site: &str) -> Result<bool> {
        let (_, said) = self.ask(&["sites", "--json", "--since", MONTH])?;
        let results: Value = serde_json::from_str(&said).unwrap_or_default();
        Ok(results.as_array().is_some_and(|results| results.iter().any(|result| result["site"] == site)))
    }

    /// Nothing is left in Kafka.
    pub(crate) fn has_stored_all(&self) -> Result<bool> {
        let mut status = self.short(&["status", "--json"]);
        let said = command::status_and_stdout(status.stderr(Stdio::null()), Stdio::null(), LIMIT);
        Ok(unless_interrupted(said)?.is_some_and(|(_, said)| is_all_stored(&said)))
    }
}

/// Only a signal ends a run; what else goes wrong with a short command is said.
fn unless_interrupted<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => {
            say!("{error:#}");
            Ok(None)
        }
    }
}

/// Of `status --json`: the partitions are known, and none has a lag.
fn is_all_stored(status: &str) -> bool {
    let Ok(status) = serde_json::from_str::<Value>(status) else { return false };
    let mut lags = Vec::new();
    collect(&status, &mut lags);
    !lags.is_empty() && lags.iter().all(|lag| lag.as_u64() == Some(0))
}

fn collect<'a>(value: &'a Value, lags: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            lags.extend(fields.get("lag"));
            fields.values().for_each(|field| collect(field, lags));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, lags)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_stored_when_no_partition_has_a_lag() {
        assert!(is_all_stored(r#"{"partitions":[{"lag":0},{"lag":0}]}"#));
        for status in ["", "{}", r#"[{"lag":0},{"lag":3}]"#, r#"[{"lag":null}]"#, r#"{"partitions":[]}"#] {
            assert!(!is_all_stored(status), "{status}");
        }
    }
}
