//! What every command line of all programs begins with.

use std::path::{Path, PathBuf};

use super::logging::LogArgs;

#[derive(clap::Args)]
pub struct CommonArgs {
    /// The configuration file [default: config.toml]. WEBMON_SECTION__KEY in the environment overrides a value of it
    #[arg(short, long, global = true, env = "WEBMON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub log: LogArgs,
}

impl CommonArgs {
    pub fn config(&self) -> &Path {
        self.given_config().unwrap_or(Path::new("config.toml"))
    }

    /// The file that somebody asked for.
    pub fn given_config(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}
