//! Gives the demo's made-up sites a past: a week of records that nobody measured, sent to the Kafka topic of a
//! configuration.
//!
//! ```text
//! demo_history --config webmon.toml
//! ```
//!
//! The sites have the label `demo = "made up"`. Use it only where nobody takes that for real, and only once: a later run
//! would put its own week over what was measured meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use jiff::Timestamp;
use webmon::config::{Config, Role};
use webmon::kafka::{self, Delivery, Outgoing};

#[path = "demo/history.rs"]
mod history;
#[path = "demo/made_up.rs"]
mod made_up;

/// How many are sent at once.
const AT_ONCE: usize = 2_000;
/// How long the broker may take to take all of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a made-up week to Kafka
#[derive(Parser)]
struct Args {
    /// The configuration that names brokers and topic
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config = Config::load(&args.config, Role::Check)?;
    let began = Instant::now();
    let records = history::records(Timestamp::now().as_second()).context("a made-up record is not valid")?;
    let mut producer = kafka::producer(&config.kafka).context("cannot reach Kafka")?;
    for part in records.chunks(AT_ONCE) {
        let mut waiting: Vec<Outgoing> = part
            .iter()
            .map(|made| Outgoing { key: made.site.to_owned(), value: made.record.encode() })
            .collect();
        while !waiting.is_empty() {
            if began.elapsed() > PATIENCE {
                bail!("the broker did not take all records within {} s", PATIENCE.as_secs());
            }
            let deliveries = producer.produce(&waiting);
            let mut left = Vec::new();
            for (outgoing, delivery) in waiting.into_iter().zip(deliveries) {
                match delivery {
                    Delivery::Delivered => {}
                    Delivery::Retry(_) => left.push(outgoing),
                    Delivery::Refused(reason) => bail!("the broker refuses a record: {reason}"),
                }
            }
            waiting = left;
        }
    }
    println!("sent {} made-up records in {:.1} s", records.len(), began.elapsed().as_secs_f64());
    Ok(())
}
