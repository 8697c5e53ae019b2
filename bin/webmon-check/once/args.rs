//! The command line of `webmon-check once`.

use std::time::Duration;

use clap::ValueEnum;
use webmon::text::parse_duration;

use super::request::RequestArgs;

/// The shortest and the longest time between two rounds.
const PERIODS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(86_400));

pub const EXAMPLES: &str = "\
Examples:
  webmon-check once https://example.org/            any URL, without a configuration
  webmon-check once https://example.org/ -v         with the headers of the response
  webmon-check once https://example.org/ -H 'Authorization: Bearer ...' -d @order.json
                                                    with headers and a body of your own
  webmon-check once https://example.org/ --watch 2s again every 2 s, until Ctrl-C
  webmon-check -c config.toml once                  all sites of a configuration
  webmon-check -c config.toml once shop https://new.example/
                                                    a site, and a URL with [site_defaults]

Exit codes: 0 all checks succeeded, 1 some did not, 2 wrong usage or configuration.";

#[derive(clap::Args)]
pub struct OnceArgs {
    /// Keys of sites, and URLs to check with the defaults of sites [default: all sites]. If there are only URLs, no file is
    /// read unless --config or WEBMON_CONFIG names one
    #[arg(value_name = "SITE|URL")]
    pub targets: Vec<String>,

    #[command(flatten)]
    pub request: RequestArgs,

    /// Show the whole page of each result, with the headers of the response. Secrets are shown as ***
    #[arg(short, long, conflicts_with = "json")]
    pub verbose: bool,

    /// Print the results as records, one JSON object on each line
    #[arg(long)]
    pub json: bool,

    /// Check again every PERIOD (100ms to 1d), such as 2s, until Ctrl-C
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    pub watch: Option<Duration>,

    /// How many checks run at the same time (1 to 200)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub parallel: u8,

    /// When to use colours. "auto" means on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1 is "always"
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

fn period(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(period) if (PERIODS.0..=PERIODS.1).contains(&period) => Ok(period),
        Some(_) => Err("out of range: expected 100ms to 1d".to_owned()),
        None => Err("not a time: expected one such as 2s".to_owned()),
    }
}
