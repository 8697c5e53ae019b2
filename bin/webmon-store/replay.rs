//! `webmon-store replay`: stores a partition again.

use std::time::Duration;

use jiff::Timestamp;
use webmon::config::Config;
use webmon::kafka;
use webmon::store;

use crate::connect::connect;
use crate::output::print_json;
use crate::support::progress;

#[derive(clap::Args)]
pub struct ReplayArgs {
    /// The partition
    #[arg(long)]
    partition: i32,
    /// The offset to store from
    #[arg(long, value_name = "OFFSET", required_unless_present = "from_time", conflicts_with = "from_time")]
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
}

pub fn run(config: &Config, args: &ReplayArgs) -> anyhow::Result<()> {
    let ReplayArgs { partition, from_offset, from_time, wait, json } = *args;
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
        let bar = progress::bar((until - from).max(0) as u64, "offsets stored again");
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
