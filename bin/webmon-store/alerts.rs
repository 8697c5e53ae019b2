//! `webmon-store alerts`: what fires, and who was told of it, for people.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Cell;
use jiff::Timestamp;
use webmon::alerts::{self, Action, AlertDetails, AlertInfo, Limits, MAX_ALERTS, Message, Notice, Outcome};
use webmon::config::{AlertKind, Config, Severity};
use webmon::text::printable;

use crate::connect::connect;
use crate::output::{print_json, right, table};

#[derive(Subcommand)]
pub enum AlertsCommand {
    /// List the alerts that fire, the newest first
    List {
        /// List those that have ended too
        #[arg(long)]
        all: bool,
        /// Only about this site, or this part of webmon
        #[arg(long)]
        subject: Option<String>,
        /// Only of this kind: down, advisory, stale, certificate, degraded, lag, dead_letters, paused, discarded or spool
        #[arg(long)]
        kind: Option<AlertKind>,
        /// Print at most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=MAX_ALERTS), value_name = "COUNT")]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one alert: who was told what, when, and what they answered
    Show {
        /// The id of the alert
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a test message to a receiver, once
    Test {
        /// The receiver's name
        receiver: String,
    },
    /// Tell a receiver again that had answered that it is gone (410)
    Enable {
        /// The receiver's name
        receiver: String,
    },
}

/// Carries out a command; fails when the test message did not arrive.
pub fn run(config: &Config, command: &AlertsCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertsCommand::List { all, subject, kind, limit, json } => {
            let found = alerts::alerts(&mut connect(config)?, *all, subject.as_deref(), *kind, *limit)?;
            match json {
                true => print_json(&found)?,
                false if found.is_empty() => println!("no alert {}", if *all { "is kept" } else { "fires" }),
                false => println!("{}", alerts_table(&found)),
            }
        }
        AlertsCommand::Show { id, json } => match (alerts::alert(&mut connect(config)?, *id)?, json) {
            (None, _) => anyhow::bail!("there is no alert {id}"),
            (Some(alert), true) => print_json(&alert)?,
            (Some(alert), false) => print_alert(&alert),
        },
        AlertsCommand::Test { receiver } => return test(config, receiver),
        AlertsCommand::Enable { receiver } => {
            match alerts::enable_receiver(&mut connect(config)?, receiver)? {
                true => println!("receiver {receiver:?} is told again"),
                false => println!("receiver {receiver:?} was not disabled"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn test(config: &Config, name: &str) -> anyhow::Result<ExitCode> {
    let Some(receiver) = config.receivers.iter().find(|receiver| receiver.name == name) else {
        let names: Vec<&str> = config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        match names.is_empty() {
            true => anyhow::bail!("the configuration has no receivers"),
            false => anyhow::bail!("there is no receiver {name:?}: expected one of {}", names.join(", ")),
        }
    };
    let now = Timestamp::now();
    let notice = Notice {
        transition_id: 0,
        alert_id: 0,
        reminder: 0,
        kind: AlertKind::Down,
        action: Action::Firing,
        severity: Severity::Info,
        subject: "webmon-test".to_owned(),
        name: "A test of webmon".to_owned(),
        url: None,
        labels: BTreeMap::new(),
        began_at: now,
        ended_at: None,
        noticed_at: now,
        summary: "This is a test of webmon: nothing is down".to_owned(),
        error_type: None,
        error_detail: None,
        error_message: None,
        locations: Vec::new(),
    };
    // The end follows, so that no test stays open at a receiver that keeps count.
    let end = Notice {
        action: Action::Resolved,
        ended_at: Some(now),
        summary: "This was a test of webmon: nothing was down".to_owned(),
        ..notice.clone()
    };
    for (step, notice) in [("beginning", notice), ("end", end)] {
        let id = format!("msg_test_{}_{step}", now.as_microsecond());
        let message = Message { id, created_at: now, notices: vec![notice], held: Vec::new() };
        match alerts::send(receiver, &message, &Limits::of(&config.check)) {
            Outcome::Delivered(answer) => {
                println!("{name}: told of the {step} of a test: {}", printable(&answer));
            }
            Outcome::Retry { why, .. } | Outcome::Refused(why) | Outcome::Gone(why) => {
                eprintln!("webmon-store: {name}: not told of the {step} of a test: {}", printable(&why));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn time(at: Timestamp) -> String {
    at.strftime("%F %T").to_string()
}

fn alerts_table(found: &[AlertInfo]) -> comfy_table::Table {
    let mut table =
        table(&["ID", "KIND", "SUBJECT", "SEVERITY", "BEGAN (UTC)", "ENDED (UTC)", "TOLD", "SUMMARY"]);
    for alert in found {
        table.add_row([
            right(Some(alert.alert_id.to_string())),
            Cell::new(&alert.kind),
            Cell::new(alert.subject.escape_debug()),
            Cell::new(&alert.severity),
            Cell::new(time(alert.began_at)),
            Cell::new(alert.ended_at.map_or_else(String::new, time)),
            Cell::new(told(alert)),
            Cell::new(alert.summary.escape_debug()),
        ]);
    }
    table
}

fn told(alert: &AlertInfo) -> String {
    let counts = [
        (alert.delivered, "told"),
        (alert.pending, "waiting"),
        (alert.kept_back, "kept back"),
        (alert.dead, "NOT TOLD"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.is_empty() { "nobody".to_owned() } else { counts.join(", ") }
}

fn print_alert(details: &AlertDetails) {
    let AlertDetails { alert, notices, notifications } = details;
    println!(
        "alert       {}: {} {} ({})",
        alert.alert_id,
        alert.subject.escape_debug(),
        alert.kind,
        alert.severity
    );
    println!("began       {} UTC, noticed at {}", time(alert.began_at), time(alert.fired_at));
    match alert.ended_at.zip(alert.resolved_at) {
        Some((ended_at, resolved_at)) => {
            println!("ended       {} UTC, noticed at {}", time(ended_at), time(resolved_at));
        }
        None => println!("ended       not yet"),
    }
    if let Some(incident) = alert.incident_id {
        println!("incident    {incident}");
    }
    for notice in notices {
        println!("{:11} {}", notice.action.as_str(), notice.summary.escape_debug());
        if let Some(message) = &notice.error_message {
            println!("{:11} {}", "", message.escape_debug());
        }
    }
    let mut table = table(&["RECEIVER", "ABOUT", "STATE", "FINISHED (UTC)", "TRIES", "ANSWER OR REASON"]);
    for one in notifications {
        let about = match one.reminder {
            0 => one.action.clone(),
            number => format!("reminder {number}"),
        };
        let why = one.reason.as_ref().or(one.answer.as_ref()).map(String::as_str).unwrap_or_default();
        table.add_row([
            Cell::new(&one.receiver),
            Cell::new(about),
            Cell::new(&one.state),
            Cell::new(one.finished_at.map_or_else(String::new, time)),
            right(one.attempts.map(|attempts| attempts.to_string())),
            Cell::new(printable(why)),
        ]);
    }
    match notifications.is_empty() {
        true => println!("\nnobody is told: no route matches"),
        false => println!("\n{table}"),
    }
}
