//! `webmon-store sites`: the latest result of each site.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Cell, Table};
use webmon::config::Config;
use webmon::shutdown::Shutdown;
use webmon::store::{self, LatestResult};

use crate::connect::connect;
use crate::duration::duration;
use crate::output::{print_json, right, table};
use crate::support::signals;

#[derive(clap::Args)]
pub struct SitesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Count the results from this long ago until now, in whole hours
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    since: Duration,
    /// Repeat the table after each such pause
    #[arg(long, value_parser = duration, value_name = "DURATION", conflicts_with = "json")]
    watch: Option<Duration>,
    /// Exit with 1 if a site of the configuration has no result
    #[arg(long)]
    require_all: bool,
}

pub fn run(config: &Config, args: &SitesArgs) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::new();
    if args.watch.is_some() {
        signals::stop_on_signals(&shutdown)?;
    }
    let mut client = connect(config)?;
    let latest = loop {
        let latest = store::latest_results(&mut client, args.since).context("cannot show the sites")?;
        if args.json {
            print_json(&latest)?;
        } else {
            if args.watch.is_some() && std::io::stdout().is_terminal() {
                // Clears the screen, so that the table stands still.
                print!("\x1b[2J\x1b[H");
            }
            println!("{}\n{}", sites_table(&latest), totals(&latest));
        }
        match args.watch {
            Some(pause) if !shutdown.wait(pause) => {}
            _ => break latest,
        }
    };
    if !args.require_all {
        return Ok(ExitCode::SUCCESS);
    }
    let seen: BTreeSet<&str> = latest.iter().map(|result| result.site.as_str()).collect();
    let absent: Vec<&str> =
        config.sites.iter().map(|site| site.key.as_str()).filter(|key| !seen.contains(key)).collect();
    if absent.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("webmon-store: no result of {}", absent.join(", "));
    Ok(ExitCode::FAILURE)
}

fn totals(latest: &[LatestResult]) -> String {
    let (results, missed) = latest.iter().fold((0, 0), |(r, m), l| (r + l.results, m + l.missed));
    format!("stored {results} results, {missed} missed")
}

fn sites_table(latest: &[LatestResult]) -> Table {
    let mut table = table(&[
        "SITE", "LOCATION", "AT (UTC)", "OUTCOME", "STATUS", "TIME", "WHY", "UPTIME", "RESULTS", "MISSED",
    ]);
    for result in latest {
        let why = match (&result.error_type, &result.error_detail) {
            (Some(class), Some(detail)) => format!("{class}: {detail}"),
            (Some(class), None) => class.clone(),
            (None, _) => String::new(),
        };
        let verdicts = result.successes + result.failures;
        table.add_row([
            Cell::new(&result.name),
            Cell::new(&result.location),
            Cell::new(result.scheduled_at.strftime("%H:%M:%S")),
            Cell::new(result.outcome),
            right(result.http_status.map(|status| status.to_string())),
            right(result.total_us.map(|us| format!("{:.1} ms", f64::from(us) / 1_000.0))),
            Cell::new(why),
            right(
                (verdicts > 0).then(|| format!("{:.1} %", 100.0 * result.successes as f64 / verdicts as f64)),
            ),
            right(Some(result.results.to_string())),
            right(Some(result.missed.to_string())),
        ]);
    }
    table
}
