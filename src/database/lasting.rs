//! Work on connection after connection.

use std::time::Instant;

use postgres::Client;

use super::connect::Connector;
use super::error::{DatabaseError, Remedy};
use super::outage::Outage;
use crate::shutdown::Shutdown;

/// Gives `act` a connection, and another one whenever it returns, until `shutdown` is requested. After a connection fails
/// it connects again, without end and ever more slowly. `doing` says so in the log.
///
/// # Errors
/// The first fault that trying again cannot mend: the schema or rights are missing, and the like.
pub(crate) fn keep_connected(
    connector: &Connector,
    shutdown: &Shutdown,
    doing: &str,
    mut act: impl FnMut(&mut Client) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let mut outage = Outage::default();
    while !shutdown.is_requested() {
        let begun = Instant::now();
        let line = connector.line();
        let outcome = connector.connect_on(&line).and_then(|mut client| act(&mut client));
        let Err(error) = outcome else { continue };
        if error.remedy() == Remedy::Stop {
            return Err(error);
        }
        if !shutdown.is_requested() {
            shutdown.wait(outage.note(begun, &error, line.end(), doing));
        }
    }
    Ok(())
}
