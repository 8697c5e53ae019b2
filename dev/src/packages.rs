//! Programs of the machine: found, or installed by `dev/packages`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;

/// The oldest Java that a Kafka 4 broker runs on.
const JAVA_MIN: u32 = 17;
const INSTALL: Duration = Duration::from_secs(1800);
const ASK: Duration = Duration::from_secs(30);

static JAVA: OnceLock<PathBuf> = OnceLock::new();

/// Installs a package when root, else says what is missing.
fn install(root: &Path, name: &str) -> Result<()> {
    let status = command::run(Command::new(root.join("dev/packages")).arg(name), INSTALL)?;
    if !status.success() {
        bail!("{name} is missing and couldn't be installed");
    }
    Ok(())
}

/// A program that is on the PATH, or will be once its package is installed.
pub fn need(root: &Path, program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(program) {
        return Ok(path);
    }
    install(root, package)?;
    on_path(program).with_context(|| format!("no {program} on the PATH, even after installing it"))
}

pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| is_program(path))
}

pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// A Java that is new enough.
pub fn need_java(root: &Path) -> Result<PathBuf> {
    if let Some(java) = JAVA.get() {
        return Ok(java.clone());
    }
    let java = match find_java()? {
        Some(java) => java,
        None => {
            install(root, "java")?;
            find_java()?
                .context("no Java 17 or newer found, even after installing one; set JAVA_HOME to one")?
        }
    };
    Ok(JAVA.get_or_init(|| java).clone())
}

fn find_java() -> Result<Option<PathBuf>> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let installed = children(Path::new("/usr/lib/jvm")).into_iter().map(|home| home.join("bin/java"));
    for java in home.into_iter().chain(on_path("java")).chain(installed).filter(|java| is_program(java)) {
        let (_, said) = command::output(Command::new(&java).arg("-version"), ASK)?;
        if java_major(&said) >= JAVA_MIN {
            return Ok(Some(java));
        }
    }
    Ok(None)
}

/// 17 of `openjdk version "17.0.15"`; 0 when it says nothing such.
fn java_major(said: &str) -> u32 {
    let version = said.split_once("version \"").map_or("", |(_, rest)| rest);
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().unwrap_or(0)
}

/// The directory of the newest PostgreSQL server's programs.
pub fn need_postgres(root: &Path) -> Result<PathBuf> {
    if let Some(directory) = find_postgres() {
        return Ok(directory);
    }
    install(root, "postgres")?;
    find_postgres()
        .context("no initdb and postgres found under /usr/lib/postgresql, even after installing postgresql")
}

/// Debian keeps the server's programs off the PATH, one directory a version.
pub fn find_postgres() -> Option<PathBuf> {
    let mut versions = children(Path::new("/usr/lib/postgresql"));
    let major = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<f64>().ok());
    versions.sort_by(|a, b| major(b).partial_cmp(&major(a)).unwrap_or(std::cmp::Ordering::Equal));
    let debian = versions.into_iter().map(|version| version.join("bin"));
    let is_server = |bin: &PathBuf| is_program(&bin.join("initdb")) && is_program(&bin.join("postgres"));
    debian.chain(pg_config()).find(is_server)
}

fn pg_config() -> Option<PathBuf> {
    let said = command::stdout(Command::new(on_path("pg_config")?).arg("--bindir"), ASK).ok()?;
    Some(PathBuf::from(said.trim()))
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_version_is_read() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), 17);
        assert_eq!(java_major("java version \"1.8.0_202\""), 1);
        assert_eq!(java_major("openjdk version \"21\" 2023"), 21);
        assert_eq!(java_major("no such file"), 0);
    }
}
