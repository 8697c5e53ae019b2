//! A Kafka broker in one small process, librdkafka's mock cluster, to try webmon without Java.
//!
//! ```text
//! embedded_kafka --topic webmon.check-results.v1 --partitions 6 [--address-out kafka.address]
//! ```
//!
//! Creates the topic and prints `ready 127.0.0.1:PORT`, a value for `kafka.brokers`. Runs until SIGTERM or SIGINT, or
//! until its standard input, if that is a pipe, is closed. It listens only on 127.0.0.1.
//!
//! Use it only to try webmon, never for results that matter:
//! - It keeps 5 MiB or 100,000 records of a partition, and drops the oldest beyond that silently.
//! - It keeps them in memory. When it ends everything is lost, but a database still expects the offsets after those
//!   that it stored. To start over, use a topic with a new name or an empty database.
//! - It knows no admin requests: `webmon-store topic create` does not work with it.
//! - It has no TLS, no SASL and no retention by time.

use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use clap::Parser;
use rdkafka::mocking::MockCluster;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Serves one Kafka topic on 127.0.0.1, from memory
#[derive(Parser)]
struct Args {
    /// The topic to make
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// How many partitions it has
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    partitions: i32,
    /// Where to write the address
    #[arg(long, value_name = "FILE")]
    address_out: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // This comes before anything is announced, so that no signal has its default effect.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot handle signals")?;
    let cluster = MockCluster::new(1).context("cannot start the broker")?;
    cluster
        .create_topic(&args.topic, args.partitions, 1)
        .with_context(|| format!("cannot create topic {:?}", args.topic))?;
    let address = cluster.bootstrap_servers();
    if let Some(path) = &args.address_out {
        std::fs::write(path, format!("{address}\n")).with_context(|| format!("cannot write {path:?}"))?;
    }
    println!("ready {address}");
    io::stdout().flush()?;
    end_with_stdin();
    signals.forever().next();
    Ok(())
}

/// Raises SIGTERM when standard input, if it is a pipe, is closed: then the other end is gone.
fn end_with_stdin() {
    let pipe = std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.file_type().is_fifo());
    if pipe {
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = signal_hook::low_level::raise(SIGTERM);
        });
    }
}
