//! `webmon-store dead-letters`: records that could not be stored as results, for people.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use comfy_table::Cell;
use jiff::Timestamp;
use serde::Serialize;
use webmon::config::Config;
use webmon::store::{self, DeadLetter, DeadLetterFilter};

use crate::connect::connect;
use crate::output::{print_json, right, table};
use crate::support::progress;

#[derive(Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters by partition and offset
    List {
        #[command(flatten)]
        which: DeadLetterArgs,
        /// Print at most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "COUNT")]
        limit: u32,
        /// Print JSON, with the values
        #[arg(long)]
        json: bool,
    },
    /// Print a whole dead letter, unchanged
    Show {
        /// The partition
        #[arg(long)]
        partition: i32,
        /// The offset
        #[arg(long)]
        offset: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write whole dead letters, unchanged, to a file or stdout, one JSON object on each line
    Export {
        #[command(flatten)]
        which: DeadLetterArgs,
        /// The file. "-" is stdout. An existing file is not overwritten
        #[arg(long, default_value = "-", value_name = "FILE")]
        output: PathBuf,
    },
    /// Delete dead letters. Export them first. The ledger counts them as discarded
    Discard {
        #[command(flatten)]
        which: DeadLetterArgs,
        /// The reason. It is kept with your database user and the time
        #[arg(long, value_name = "TEXT")]
        because: String,
        /// Discard all dead letters. Required if no other option says which ones
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try to store dead letters again, for example after an upgrade. Without an option, try all
    Retry {
        #[command(flatten)]
        which: DeadLetterArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub struct DeadLetterArgs {
    /// Only dead letters of this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Only dead letters at this offset
    #[arg(long)]
    offset: Option<i64>,
    /// Only dead letters with this reason: empty, too_large, malformed, unknown_version, invalid, ahead_of_time or refused
    #[arg(long)]
    reason: Option<String>,
}

impl DeadLetterArgs {
    fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter { partition: self.partition, offset: self.offset, reason: self.reason.clone() }
    }
}

/// Carries out a command.
pub fn run(config: &Config, command: &DeadLettersCommand) -> anyhow::Result<()> {
    let topic = &config.kafka.topic;
    let mut client = connect(config)?;
    match command {
        DeadLettersCommand::List { which, limit, json } => {
            let letters = store::dead_letters(&mut client, topic, &which.filter(), *limit)?;
            if *json {
                return print_json(&letters);
            }
            let mut table = table(&["PARTITION", "OFFSET", "AT (UTC)", "REASON", "BYTES", "DETAIL"]);
            for letter in &letters {
                table.add_row([
                    right(Some(letter.partition.to_string())),
                    right(Some(letter.offset.to_string())),
                    Cell::new(letter.record_at.map_or_else(String::new, |at| at.to_string())),
                    Cell::new(&letter.reason),
                    right(Some(letter.value.as_ref().map_or(0, Vec::len).to_string())),
                    Cell::new(&letter.detail),
                ]);
            }
            println!("{table}");
            let all = store::count_dead_letters(&mut client, topic, &which.filter())?;
            println!("{} of {all} dead letters", letters.len());
        }
        DeadLettersCommand::Show { partition, offset, json } => {
            let filter = DeadLetterFilter {
                partition: Some(*partition),
                offset: Some(*offset),
                ..DeadLetterFilter::default()
            };
            let letters = store::dead_letters(&mut client, topic, &filter, 10)?;
            if letters.is_empty() {
                anyhow::bail!("there is no dead letter at offset {offset} of partition {partition}");
            }
            if *json {
                return print_json(&letters);
            }
            for letter in &letters {
                println!("reason  {}: {}", letter.reason, letter.detail);
                println!("key     {}", letter.key.as_deref().map_or("none".into(), String::from_utf8_lossy));
                println!(
                    "value   {}",
                    letter.value.as_deref().map_or("none".into(), String::from_utf8_lossy)
                );
            }
        }
        DeadLettersCommand::Export { which, output } => {
            let exported = export(&mut client, topic, &which.filter(), output)?;
            eprintln!("webmon-store: exported {exported} dead letters");
        }
        DeadLettersCommand::Discard { which, because, all, json } => {
            let filter = which.filter();
            if !all && filter.partition.is_none() && filter.offset.is_none() && filter.reason.is_none() {
                anyhow::bail!(
                    "say which to discard with --partition, --offset or --reason, or --all of them"
                );
            }
            let count = store::count_dead_letters(&mut client, topic, &filter)?;
            let bar = progress::bar(count, "dead letters discarded");
            let done = store::discard_dead_letters(&mut client, topic, &filter, because, &mut |looked_at| {
                bar.set_position(looked_at);
                true
            })?;
            bar.finish_and_clear();
            match json {
                true => print_json(&done)?,
                false => println!("discarded {}, left {}", done.discarded, done.left),
            }
        }
        DeadLettersCommand::Retry { which, json } => {
            let all = store::count_dead_letters(&mut client, topic, &which.filter())?;
            let bar = progress::bar(all, "dead letters tried");
            let retried = store::retry_dead_letters(
                &mut client,
                topic,
                &which.filter(),
                &config.store,
                &mut |tried| {
                    bar.set_position(tried);
                    true
                },
            )?;
            bar.finish_and_clear();
            match json {
                true => print_json(&retried)?,
                false => println!("stored {}, still dead {}", retried.stored, retried.still_dead),
            }
        }
    }
    Ok(())
}

/// A dead letter as `export` writes it: nothing of it is lost.
#[derive(Serialize)]
struct Exported<'a> {
    partition: i32,
    offset: i64,
    record_at: Option<Timestamp>,
    reason: &'a str,
    detail: &'a str,
    #[serde(flatten)]
    key: Option<Key<'a>>,
    #[serde(flatten)]
    value: Option<Value<'a>>,
}

#[derive(Serialize)]
enum Key<'a> {
    #[serde(rename = "key")]
    Text(&'a str),
    #[serde(rename = "key_base64")]
    Bytes(String),
}

#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "value")]
    Text(&'a str),
    #[serde(rename = "value_base64")]
    Bytes(String),
}

impl<'a> Exported<'a> {
    fn new(letter: &'a DeadLetter) -> Exported<'a> {
        let DeadLetter { partition, offset, record_at, key, value, reason, detail, .. } = letter;
        Exported {
            partition: *partition,
            offset: *offset,
            record_at: *record_at,
            reason,
            detail,
            key: key.as_deref().map(|key| match std::str::from_utf8(key) {
                Ok(text) => Key::Text(text),
                Err(_) => Key::Bytes(BASE64_STANDARD.encode(key)),
            }),
            value: value.as_deref().map(|value| match std::str::from_utf8(value) {
                Ok(text) => Value::Text(text),
                Err(_) => Value::Bytes(BASE64_STANDARD.encode(value)),
            }),
        }
    }
}

fn export(
    client: &mut postgres::Client,
    topic: &str,
    filter: &DeadLetterFilter,
    output: &Path,
) -> anyhow::Result<u64> {
    let mut out: Box<dyn Write> = match output.to_str() {
        Some("-") => Box::new(std::io::stdout().lock()),
        _ => {
            let file =
                File::create_new(output).with_context(|| format!("cannot make {}", output.display()))?;
            Box::new(BufWriter::new(file))
        }
    };
    let doing = || format!("cannot write to {}", output.display());
    let exported = store::export_dead_letters(client, topic, filter, &mut |letter| -> anyhow::Result<()> {
        serde_json::to_writer(&mut out, &Exported::new(letter)).with_context(doing)?;
        out.write_all(b"\n").with_context(doing)
    })?;
    out.flush().with_context(doing)?;
    Ok(exported)
}
