//! `webmon-store locations`: where checks are made from, for people.

use clap::Subcommand;
use comfy_table::Cell;
use jiff::Timestamp;
use webmon::config::Config;
use webmon::store;

use crate::connect::connect;
use crate::output::{print_json, right, table};

#[derive(Subcommand)]
pub enum LocationsCommand {
    /// List the locations, with how many sites are down there
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retire a location: end the outages seen from there. A later result from there undoes that
    Retire {
        /// The location's name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Carries out a command.
pub fn run(config: &Config, command: &LocationsCommand) -> anyhow::Result<()> {
    let mut client = connect(config)?;
    match command {
        LocationsCommand::List { json } => {
            let locations = store::locations(&mut client)?;
            if *json {
                return print_json(&locations);
            }
            let mut table = table(&["LOCATION", "SITES", "DOWN", "LAST HOUR (UTC)", "RETIRED SINCE (UTC)"]);
            let time = |at: Option<Timestamp>| Cell::new(at.map_or_else(String::new, |at| at.to_string()));
            for location in &locations {
                table.add_row([
                    Cell::new(&location.name),
                    right(Some(location.sites.to_string())),
                    right(Some(location.down.to_string())),
                    time(location.last_hour),
                    time(location.retired_at),
                ]);
            }
            println!("{table}");
        }
        LocationsCommand::Retire { name, json } => {
            let Some(sites) = store::retire_location(&mut client, name)? else {
                anyhow::bail!("there is no location {name:?}");
            };
            match json {
                true => print_json(&serde_json::json!({ "location": name, "sites": sites }))?,
                false => println!("retired {sites} sites at location {name:?}"),
            }
        }
    }
    Ok(())
}
