//! A Kafka broker within one small process, to try webmon on where there is no Java: librdkafka's mock cluster.
//!
//! ```text
//! embedded_kafka --topic webmon.check-results.v1 --partitions 6 [--address-out kafka.address]
//! ```
//!
//! Makes the topic, prints `ready 127.0.0.1:PORT` (what `kafka.brokers` takes), and runs until SIGTERM or SIGINT,
//! or until the pipe that is its standard input is closed. Nothing but 127.0.0.1 is listened on.
//!
//! For trying out only, never for results that matter:
//! - it keeps 5 MiB or 100,000 records of a partition and drops the oldest beyond that without a word;
//! - it keeps them in memory: with its end everything is forgotten, while the offsets that a database remembers
//!   go on. A topic of a new name, or an empty database, starts anew;
//! - it knows no admin requests: `webmon-store topic create` does not work with it;
//! - no TLS, no SASL, no retention by time.

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
    // Before anything is announced, so that no signal meets the default.
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

/// Raises SIGTERM when standard input, if it is a pipe, is closed: the other end has gone.
fn end_with_stdin() {
    let pipe = std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.file_type().is_fifo());
    if pipe {
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = signal_hook::low_level::raise(SIGTERM);
        });
    }
}
