//! What is checked, and with which settings.

use std::sync::Arc;

use anyhow::Context;
use url::Url;
use webmon::config::{Check, Config, ConfigError, Role};
use webmon::limits::MAX_URL;
use webmon::schedule::Schedule;
use webmon::site::Site;

use super::args::OnceArgs;
use crate::support::args::CommonArgs;
use crate::support::exit::WrongUsage;

/// A URL that an error names.
const EXAMPLE: &str = "https://example.org/";
/// How many keys an error names.
const NAMED: usize = 8;

pub struct Plan {
    /// In the order of the arguments.
    pub sites: Vec<Arc<Site>>,
    pub check: Check,
}

/// Reads the configuration as far as the arguments need one.
///
/// # Errors
/// [`ConfigError`], or [`WrongUsage`] with each argument that cannot be used.
pub fn plan(common: &CommonArgs, args: &OnceArgs) -> anyhow::Result<Plan> {
    let targets = &args.targets;
    let only_urls = !targets.is_empty() && targets.iter().all(|target| is_url(target));
    let config = if only_urls && common.given_config().is_none() {
        Config::from_environment(Role::Once)?
    } else {
        Config::load(common.config(), Role::Once).or_else(|error| match error {
            ConfigError::Unreadable { .. } if common.given_config().is_none() => {
                let likely = targets.iter().find_map(|target| likely_url(target));
                let url = likely.unwrap_or_else(|| EXAMPLE.to_owned());
                Err(error)
                    .context(format!("only URLs (such as {url}) can be checked without a configuration"))
            }
            error => Err(error.into()),
        })?
    };
    if targets.is_empty() && config.sites.is_empty() {
        let fault = format!("the configuration has no site to check: expected a URL, such as {EXAMPLE}");
        return Err(WrongUsage(vec![fault]).into());
    }
    let request = args.request.read().map_err(WrongUsage)?;
    let (mut sites, mut faults) = (Vec::new(), Vec::new());
    if targets.is_empty() {
        sites.extend_from_slice(&config.sites);
    }
    let mut listed = targets.is_empty();
    for (index, target) in targets.iter().enumerate() {
        // A site may be named by its URL.
        match config.sites.iter().find(|site| site.key == *target) {
            Some(site) => {
                listed = true;
                sites.push(Arc::clone(site));
            }
            None if config.disabled.iter().any(|site| site.key == *target) => {
                faults
                    .push(format!("site {target:?} is disabled: expected one with enabled = true, or a URL"));
            }
            None if is_url(target) => match url(target) {
                Ok(url) => {
                    let mut site = config.site_defaults.site(url, Schedule::new("@hourly", "UTC")?);
                    if args.request.insecure && site.tls.is_some() {
                        let fault = "--insecure takes the place of [site_defaults] tls: expected verify = false there";
                        return Err(WrongUsage(vec![fault.to_owned()]).into());
                    }
                    request.apply(&mut site);
                    sites.push(Arc::new(site));
                }
                // The argument is not quoted: it may hold a password.
                Err(problem) => faults.push(format!("argument {}: the URL {problem}", index + 1)),
            },
            None => faults.push(unknown(target, &config)),
        }
    }
    if listed && !args.request.is_empty() {
        let fault = "--method, --header, --data and --insecure are for URLs alone: the configuration says how sites are requested";
        faults.push(fault.to_owned());
    }
    if faults.is_empty() { Ok(Plan { sites, check: config.check }) } else { Err(WrongUsage(faults).into()) }
}

fn is_url(target: &str) -> bool {
    target.contains("://")
}

fn url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Err(format!("has the scheme {:?}: expected http or https", url.scheme()))
        }
        Ok(url) if url.as_str().len() > MAX_URL => Err(format!("is longer than {MAX_URL} bytes")),
        Ok(url) => Ok(url),
        Err(error) => Err(format!("is not valid: {error}")),
    }
}

fn unknown(target: &str, config: &Config) -> String {
    let mut keys: Vec<String> =
        config.sites.iter().take(NAMED).map(|site| format!("{:?}", site.key)).collect();
    if config.sites.len() > NAMED {
        keys.push(format!("{} more", config.sites.len() - NAMED));
    }
    let has = if keys.is_empty() { "no site".to_owned() } else { keys.join(", ") };
    let url = likely_url(target).unwrap_or_else(|| EXAMPLE.to_owned());
    format!(
        "site {target:?} is not in the configuration, which has {has}: expected a key, or a URL such as {url}"
    )
}

/// What to write for a URL without its scheme, such as `example.org`. It is quoted only if it can hold no password.
fn likely_url(target: &str) -> Option<String> {
    let likely = !is_url(target) && !target.contains('@') && target.contains(['.', ':', '/']);
    let url = Url::parse(&format!("https://{target}")).ok().filter(|_| likely)?;
    Some(url.into())
}
