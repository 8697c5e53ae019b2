//! What every command line of both programs begins with.

use std::path::PathBuf;

use super::logging::LogArgs;

#[derive(clap::Args)]
pub struct CommonArgs {
    /// The configuration file. WEBMON_SECTION__KEY in the environment overrides a value of it
    #[arg(
        short,
        long,
        global = true,
        env = "WEBMON_CONFIG",
        default_value = "config.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,

    #[command(flatten)]
    pub log: LogArgs,
}
