//! What is fetched from Maven Central, once: Kafka's jars, servers of other versions of PostgreSQL, and axe-core.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::lock::Lock;
use crate::{command, file, packages, say};

const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
const LIMIT: Duration = Duration::from_secs(900);

/// Group, artifact and version.
pub struct Dependency<'a>(pub &'a str, pub &'a str, pub &'a str);

/// What of the dependencies is wanted.
#[derive(Clone, Copy, PartialEq)]
pub enum Want {
    /// Their jars, and those that these need in turn.
    Jars,
    /// What their own jars hold.
    Content,
}

/// Fetches dependencies into a directory, unless it has them. The directory appears complete or not at all, and holds
/// the pom that it was made from: a changed one is fetched again.
pub fn fetch(root: &Path, what: &str, want: Want, dir: &Path, dependencies: &[Dependency<'_>]) -> Result<()> {
    let pom = pom(want, dependencies);
    let is_there = || fs::read_to_string(dir.join("pom.xml")).is_ok_and(|there| there == pom);
    if is_there() {
        return Ok(());
    }
    let parent = dir.parent().context("a directory has one above it")?;
    // Several instances may want them at once.
    let _lock = Lock::take(&parent.join("lock"), LIMIT)?;
    if is_there() {
        return Ok(());
    }
    let maven = packages::need(root, "mvn", "maven")?;
    say!("fetching {what} from the Maven repository (only this once)");
    let prefix = format!("{}.new.", dir.file_name().unwrap_or_default().display());
    remove_unfinished(parent, &prefix)?;
    let new = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?;
    file::write(&new.path().join("pom.xml"), &pom, 0o644)?;
    let log = parent.join("maven.log");
    let output = File::create(&log)?;
    let goal = if want == Want::Jars { "copy-dependencies" } else { "unpack-dependencies" };
    let mut command = Command::new(maven);
    command.args(["-q", "-B", "-f"]).arg(new.path().join("pom.xml")).arg(format!("{PLUGIN}:{goal}"));
    command.arg(format!("-DoutputDirectory={}", new.path().display())).arg("-DincludeScope=runtime");
    let status = command::run(command.stdout(output.try_clone()?).stderr(output), LIMIT)?;
    if !status.success() {
        say::show_log(&log);
        bail!("Maven couldn't fetch {what}");
    }
    // The server's user reads them, too.
    fs::set_permissions(new.path(), Permissions::from_mode(0o755))?;
    file::remove(dir)?;
    fs::rename(new.keep(), dir).with_context(|| format!("cannot make {}", dir.display()))
}

fn remove_unfinished(parent: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            file::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn pom(want: Want, dependencies: &[Dependency<'_>]) -> String {
    // Maven fetches all that a dependency needs before any goal, also what the goal leaves out.
    let alone = match want {
        Want::Jars => "",
        Want::Content => {
            "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        }
    };
    let dependencies: String = dependencies
        .iter()
        .map(|Dependency(group, artifact, version)| {
            format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version>{alone}</dependency>\n"
            )
        })
        .collect();
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>webmon.dev</groupId>
  <artifactId>services</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_fetched() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("jars/1.0");
        fs::create_dir_all(&dir).unwrap();
        let dependencies = [Dependency("a.b", "c", "1.0"), Dependency("d", "e", "2")];
        fs::write(dir.join("pom.xml"), pom(Want::Jars, &dependencies)).unwrap();
        // There is neither a lock nor a Maven to run in this root.
        fetch(root.path(), "it", Want::Jars, &dir, &dependencies).unwrap();
        assert!(!root.path().join("jars/lock").exists());
    }
}
