//! `webmon-store verify`: proves that the history is complete.

use std::process::ExitCode;

use comfy_table::Cell;
use serde::Serialize;
use webmon::alerts::{self, AlertProof};
use webmon::config::Config;
use webmon::database::Connector;
use webmon::store::{self, PartitionLedger, Verification};

use crate::connect::LONG_PATIENCE;
use crate::output::{print_json, right, table};
use crate::support::progress;

#[derive(clap::Args)]
pub struct VerifyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Proof<'a> {
    #[serde(flatten)]
    history: &'a Verification,
    alerts: &'a AlertProof,
}

pub fn run(config: &Config, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let bar = progress::bar(0, "days read");
    let connector = Connector::new(&config.postgres, "webmon-store")?.patience(LONG_PATIENCE);
    let found = store::verify(&connector, None, &mut |done, days| {
        bar.set_length(days as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let told = alerts::prove(&mut connector.connect()?)?;
    match args.json {
        true => print_json(&Proof { history: &found, alerts: &told })?,
        false => print_verification(&found, &told),
    }
    Ok(if found.proven && told.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_verification(found: &Verification, told: &AlertProof) {
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
    println!(
        "alerts        {} transitions, {} not accounted for, {} out of turn",
        told.transitions, told.unaccounted, told.repeated
    );
    println!(
        "notifications {}: {} delivered, {} superseded, {} silenced, {} dead, {} waiting, {} contradict their message",
        told.notifications,
        told.delivered,
        told.superseded,
        told.silenced,
        told.dead,
        told.pending,
        told.contradictions
    );
    if !told.holds() {
        println!("NOT EVERY ALERT IS ACCOUNTED FOR");
    }
    println!("{}", if found.proven { "the history is complete" } else { "THE HISTORY IS NOT COMPLETE" });
}
