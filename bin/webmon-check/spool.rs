//! `webmon-check spool`: looks into the spool, also while the checker runs.

use std::io::{BufWriter, ErrorKind, Write};

use anyhow::bail;
use clap::Subcommand;
use webmon::config::Config;
use webmon::outbox::spool::{Inspector, SpoolError, Status};

#[derive(Subcommand)]
pub enum SpoolCommand {
    /// Print how many records wait for Kafka, and since when
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the records and gaps that wait for Kafka, one JSON object on each line
    Dump {
        /// Print instead the records that Kafka refused for good, each with the reason
        #[arg(long)]
        rejected: bool,
    },
}

pub fn run(config: &Config, command: &SpoolCommand) -> anyhow::Result<()> {
    let Some(spool) = &config.check.spool else {
        bail!("check.spool is off: results wait in memory");
    };
    let inspector = Inspector::new(&spool.dir)?;
    match command {
        SpoolCommand::Status { json: true } => println!("{}", serde_json::to_string(&inspector.status()?)?),
        SpoolCommand::Status { json: false } => println!("{}", status_table(&inspector.status()?)),
        SpoolCommand::Dump { rejected } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let each = |json: &[u8]| {
                out.write_all(json)?;
                out.write_all(b"\n")?;
                Ok(())
            };
            let dumped = if *rejected { inspector.rejected(each) } else { inspector.waiting(each) };
            match dumped.and_then(|()| Ok(out.flush()?)) {
                // The reader of the output has closed it.
                Err(DumpError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
                dumped => dumped?,
            }
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot print")]
    Output(#[from] std::io::Error),
}

fn status_table(status: &Status) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let oldest = status.oldest_waiting_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    for (name, value) in [
        ("segments", status.segments.to_string()),
        ("bytes", status.bytes.to_string()),
        ("waiting", status.waiting.to_string()),
        ("oldest waiting", oldest),
        ("gaps", status.gaps.to_string()),
        ("rejected", status.rejected.to_string()),
        ("damaged", status.damaged.to_string()),
    ] {
        table.add_row([name, &value]);
    }
    table
}
