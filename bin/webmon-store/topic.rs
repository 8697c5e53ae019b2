//! `webmon-store topic`: the topic of the results.

use std::time::Duration;

use clap::Subcommand;
use webmon::config::Config;
use webmon::kafka::{self, KafkaError, NewTopic};

use crate::duration::duration;

#[derive(Subcommand)]
pub enum TopicCommand {
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

pub fn run(config: &Config, command: &TopicCommand) -> anyhow::Result<()> {
    let TopicCommand::Create { partitions, replication, retention, if_missing } = command;
    let topic = NewTopic { partitions: *partitions, replication: *replication, retention: *retention };
    match kafka::create_topic(&config.kafka, &topic) {
        Ok(()) => println!("created topic {:?} with {partitions} partitions", config.kafka.topic),
        Err(KafkaError::TopicExists { topic }) if *if_missing => println!("topic {topic:?} exists already"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
