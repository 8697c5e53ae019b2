//! `webmon-store resume`: paused partitions are stored again.

use webmon::config::Config;
use webmon::store;

use crate::connect::connect;
use crate::output::print_json;

#[derive(clap::Args)]
pub struct ResumeArgs {
    /// Only this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &ResumeArgs) -> anyhow::Result<()> {
    let resumed = store::resume(&mut connect(config)?, &config.kafka.topic, args.partition)?;
    if args.json {
        return print_json(&serde_json::json!({ "resumed": resumed }));
    }
    println!("resumed {resumed} partitions");
    Ok(())
}
