//! `webmon-check`: checks sites on their schedules and publishes what they came to. Arguments and wiring only.

mod support;

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use webmon::check::{Checker, PoolOptions, Settings, read_roots};
use webmon::config::{Check, Config, ConfigError, Role, Watch};
use webmon::kafka::{self, KafkaError};
use webmon::monitor::{MemoryWatermarks, Monitor, MonitorOptions, Watermarks, threads_at_worst};
use webmon::outbox::spool::{Inspector, SpoolError, SpoolOptions, Status};
use webmon::outbox::{MemoryOutbox, Outbox, Publisher, Spool, SpoolWatermarks};
use webmon::result::{CheckResult, Outcome, Record};
use webmon::shutdown::Shutdown;
use webmon::site::Origin;

/// How long what waits in the outbox may take to reach Kafka after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(15);
/// The same for a spool, from which it can be sent after the next start as well.
const SPOOL_DRAIN: Duration = Duration::from_secs(3);
/// How long after the grace of a stop the program ends itself, whatever hangs: time for the disk to answer, for Kafka to
/// take a last round, and for the spool to be closed.
const LAST_RESORT: Duration = Duration::from_secs(60);
/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Checks websites on cron schedules and publishes every result to Kafka
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
    /// Check every site on its schedule until SIGTERM or Ctrl-C; SIGHUP, or a changed file, reloads the sites
    Run,
    /// Check sites once, now, and print the results; Kafka is not needed
    Once {
        /// The keys of the sites; all of them by default
        sites: Vec<String>,
        /// Print the results as records, one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print a site's next instants, in UTC and in the zone of its schedule
    Schedule {
        /// The site's key
        site: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration, and print what is wrong with it
    Validate,
    /// Look into the spool; also while the checker runs
    Spool {
        #[command(subcommand)]
        command: SpoolCommand,
    },
}

#[derive(Subcommand)]
enum SpoolCommand {
    /// Print how much waits, and since when
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the records that wait, and the gaps, one JSON object a line
    Dump {
        /// Print the records that Kafka refused for good instead, each with the reason
        #[arg(long)]
        rejected: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit_with("webmon-check", run(&args))
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.log.start()?;
    let config = Config::load(&args.config, Role::Check)?;
    match &args.command {
        Command::Run => serve(&args.config, &config)?,
        Command::Once { sites, json } => return once(&config, sites, *json),
        Command::Schedule { site, count, json } => schedule(&config, site, *count as usize, *json)?,
        Command::Validate => validate(&args.config, &config)?,
        Command::Spool { command } => spool(&config, command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sites to monitor to outbox to Kafka; ended in the same order, so that nothing is left behind.
fn serve(path: &Path, config: &Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    support::stop_on_signals(&shutdown)?;
    let reload_asked = support::flag_on_hangup()?;
    raise_open_files(config.check.threads)?;
    let mut file = Watch::new(path);

    support::end_after(&shutdown, config.check.shutdown_grace + LAST_RESORT)?;
    let spool = match &config.check.spool {
        Some(spool) => Some(Arc::new(Spool::open(SpoolOptions::new(&spool.dir, spool.max_size))?)),
        None => None,
    };
    let (outbox, watermarks, drain): (Arc<dyn Outbox>, Arc<dyn Watermarks>, Duration) = match &spool {
        Some(spool) => {
            let watermarks = SpoolWatermarks::new(Arc::clone(spool), &config.check.location);
            watermarks.end_other_locations(&config.check.checker, Timestamp::now());
            (Arc::clone(spool) as _, Arc::new(watermarks), SPOOL_DRAIN)
        }
        None => {
            (Arc::new(MemoryOutbox::new(config.check.outbox)), Arc::new(MemoryWatermarks::default()), DRAIN)
        }
    };
    let publisher =
        Publisher::start(outbox.clone(), kafka::producer(&config.kafka)?, drain).context("cannot publish")?;
    let options = MonitorOptions {
        pool: PoolOptions {
            threads: config.check.threads,
            queue: config.check.queue,
            max_lateness: config.check.max_lateness,
            ..PoolOptions::new(origin(&config.check))
        },
        backfill: config.check.backfill,
        max_backlog: max_backlog(&config.check),
        sentinels: config.check.sentinels.clone(),
    };
    let monitor = Monitor::start(
        config.sites.clone(),
        config.maintenance.clone(),
        &settings(&config.check)?,
        options,
        Arc::new(Arc::clone(&outbox)),
        watermarks,
    )?;
    log::info!(
        sites = config.sites.len(), location = config.check.location, checker = config.check.checker,
        topic = config.kafka.topic;
        "checking"
    );
    warn_of_load(config);

    // Checks begin at once; that their results have nowhere to go is worth ending for, an absent broker is not.
    let fault = match kafka::producer(&config.kafka).and_then(|mut producer| producer.partitions()) {
        Err(error) if !matches!(error, KafkaError::Unreachable { .. }) => Some(error),
        Err(error) => {
            log::warn!(error = error.to_string(); "kafka does not answer: results wait");
            None
        }
        Ok(_) => None,
    };
    let mut running = true;
    while fault.is_none() && running && !shutdown.wait(LOOK) {
        running = monitor.is_running()
            && publisher.is_running()
            && spool.as_ref().is_none_or(|spool| spool.is_running());
        if reload_asked.swap(false, Ordering::Relaxed) {
            file.reset();
            reload(path, config, &monitor);
        } else if file.has_changed() {
            reload(path, config, &monitor);
        }
    }

    // Also where nobody has asked for it: from here on the time is limited.
    shutdown.request();
    monitor.stop(config.check.shutdown_grace);
    let published = publisher.stop();
    let written = spool.map_or(Ok(()), |spool| spool.close());
    let (waiting, dropped) = (outbox.len(), outbox.dropped());
    written?;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    if let Some(panicked) = monitor.fault() {
        return Err(panicked.into());
    }
    published?;
    if !running {
        bail!("the scheduler ended by itself");
    }
    if waiting > 0 && config.check.spool.is_none() {
        bail!("kafka did not take {waiting} results before the end: they are lost");
    }
    log::info!(dropped, waiting; "stopped");
    Ok(())
}

/// Raises the limit on open files to what threads need at worst, and refuses more threads than fit: a check that gets no
/// descriptor is missed.
fn raise_open_files(threads: usize) -> anyhow::Result<()> {
    /// A connection, or two look-ups at two name servers.
    const PER_CHECK: u64 = 4;
    /// Kafka's connections, the spool, the sentinels, logs.
    const OTHERS: u64 = 128;
    let needed = threads as u64 * PER_CHECK + OTHERS;
    let raised =
        rlimit::increase_nofile_limit(needed.max(1_024)).context("cannot raise the limit on open files")?;
    if raised < needed {
        let fewer = match raised.saturating_sub(OTHERS) / PER_CHECK {
            0 => String::new(),
            threads => format!(", or take at most {threads} threads"),
        };
        bail!(
            "check.threads {threads} need up to {needed} open files, and the limit is {raised}: raise it (ulimit -Hn, or \
             LimitNOFILE= of systemd){fewer}"
        );
    }
    Ok(())
}

/// The most instants made up for at once: half of what the outbox holds, about 1 kB each, so that they push no results
/// out of it.
fn max_backlog(check: &Check) -> u64 {
    match &check.spool {
        Some(spool) => (spool.max_size / 2 / 1_024).min(1_000_000),
        None => check.outbox as u64 / 2,
    }
}

/// Takes the sites of the file as it is now, or leaves everything as it was.
fn reload(path: &Path, started: &Config, monitor: &Monitor) {
    let config = match Config::load(path, Role::Check) {
        Ok(config) => config,
        Err(ConfigError::Faults(faults)) => {
            for fault in &faults {
                log::error!(fault = fault.to_string(); "a fault in the new configuration");
            }
            log::error!(faults = faults.len(); "the new configuration is refused: the sites stay as they are");
            return;
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            log::error!(error; "the new configuration is refused: the sites stay as they are");
            return;
        }
    };
    for (section, changed) in
        [("kafka", config.kafka != started.kafka), ("check", config.check != started.check)]
    {
        if changed {
            log::warn!(section; "what changed in this section takes effect after a restart");
        }
    }
    let changes = monitor.reload(config.sites.clone(), config.maintenance.clone());
    log::info!(
        sites = config.sites.len(), added = changes.added, retired = changes.retired,
        rescheduled = changes.rescheduled;
        "reloaded"
    );
    // With the threads there are.
    warn_of_load(&Config { check: started.check.clone(), ..config });
}

fn warn_of_load(config: &Config) {
    let needed = threads_at_worst(config.sites.iter().map(AsRef::as_ref));
    let threads = config.check.threads;
    if needed > threads as f64 {
        let needed = needed.ceil() as u64;
        log::warn!(
            needed, threads;
            "check.threads are too few for all sites to hang at once: instants will be missed as \"saturated\""
        );
    }
}

fn schedule(config: &Config, key: &str, count: usize, json: bool) -> anyhow::Result<()> {
    let Some(site) = config.sites.iter().find(|site| site.key == key) else {
        bail!("site {key:?} is not in the configuration");
    };
    let zone = TimeZone::get(site.schedule.timezone())?;
    let first = site.schedule.next_after(Timestamp::now());
    for instant in std::iter::successors(first, |last| site.schedule.next_after(*last)).take(count) {
        let local = instant.to_zoned(zone.clone());
        let maintenance =
            config.maintenance.iter().any(|window| window.applies_to(site) && window.contains(instant));
        if json {
            let line = serde_json::json!({
                "scheduled_at": instant,
                "local": local.strftime("%FT%T%:z").to_string(),
                "timezone": site.schedule.timezone(),
                "maintenance": maintenance,
            });
            println!("{line}");
        } else {
            let note = if maintenance { "  maintenance" } else { "" };
            println!("{instant}  {}{note}", local.strftime("%F %T %a %:z %Z"));
        }
    }
    Ok(())
}

fn once(config: &Config, keys: &[String], json: bool) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = keys.iter().find(|key| !config.sites.iter().any(|site| site.key == **key)) {
        bail!("site {unknown:?} is not in the configuration");
    }
    let mut checker = Checker::new(&settings(&config.check)?)?;
    let origin = origin(&config.check);
    let shutdown = Shutdown::new();
    support::stop_on_signals(&shutdown)?;
    let mut all_up = true;
    let chosen = config.sites.iter().filter(|site| keys.is_empty() || keys.contains(&site.key));
    for site in chosen.take_while(|_| !shutdown.is_requested()) {
        let now = Timestamp::from_second(Timestamp::now().as_second())?;
        let result = checker.check(site, &origin, now, site.schedule.next_after(now), &shutdown);
        all_up &= result.outcome == Outcome::Success;
        if json {
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

fn validate(path: &Path, config: &Config) -> anyhow::Result<()> {
    // What only setting up shows, such as a CA file without certificates.
    Checker::new(&settings(&config.check)?)?;
    warn_of_load(config);
    if config.check.spool.is_none() {
        eprintln!(
            "webmon-check: check.spool is off: results that wait for Kafka are lost when the program ends, and nothing tells of the \
             time that it was down"
        );
    }
    println!("{}: {} sites", path.display(), config.sites.len());
    Ok(())
}

fn spool(config: &Config, command: &SpoolCommand) -> anyhow::Result<()> {
    let Some(spool) = &config.check.spool else {
        bail!("check.spool is off: results wait in memory");
    };
    let inspector = Inspector::new(&spool.dir)?;
    match command {
        SpoolCommand::Status { json: true } => println!("{}", serde_json::to_string(&inspector.status()?)?),
        SpoolCommand::Status { json: false } => println!("{}", status_table(&inspector.status()?)),
        SpoolCommand::Dump { rejected } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let each = |json: &[u8]| {
                out.write_all(json)?;
                out.write_all(b"\n")?;
                Ok(())
            };
            let dumped = if *rejected { inspector.rejected(each) } else { inspector.waiting(each) };
            match dumped.and_then(|()| Ok(out.flush()?)) {
                // Whoever reads along has seen enough.
                Err(DumpError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
                dumped => dumped?,
            }
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot print")]
    Output(#[from] std::io::Error),
}

fn status_table(status: &Status) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let oldest = status.oldest_waiting_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    for (name, value) in [
        ("segments", status.segments.to_string()),
        ("bytes", status.bytes.to_string()),
        ("waiting", status.waiting.to_string()),
        ("oldest waiting", oldest),
        ("gaps", status.gaps.to_string()),
        ("rejected", status.rejected.to_string()),
        ("damaged", status.damaged.to_string()),
    ] {
        table.add_row([name, &value]);
    }
    table
}

fn settings(check: &Check) -> anyhow::Result<Settings> {
    let mut settings = Settings::new()?;
    settings.user_agent.clone_from(&check.user_agent);
    settings.deny_addresses.clone_from(&check.deny_addresses);
    if let Some(path) = &check.ca {
        settings.extra_roots = read_roots(path)?;
    }
    Ok(settings)
}

fn origin(check: &Check) -> Origin {
    Origin { location: check.location.clone(), checker: check.checker.clone() }
}
