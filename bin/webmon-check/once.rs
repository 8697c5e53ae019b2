//! `webmon-check once`: checks sites now.

use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use webmon::check::Checker;
use webmon::config::Config;
use webmon::record::{CheckResult, Outcome, Record};
use webmon::shutdown::Shutdown;

use crate::settings::{origin, settings};
use crate::support::signals;

#[derive(clap::Args)]
pub struct OnceArgs {
    /// The keys of the sites [default: all sites]
    sites: Vec<String>,
    /// Print the results as records, one JSON object on each line
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &OnceArgs) -> anyhow::Result<ExitCode> {
    let keys = &args.sites;
    if let Some(unknown) = keys.iter().find(|key| !config.sites.iter().any(|site| site.key == **key)) {
        bail!("site {unknown:?} is not in the configuration");
    }
    let mut checker = Checker::new(&settings(&config.check)?)?;
    let origin = origin(&config.check);
    let shutdown = Shutdown::new();
    signals::stop_on_signals(&shutdown)?;
    let mut all_up = true;
    let chosen = config.sites.iter().filter(|site| keys.is_empty() || keys.contains(&site.key));
    for site in chosen.take_while(|_| !shutdown.is_requested()) {
        let now = Timestamp::from_second(Timestamp::now().as_second())?;
        let result = checker.check(site, &origin, now, site.schedule.next_after(now), &shutdown);
        all_up &= result.outcome == Outcome::Success;
        if args.json {
            println!("{}", String::from_utf8_lossy(&Record::Result(Box::new(result)).encode()));
        } else {
            println!("{}", line(&result));
        }
    }
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(result: &CheckResult) -> String {
    let status = result.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let time =
        result.total_us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1_000.0));
    let why = match (result.error_type, &result.error_message) {
        (Some(class), Some(message)) => format!("  {class}: {}", message.escape_debug()),
        (Some(class), None) => format!("  {class}"),
        (None, _) => String::new(),
    };
    format!("{:9} {status:>3} {time:>11}  {}{why}", result.outcome, result.name)
}
