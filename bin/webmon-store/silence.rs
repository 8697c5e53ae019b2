//! `webmon-store silence`: keeps alerts from being told for a while.

use std::time::Duration;

use clap::Subcommand;
use comfy_table::Cell;
use jiff::{SignedDuration, Timestamp};
use webmon::alerts::{self, MAX_SILENCE_TEXT, NewSilence, Silence};
use webmon::config::{AlertKind, Config, Selection};

use crate::connect::connect;
use crate::duration::duration;
use crate::output::{print_json, right, table};

#[derive(Subcommand)]
pub enum SilenceCommand {
    /// Keep alerts from being told. They are recorded all the same; those that still fire afterwards are told then
    Add(AddArgs),
    /// List the silences, the newest first
    List {
        /// List those that have ended too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a silence now
    End {
        /// The id of the silence
        id: i64,
    },
}

#[derive(clap::Args)]
pub struct AddArgs {
    /// The sites, by key
    #[arg(value_name = "SITE", required_unless_present_any = ["labels", "all"])]
    sites: Vec<String>,
    /// Sites with all these labels, such as team=web
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Everything, webmon's own alerts too
    #[arg(long, conflicts_with_all = ["sites", "labels"])]
    all: bool,
    /// Only this kind of alert, such as down; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<AlertKind>,
    /// How long it lasts, such as 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, required_unless_present = "until")]
    lasts: Option<Duration>,
    /// When it ends, such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
    until: Option<Timestamp>,
    /// When it begins, by default now
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Why
    #[arg(long)]
    reason: String,
    /// Who decides it, by default the user who runs this
    #[arg(long, value_name = "WHO", env = "USER", hide_env_values = true)]
    by: String,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label: expected one such as \"team=web\"")),
    }
}

pub fn run(config: &Config, command: &SilenceCommand) -> anyhow::Result<()> {
    match command {
        SilenceCommand::Add(args) => add(config, args),
        SilenceCommand::List { all, json } => {
            let found = alerts::silences(&mut connect(config)?, *all)?;
            match json {
                true => print_json(&found)?,
                false if found.is_empty() => println!("there is no silence"),
                false => println!("{}", silences_table(&found)),
            }
            Ok(())
        }
        SilenceCommand::End { id } => match alerts::end_silence(&mut connect(config)?, *id)? {
            true => {
                println!("silence {id} has ended");
                Ok(())
            }
            false => anyhow::bail!("silence {id} has ended already or does not exist"),
        },
    }
}

fn add(config: &Config, args: &AddArgs) -> anyhow::Result<()> {
    for (what, text) in [("--reason", &args.reason), ("--by", &args.by)] {
        let length = text.chars().count();
        if length == 0 || length > MAX_SILENCE_TEXT || text.contains('\0') {
            anyhow::bail!("{what} is out of range: expected 1 to {MAX_SILENCE_TEXT} characters, none NUL");
        }
    }
    let from_at = args.from.unwrap_or_else(Timestamp::now);
    let until_at = match (args.until, args.lasts) {
        (Some(until), _) => until,
        (None, lasts) => {
            let lasts = SignedDuration::try_from(lasts.unwrap_or_default())?;
            from_at.checked_add(lasts)?
        }
    };
    if until_at <= from_at || until_at <= Timestamp::now() {
        anyhow::bail!("the silence would end at {until_at}: expected a later time");
    }
    let new = NewSilence {
        of: Selection {
            sites: args.sites.iter().cloned().collect(),
            labels: args.labels.iter().cloned().collect(),
        },
        kinds: args.kinds.iter().copied().collect(),
        from_at: args.from,
        until_at,
        created_by: args.by.clone(),
        reason: args.reason.clone(),
    };
    let id = alerts::add_silence(&mut connect(config)?, &new)?;
    println!("silence {id} holds until {}", until_at.strftime("%FT%TZ"));
    Ok(())
}

fn silences_table(found: &[Silence]) -> comfy_table::Table {
    let mut table = table(&["ID", "FROM (UTC)", "UNTIL (UTC)", "BY", "OF", "KINDS", "REASON"]);
    let time = |at: Timestamp| Cell::new(at.strftime("%F %T"));
    for silence in found {
        let labels = silence.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let of: Vec<String> = silence.sites.iter().cloned().chain(labels).collect();
        let kinds: Vec<&str> = silence.kinds.iter().map(String::as_str).collect();
        let or = |texts: String, none: &str| if texts.is_empty() { none.to_owned() } else { texts };
        table.add_row([
            right(Some(silence.silence_id.to_string())),
            time(silence.from_at),
            time(silence.until_at),
            Cell::new(silence.created_by.escape_debug()),
            Cell::new(or(of.join(", "), "everything").escape_debug()),
            Cell::new(or(kinds.join(", "), "all")),
            Cell::new(silence.reason.escape_debug()),
        ]);
    }
    table
}
