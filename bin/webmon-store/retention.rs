//! `webmon-store retention`: what goes, for operators.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use jiff::civil::Date;
use postgres::error::SqlState;
use webmon::config::Config;
use webmon::store::{self, RetentionPlan, StoreError};

use crate::connect::connect_for_long;
use crate::output::print_json;

/// How long transactions that were open before are waited for before results go.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
pub enum RetentionCommand {
    /// Show what the job "retention" would drop now, and whether it would refuse
    Plan {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop everything that is older than the configuration says. Needs the rights of the schema's owner
    Apply {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Lower the floor, so that older results are stored again. Needs the rights of the schema's owner
    Lower {
        /// The first UTC day whose results are stored, such as 2026-03-01 [default: the first day that is complete]
        #[arg(long, value_name = "DATE")]
        to: Option<Date>,
    },
}

/// Carries out a command. It fails if a long transaction kept something from being deleted; then it must be given again.
pub fn run(config: &Config, command: &RetentionCommand) -> anyhow::Result<ExitCode> {
    let (mut client, retention) = (connect_for_long(config)?, &config.store.retention);
    match command {
        RetentionCommand::Plan { json } => {
            let plan = store::plan_retention(&mut client, retention)?;
            match json {
                true => print_json(&plan)?,
                false => print_plan(&plan),
            }
        }
        RetentionCommand::Apply { json } => {
            let done = as_owner(store::apply_retention(&mut client, retention, PATIENCE))?;
            match json {
                true => print_json(&done)?,
                false => println!(
                    "deleted {} days of results, {} rows of hours and {} rows of days",
                    done.partitions, done.hours, done.days
                ),
            }
            if done.again {
                eprintln!(
                    "webmon-store: a long transaction was in the way: it writes, reads or derives; apply it again"
                );
                return Ok(ExitCode::FAILURE);
            }
        }
        RetentionCommand::Lower { to } => match as_owner(store::lower_retention(&mut client, *to))? {
            Some(day) => println!("results from {day} on are stored"),
            None => println!("results of any day are stored"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whose rights are missing, if that is what is wrong.
fn as_owner<T>(outcome: Result<T, StoreError>) -> anyhow::Result<T> {
    let is_refused = matches!(
        &outcome,
        Err(StoreError::Database(error)) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    );
    match is_refused {
        true => {
            outcome.context("this takes the rights of webmon_owner: let postgres.url name a member of it")
        }
        false => Ok(outcome?),
    }
}

fn print_plan(plan: &RetentionPlan) {
    let days = |days: f64| if days == 1.0 { "1 day".to_owned() } else { format!("{days} days") };
    let day = |day: Option<Date>| day.map_or_else(|| "any day".to_owned(), |day| day.to_string());
    println!(
        "results kept  {}, so far {}",
        days(plan.results_kept_days),
        plan.policy_days.map_or("as long as there are any".to_owned(), days)
    );
    println!("stored from   {} on, then {}", day(plan.floor), day(plan.next_floor));
    println!(
        "results       {} days with about {} results and {} bytes would go",
        plan.partitions, plan.results, plan.bytes
    );
    println!("hours         {} rows would go", plan.hours);
    println!("days          {} rows would go", plan.days);
    match &plan.objection {
        Some(objection) => {
            println!("the job \"retention\" REFUSES: {objection}; \"webmon-store retention apply\" does it");
        }
        None => println!("the job \"retention\" does this by itself"),
    }
}
