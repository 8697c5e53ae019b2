//! Cargo, and the programs that it has built.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use webmon_dev::command::Group;

/// The longest that a step may take: all is compiled in minutes.
pub(crate) const LIMIT: Duration = Duration::from_secs(3600);
/// What Cargo and its compilers, or dev/run, may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(90);

/// A program that was built.
#[derive(Debug, PartialEq)]
pub(crate) struct Built {
    /// `bin`, `lib`, `test`, `bench` or `example`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) is_test: bool,
    pub(crate) path: PathBuf,
}

/// A command of Cargo's in the project.
pub(crate) fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root);
    command
}

/// Builds programs; where Cargo puts them is configurable, and it tells.
pub(crate) fn build(root: &Path, arguments: &[&str], list: &Path) -> Result<Vec<Built>> {
    let mut command = command(root, arguments);
    command.args(["--locked", "--message-format=json-render-diagnostics"]);
    let file = File::create(list).with_context(|| format!("cannot write {}", list.display()))?;
    if !Group::start(command.stdout(file))?.wait(LIMIT, GRACE)?.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    let text = std::fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    Ok(text.lines().filter_map(built).collect())
}

/// The program that a message tells of, if it does.
fn built(message: &str) -> Option<Built> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    Some(Built {
        kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
        name: target.get("name")?.as_str()?.to_owned(),
        is_test: message.get("profile")?.get("test")?.as_bool()?,
        path: message.get("executable")?.as_str()?.into(),
    })
}

/// The program of this name.
pub(crate) fn program(all: &[Built], name: &str) -> Result<PathBuf> {
    let found = all.iter().rfind(|built| !built.is_test && built.name == name);
    found.map(|built| built.path.clone()).with_context(|| format!("cargo has built no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_which_programs_it_has_built() {
        let message = |kind: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"webmon-store"}},
                "profile":{{"test":{test}}},"executable":{executable},"fresh":true}}"#
            )
        };
        let all: Vec<Built> = [
            message("bin", false, r#""/target/debug/webmon-store""#),
            message("bin", true, r#""/target/debug/deps/webmon_store-12""#),
            message("lib", false, "null"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "no JSON".to_owned(),
        ]
        .iter()
        .filter_map(|message| built(message))
        .collect();
        assert_eq!(all.len(), 2);
        assert_eq!(program(&all, "webmon-store").unwrap(), Path::new("/target/debug/webmon-store"));
        assert!(program(&all, "webmon-check").is_err());
    }
}
