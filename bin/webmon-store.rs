//! `webmon-store`: from Kafka to PostgreSQL, exactly once. Arguments and wiring only.

mod support;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use webmon::config::{Config, Role, parse_duration};
use webmon::kafka::{self, KafkaError, NewTopic};
use webmon::shutdown::Shutdown;
use webmon::store::{self, Connector, LatestResult, PartitionStatus};

/// Stores the results of website checks from Kafka in PostgreSQL, each exactly once
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 a fault at run time, 2 bad usage or configuration."
)]
struct Args {
    /// The configuration file; WEBMON_SECTION__KEY in the environment overrides its values
    #[arg(
        short,
        long,
        global = true,
        env = "WEBMON_CONFIG",
        default_value = "config.toml",
        value_name = "FILE"
    )]
    config: PathBuf,

    #[command(flatten)]
    log: support::logging::LogArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Store results until SIGTERM or Ctrl-C
    Run,
    /// Bring the database's schema to this program's version
    Migrate,
    /// Manage the topic of the results
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Show how far each partition is stored, and by whom
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the latest result of each site
    Sites {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Count the results of this time until now
        #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
        since: Duration,
        /// Show the table again and again, this long apart
        #[arg(long, value_parser = duration, value_name = "DURATION", conflicts_with = "json")]
        watch: Option<Duration>,
        /// Exit with 1 unless every site of the configuration has a result
        #[arg(long)]
        require_all: bool,
    },
    /// Let paused partitions be stored again
    Resume {
        /// This partition only
        #[arg(long)]
        partition: Option<i32>,
    },
    /// Check the configuration, and print what is wrong with it
    Validate,
}

#[derive(Subcommand)]
enum TopicCommand {
    /// Create the topic of the results
    Create {
        /// Partitions: the most writers that can be at work at once
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=10_000))]
        partitions: i32,
        /// Replicas of each partition; -1 takes the broker's default
        #[arg(long, default_value_t = -1, value_parser = clap::value_parser!(i32).range(-1..=32), allow_hyphen_values = true)]
        replication: i32,
        /// How long Kafka keeps results: the longest outage of the storing side that loses nothing
        #[arg(long, default_value = "7d", value_parser = duration, value_name = "DURATION")]
        retention: Duration,
        /// Do nothing where the topic exists already
        #[arg(long)]
        if_missing: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{text:?} is not a duration: expected one such as \"90s\" or \"7d\""))
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit_with("webmon-store", run(&args))
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.log.start()?;
    let config = Config::load(&args.config, Role::Store)?;
    match &args.command {
        Command::Run => serve(&config)?,
        Command::Migrate => {
            let applied = store::migrate(&mut connect(&config)?)?;
            match applied.as_slice() {
                [] => println!("the schema is up to date"),
                applied => println!("applied {}", applied.join(", ")),
            }
        }
        Command::Topic(TopicCommand::Create { partitions, replication, retention, if_missing }) => {
            let topic =
                NewTopic { partitions: *partitions, replication: *replication, retention: *retention };
            match kafka::create_topic(&config.kafka, &topic) {
                Ok(()) => println!("created topic {:?} with {partitions} partitions", config.kafka.topic),
                Err(KafkaError::TopicExists { topic }) if *if_missing => {
                    println!("topic {topic:?} exists already")
                }
                Err(error) => return Err(error.into()),
            }
        }
        Command::Status { json } => {
            let status = store::partition_status(&mut connect(&config)?, &config.kafka.topic)?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                println!("{}", status_table(&status));
            }
        }
        Command::Sites { json, since, watch, require_all } => {
            return sites(&config, *json, *since, *watch, *require_all);
        }
        Command::Resume { partition } => {
            let resumed = store::resume(&mut connect(&config)?, &config.kafka.topic, *partition)?;
            println!("resumed {resumed} partitions");
        }
        Command::Validate => println!("{}: {} sites", args.config.display(), config.sites.len()),
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(config: &Config) -> anyhow::Result<postgres::Client> {
    Ok(Connector::new(&config.postgres, "webmon-store")?.connect()?)
}

fn serve(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    support::stop_on_signals(&shutdown)?;
    let kafka_config = config.kafka.clone();
    let consumer = move || kafka::consumer(&kafka_config);
    log::info!(topic = config.kafka.topic, writers = config.store.threads; "storing");
    store::run(config, &consumer, &shutdown)?;
    log::info!("stopped");
    Ok(())
}

fn sites(
    config: &Config,
    json: bool,
    since: Duration,
    watch: Option<Duration>,
    require_all: bool,
) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::new();
    if watch.is_some() {
        support::stop_on_signals(&shutdown)?;
    }
    let mut client = connect(config)?;
    let latest = loop {
        let latest = store::latest_results(&mut client, since).context("cannot show the sites")?;
        if json {
            println!("{}", serde_json::to_string_pretty(&latest)?);
        } else {
            if watch.is_some() && std::io::stdout().is_terminal() {
                // Clears the screen, so that the table stands still.
                print!("\x1b[2J\x1b[H");
            }
            println!("{}\n{}", sites_table(&latest), totals(&latest));
        }
        match watch {
            Some(pause) if !shutdown.wait(pause) => {}
            _ => break latest,
        }
    };
    if !require_all {
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

fn status_table(status: &[PartitionStatus]) -> Table {
    let mut table = table(&["PARTITION", "NEXT OFFSET", "EPOCH", "OWNER", "PAUSED", "LAST ERROR"]);
    for partition in status {
        let owner = match (&partition.owner, partition.held) {
            (Some(owner), true) => owner.clone(),
            (Some(owner), false) => format!("{owner} (lease over)"),
            (None, _) => "nobody".to_owned(),
        };
        table.add_row([
            right(Some(partition.partition.to_string())),
            right(partition.next_offset.map(|offset| offset.to_string())),
            right(Some(partition.epoch.to_string())),
            Cell::new(owner),
            Cell::new(partition.paused.as_deref().unwrap_or_default()),
            Cell::new(partition.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

fn right(text: Option<String>) -> Cell {
    Cell::new(text.unwrap_or_default()).set_alignment(CellAlignment::Right)
}
