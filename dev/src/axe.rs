//! axe-core, which finds what keeps people with disabilities from using a page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ring::digest::{SHA256, digest};

use crate::maven::{self, Dependency, Want};
use crate::project::Project;

/// The newest that Maven Central has, in a jar of axe-core's makers. npm has newer ones, but would be one more tool to
/// install.
const VERSION: &str = "4.11.1";
/// Of `axe.min.js`.
const DIGEST: &str = "7dbfabdfc6062936d79c873ddbb5f811a1219fca3928bd8cc9dd81f1e65f4720";

/// Where the script is once it was fetched. The tests know it by WEBMON_TEST_AXE.
pub fn script(project: &Project) -> PathBuf {
    project.shared().join("axe").join(VERSION).join("axe.min.js")
}

/// Fetches the script, unless it is there.
///
/// # Errors
/// Maven cannot fetch it, or it is not the script that this file was written for.
pub fn need(project: &Project) -> Result<()> {
    let script = script(project);
    let dir = script.parent().context("a file is in a directory")?;
    crate::file::make_dir(dir.parent().context("a directory has one above it")?)?;
    let jar = Dependency("com.deque.html.axe-core", "selenium", VERSION);
    maven::fetch(project.root(), "axe-core", Want::Content, dir, &[jar])?;
    check(&script)
}

fn check(script: &Path) -> Result<()> {
    let text = std::fs::read(script).with_context(|| format!("cannot read {}", script.display()))?;
    let found: String = digest(&SHA256, &text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != DIGEST {
        bail!(
            "{} has the SHA-256 {found}: expected {DIGEST}; remove its folder to fetch it again",
            script.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_script_is_refused() {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "window.axe = {}").unwrap();
        let error = check(script.path()).unwrap_err().to_string();
        assert!(error.contains("has the SHA-256 ") && error.contains(DIGEST), "{error}");
    }
}
