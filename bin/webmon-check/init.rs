//! `webmon-check init`: writes a configuration to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What one needs to begin.
const SHORT: &str = include_str!("init.toml");
/// Every setting.
const FULL: &str = include_str!("../../config.toml.example");

#[derive(clap::Args)]
pub struct InitArgs {
    /// The file to write, or "-" to print it [default: the file of --config]
    file: Option<PathBuf>,
    /// Write every setting there is, each with its meaning, its range and its default
    #[arg(long)]
    full: bool,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

pub fn run(config: &Path, args: &InitArgs) -> anyhow::Result<()> {
    let text = if args.full { FULL } else { SHORT };
    let path = args.file.as_deref().unwrap_or(config);
    if path == Path::new("-") {
        return match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads along has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot print"),
        };
    }
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.write(true).create_new(!args.force).create(true).truncate(true);
    match options.open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{shown} exists already: --force replaces it")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {shown}")),
    }
    println!("{shown} is written. Put your sites into it, then try:");
    for command in ["validate", "once"] {
        println!("    webmon-check --config {shown} {command}");
    }
    Ok(())
}
