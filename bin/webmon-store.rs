//! `webmon-store`: from Kafka to PostgreSQL, exactly once. Arguments and wiring only.

mod dead_letters;
mod jobs;
mod locations;
mod retention;
mod status;
mod support;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use webmon::config::{Config, Role};
use webmon::database::{self, Connector};
use webmon::jobs::{Worker, WorkerOptions};
use webmon::kafka::{self, KafkaError, NewTopic};
use webmon::shutdown::Shutdown;
use webmon::store::{self, LatestResult, PartitionLedger, Verification, Writers};
use webmon::text::parse_duration;
use webmon::upkeep;

/// Reads the results of website checks from Kafka and stores each exactly once in PostgreSQL
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 success, 1 a fault at run time, 2 wrong usage or configuration."
)]
struct Args {
    /// The configuration file. WEBMON_SECTION__KEY in the environment overrides a value of it
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
    /// Store results and run jobs until SIGTERM or Ctrl-C
    Run,
    /// Create the database schema, or bring it to this program's version
    Migrate,
    /// Create the topic of the results
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Show how far each partition is stored, by whom, and what is wrong
    Status(status::StatusArgs),
    /// Show the latest result of each site
    Sites {
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
    },
    /// Resume paused partitions
    Resume {
        /// Only this partition
        #[arg(long)]
        partition: Option<i32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Store a partition again from an earlier offset or time. A better result replaces a stored one
    Replay {
        /// The partition
        #[arg(long)]
        partition: i32,
        /// The offset to store from
        #[arg(
            long,
            value_name = "OFFSET",
            required_unless_present = "from_time",
            conflicts_with = "from_time"
        )]
        from_offset: Option<i64>,
        /// Store from the first record at or after this time, such as 2026-03-01T12:00:00Z
        #[arg(long, value_name = "TIME")]
        from_time: Option<Timestamp>,
        /// Wait until the writers have stored it again
        #[arg(long)]
        wait: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove that the history is complete: every offset is accounted for, every announced instant is there
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show, retry or discard dead letters: records that could not be stored as results
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Show the locations, and retire those from which nobody checks any more
    #[command(subcommand)]
    Locations(locations::LocationsCommand),
    /// Show, retry, cancel or run the jobs of the queue
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Show what retention would drop, drop it even if the job refuses, or lower the floor
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Check the configuration and print everything that is wrong with it
    Validate,
}

#[derive(Subcommand)]
enum TopicCommand {
    /// Create the topic of the results
    Create {
        /// The number of partitions: so many writers can work at once
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=10_000))]
        partitions: i32,
        /// The number of replicas of each partition. -1 takes the broker's default
        #[arg(long, default_value_t = -1, value_parser = clap::value_parser!(i32).range(-1..=32), allow_hyphen_values = true)]
        replication: i32,
        /// How long Kafka keeps results. A longer outage of webmon-store loses some
        #[arg(long, default_value = "7d", value_parser = duration, value_name = "DURATION")]
        retention: Duration,
        /// Do nothing if the topic exists already
        #[arg(long)]
        if_missing: bool,
    },
}

/// How long what may have much to do waits for one statement: a migration, the proof.
const LONG_PATIENCE: Duration = Duration::from_secs(3_600);
/// How long after a stop was asked for the process ends by itself, whatever hangs: writers and jobs are cut off from the
/// database before that.
const LAST_RESORT: Duration = Duration::from_secs(20);

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
            let applied = database::migrate(&mut connect_for_long(&config)?)?;
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
        Command::Status(args) => return status::run(&config, args),
        Command::Sites { json, since, watch, require_all } => {
            return sites(&config, *json, *since, *watch, *require_all);
        }
        Command::Resume { partition, json } => {
            let resumed = store::resume(&mut connect(&config)?, &config.kafka.topic, *partition)?;
            match json {
                true => print_json(&serde_json::json!({ "resumed": resumed }))?,
                false => println!("resumed {resumed} partitions"),
            }
        }
        Command::Replay { partition, from_offset, from_time, wait, json } => {
            replay(&config, *partition, *from_offset, *from_time, *wait, *json)?;
        }
        Command::Verify { json } => return verify(&config, *json),
        Command::DeadLetters(command) => dead_letters::run(&config, command)?,
        Command::Locations(command) => locations::run(&config, command)?,
        Command::Jobs(command) => return jobs::run(&config, command),
        Command::Retention(command) => return retention::run(&config, command),
        Command::Validate => println!("{}: {} sites", args.config.display(), config.sites.len()),
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(config: &Config) -> anyhow::Result<postgres::Client> {
    Ok(Connector::new(&config.postgres, "webmon-store")?.connect()?)
}

fn connect_for_long(config: &Config) -> anyhow::Result<postgres::Client> {
    Ok(Connector::new(&config.postgres, "webmon-store")?.patience(LONG_PATIENCE).connect()?)
}

/// Requests a stop when it goes out of scope, also in a panic: what is left of a program does not go on without the rest.
struct StopAll<'a>(&'a Shutdown);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

fn serve(config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    support::stop_on_signals(&shutdown)?;
    support::end_after(&shutdown, LAST_RESORT)?;
    let kafka_config = config.kafka.clone();
    let consumer = move || kafka::consumer(&kafka_config);
    let writers = Writers::new(&config.postgres, &config.kafka.topic, config.store.clone())?
        .host(&config.check.checker);
    let worker = match config.jobs.threads {
        0 => None,
        threads => {
            let options = WorkerOptions {
                threads,
                lease: config.jobs.lease,
                poll: config.jobs.poll,
                host: config.check.checker.clone(),
                ..WorkerOptions::default()
            };
            Some(Worker::new(
                &config.postgres,
                upkeep::kinds(&config.kafka.topic, &config.store, &config.jobs)?,
                options,
            )?)
        }
    };
    log::info!(topic = config.kafka.topic, writers = config.store.threads, jobs = config.jobs.threads; "storing");
    std::thread::scope(|scope| {
        // A fault of either stops the other.
        let _stop_all = StopAll(&shutdown);
        let worker = worker.as_ref().map(|worker| {
            scope.spawn(|| {
                let _stop_all = StopAll(&shutdown);
                worker.run(&shutdown)
            })
        });
        writers.run(&consumer, &shutdown)?;
        match worker.map(|worker| worker.join()) {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(_)) => Err(anyhow::anyhow!("the worker at the jobs panicked")),
            None => Ok(()),
        }
    })?;
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
            print_json(&latest)?;
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

fn replay(
    config: &Config,
    partition: i32,
    from_offset: Option<i64>,
    from_time: Option<Timestamp>,
    wait: bool,
    json: bool,
) -> anyhow::Result<()> {
    let topic = &config.kafka.topic;
    let mut consumer = kafka::consumer(&config.kafka)?;
    let partitions = consumer.partitions()?;
    if !(0..partitions).contains(&partition) {
        anyhow::bail!("topic {topic:?} has no partition {partition}: expected 0 to {}", partitions - 1);
    }
    let held = consumer.offsets(partition)?;
    let from = match (from_offset, from_time) {
        (Some(offset), _) => offset,
        (None, Some(time)) => consumer.offset_at(partition, time)?,
        (None, None) => held.earliest,
    };
    if !(held.earliest..=held.end).contains(&from) {
        anyhow::bail!("kafka does not hold offset {from}: expected {} to {}", held.earliest, held.end);
    }
    let mut client = connect(config)?;
    let before = store::replay(&mut client, topic, partition, from)?;
    let until = before.map_or(held.end, |before| before.min(held.end));
    if wait {
        let bar = support::progress::bar((until - from).max(0) as u64, "offsets stored again");
        loop {
            let status = store::partition_status(&mut client, topic)?;
            let status = status.into_iter().find(|status| status.partition == partition);
            if let Some(reason) = status.as_ref().and_then(|status| status.paused.clone()) {
                anyhow::bail!("partition {partition} is paused: {reason}");
            }
            let next = status.and_then(|status| status.next_offset).unwrap_or(from);
            bar.set_position((next - from).clamp(0, (until - from).max(0)) as u64);
            if next >= until {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bar.finish_and_clear();
    }
    if json {
        let done = serde_json::json!({
            "topic": topic, "partition": partition, "from_offset": from, "to_offset": until, "stored": wait,
        });
        return print_json(&done);
    }
    let verb = if wait { "stored" } else { "storing" };
    println!("{verb} offsets {from} to {until} of partition {partition} again");
    Ok(())
}

fn verify(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let bar = support::progress::bar(0, "days read");
    let connector = Connector::new(&config.postgres, "webmon-store")?.patience(LONG_PATIENCE);
    let found = store::verify(&connector, None, &mut |done, days| {
        bar.set_length(days as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    match json {
        true => print_json(&found)?,
        false => print_verification(&found),
    }
    Ok(if found.proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_verification(found: &Verification) {
    const SHOWN: usize = 20;
    let mut ledger = table(&[
        "TOPIC",
        "PARTITION",
        "OFFSETS",
        "NEXT",
        "RECORDS",
        "INSERTED",
        "SUPERSEDED",
        "DUPLICATE",
        "GAPS",
        "EXPIRED",
        "DEAD",
        "DISCARDED",
        "LOST",
        "HOLES",
    ]);
    for line in &found.partitions {
        let offsets = line.from_offset.zip(line.to_offset).map(|(from, to)| format!("{from}-{to}"));
        let holes: Vec<String> = line.holes.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        ledger.add_row([
            Cell::new(&line.topic),
            right(Some(line.partition.to_string())),
            right(offsets),
            right(line.next_offset.map(|offset| offset.to_string())),
            right(Some(line.records.to_string())),
            right(Some(line.inserted.to_string())),
            right(Some(line.superseded.to_string())),
            right(Some(line.duplicate.to_string())),
            right(Some(line.gaps.to_string())),
            right(Some(line.expired.to_string())),
            right(Some(line.dead.to_string())),
            right(Some(line.discarded.to_string())),
            right(Some(line.lost.to_string())),
            Cell::new(holes.join(" ")),
        ]);
    }
    println!("{ledger}");
    let sum = |figure: fn(&PartitionLedger) -> i64| found.partitions.iter().map(figure).sum::<i64>();
    println!(
        "offsets       {} without a record, {} records counted twice",
        sum(|ledger| ledger.without_record),
        sum(|ledger| ledger.overcounted)
    );
    println!("results       {} stored, {} in the ledger", found.results, found.results_expected);
    println!("dead letters  {} stored, {} in the ledger", found.dead_letters, found.dead_letters_expected);
    println!(
        "links         {} followed, {} broken; {} chains end, {} of them overdue",
        found.links, found.broken, found.open, found.overdue
    );
    if !found.broken_links.is_empty() {
        let mut broken = table(&["SITE", "LOCATION", "ANNOUNCED BY", "MISSING"]);
        for link in found.broken_links.iter().take(SHOWN) {
            broken.add_row([
                Cell::new(&link.site),
                Cell::new(&link.location),
                Cell::new(link.announced_at),
                Cell::new(link.due_at),
            ]);
        }
        println!("{broken}");
        if found.broken > SHOWN as i64 {
            println!("and {} more: --json names up to {}", found.broken - SHOWN as i64, store::MAX_NAMED);
        }
    }
    println!("{}", if found.proven { "the history is complete" } else { "THE HISTORY IS NOT COMPLETE" });
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
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
