//! `webmon-check validate`: what is wrong with the configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use webmon::check::{Checker, has_address};
use webmon::config::{Config, ConfigError, Fault, Role};

use crate::load::{threads_missing, warn_of_load};
use crate::settings::settings;
use crate::support::exit::USAGE;
use crate::trust::unverified;

#[derive(clap::Args)]
pub struct ValidateArgs {
    /// Print one JSON object: {"valid", "file", "sites", "disabled", "warnings", "faults"}
    #[arg(long)]
    json: bool,
}

pub fn run(path: &Path, args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let outcome = Config::load(path, Role::Inspect).map_err(anyhow::Error::from).and_then(|config| {
        // What only setting up shows, such as a CA file without certificates.
        Checker::new(&settings(&config.check)?)?;
        let faults = absent_sources(path, &config);
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults).into()) }
    });
    let config = match outcome {
        Ok(config) => config,
        Err(error) if args.json => {
            let faults = match error.downcast_ref::<ConfigError>() {
                Some(error) => error.faults().iter().map(show).collect(),
                None => vec![json!({
                    "file": path.display().to_string(), "line": null, "key": null, "problem": format!("{error:#}"),
                })],
            };
            print(path, None, &[], &faults);
            return Ok(ExitCode::from(USAGE));
        }
        Err(error) => return Err(error),
    };
    let mut warnings = warnings(&config);
    if args.json {
        if let Some(needed) = threads_missing(&config) {
            let threads = config.check.threads;
            warnings.push(format!(
                "check.threads are too few for all sites to hang at once: {needed} are needed, there are {threads}"
            ));
        }
        print(path, Some(&config), &warnings, &[]);
        return Ok(ExitCode::SUCCESS);
    }
    warn_of_load(&config);
    for warning in warnings {
        eprintln!("webmon-check: {warning}");
    }
    let disabled = match config.disabled.len() {
        0 => String::new(),
        disabled => format!(", {disabled} of them disabled"),
    };
    println!("{}: {} sites{disabled}", path.display(), all(&config));
    Ok(ExitCode::SUCCESS)
}

fn all(config: &Config) -> usize {
    config.sites.len() + config.disabled.len()
}

/// What is right, and still may not be what is wanted.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.kafka.brokers.is_empty() {
        warnings.push("kafka.brokers is missing: \"run\" needs it".to_owned());
    }
    if config.check.spool.is_none() {
        warnings.push(
            "check.spool is off: results that wait for Kafka are lost when the program ends, and the time that it is \
             down is not recorded"
                .to_owned(),
        );
    }
    if config.sites.is_empty() {
        warnings.push("no site is checked".to_owned());
    }
    warnings.extend(unverified(&config.sites));
    warnings
}

fn print(path: &Path, config: Option<&Config>, warnings: &[String], faults: &[serde_json::Value]) {
    let object = json!({
        "valid": config.is_some(),
        "file": path.display().to_string(),
        "sites": config.map(all),
        "disabled": config.map(|config| config.disabled.len()),
        "warnings": warnings,
        "faults": faults,
    });
    println!("{object}");
}

fn show(fault: &Fault) -> serde_json::Value {
    let key = Some(&fault.path).filter(|path| !path.is_empty());
    json!({ "file": fault.origin, "line": fault.line, "key": key, "problem": fault.problem })
}

/// The sites that are to be checked from an address that this host does not have now.
fn absent_sources(path: &Path, config: &Config) -> Vec<Fault> {
    let mut known = BTreeMap::new();
    let mut faults = Vec::new();
    for site in &config.sites {
        if let Some(source) = site.network.source
            && !*known.entry(source).or_insert_with(|| has_address(source))
        {
            let shown = format!("{:?}", source.to_string());
            faults.push(Fault {
                origin: path.display().to_string(),
                line: None,
                path: format!("site {:?}: source", site.key),
                problem: format!("{} is not an address of this host", site.hidden.in_text(&shown)),
            });
        }
    }
    faults
}
