//! A broker's data: formatted once, with the cluster's id and a user.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Kafka, SASL_USER};
use crate::{command, file, say};

const LIMIT: Duration = Duration::from_secs(120);
/// The data keeps the user that it is formatted with, so its password is beside it.
const PASSWORD: &str = "data/webmon-sasl-password";

impl Kafka<'_> {
    /// Formats the data directory, once.
    pub(super) fn format(&self) -> Result<()> {
        let data = self.dir.join("data");
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        // What an interrupted formatting left; no broker has run on it.
        file::remove(&data)?;
        let password = file::new_password()?;
        let mut command =
            self.java(&["-XX:TieredStopAtLevel=1", &self.logging()], "kafka.tools.StorageTool")?;
        command.args(["format", "--cluster-id", &self.cluster_id()?, "--config"]);
        command.arg(self.dir.join("server.properties"));
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.arg("--add-scram").arg(format!("{mechanism}=[name={SASL_USER},password={password}]"));
        }
        if let Err(error) = self.run(command, "log/format.log") {
            file::remove(&data)?;
            return Err(error.context("Kafka's data directory couldn't be formatted"));
        }
        self.write_password(&password)
    }

    /// The cluster's, made by whoever comes first: 16 bytes in URL-safe base64, not beginning with "-".
    fn cluster_id(&self) -> Result<String> {
        let first = self.nodes().swap_remove(0);
        let path = first.dir.join("cluster-id");
        let id = file::first_line(&path);
        if !id.is_empty() {
            return Ok(id);
        }
        let id = base64(&file::random()?);
        file::make_dir(&first.dir)?;
        file::write(&path, &format!("{id}\n"), 0o644)?;
        Ok(id)
    }

    pub(super) fn password(&self) -> String {
        file::first_line(&self.dir.join(PASSWORD))
    }

    /// Remembers it beside Kafka's records, which alone make it true.
    fn write_password(&self, password: &str) -> Result<()> {
        file::write(&self.dir.join(PASSWORD), &format!("{password}\n"), 0o600)
    }

    /// Adds the user to a running broker whose data was formatted without one; formatting it again would lose records.
    pub(super) fn add_user(&self) -> Result<()> {
        if !self.password().is_empty() {
            return Ok(());
        }
        say!("adding the user {SASL_USER} to Kafka's data");
        let password = file::new_password()?;
        // Kafka alters a user only once in a request.
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut command = self.java(&["-XX:TieredStopAtLevel=1"], "kafka.admin.ConfigCommand")?;
            command.args(["--bootstrap-server", &self.address(), "--alter", "--entity-type", "users"]);
            command.args([
                "--entity-name",
                SASL_USER,
                "--add-config",
                &format!("{mechanism}=[password={password}]"),
            ]);
            self.run(command, "log/add-user.log").context("Kafka's user couldn't be added")?;
        }
        self.write_password(&password)
    }

    fn run(&self, mut command: Command, log: &str) -> Result<()> {
        let log = self.dir.join(log);
        let output = std::fs::File::create(&log)?;
        let status = command::run(command.stdout(output.try_clone()?).stderr(output), LIMIT)?;
        if !status.success() {
            say::show_log(&log);
            bail!("it ended with exit status {}", command::code(status));
        }
        Ok(())
    }
}

/// Of 16 bytes, 22 digits; `x` and `y` for the two digits that are not letters or numbers.
fn base64(bytes: &[u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xy";
    let number = u128::from_be_bytes(*bytes);
    // 128 bits are 21 digits and 2 bits, which the last one begins with.
    let digit = |n: u32| if n < 21 { number >> (122 - 6 * n) } else { number << 4 } & 63;
    (0..22).map(|n| char::from(DIGITS[digit(n) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_id_is_base64() {
        // printf '\0\1…\17' | base64
        assert_eq!(base64(&std::array::from_fn(|n| n as u8)), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(base64(&[255; 16]), "yyyyyyyyyyyyyyyyyyyyyw");
    }
}
