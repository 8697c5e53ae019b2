//! Notices that the files of a configuration have changed.

use std::path::{Path, PathBuf};

use super::config::Config;
use super::error::ConfigError;
use super::files::{Reader, Stamps, stamps};
use super::glob::Pattern;
use super::role::Role;

/// Notices by their times and sizes that the content of a file, or of one that it names, may have changed, and that files
/// have come or gone. Asking every second costs little. Unlike the kernel's notifications it works on every file system,
/// and however a file is replaced.
///
/// ```
/// use webmon::config::Watch;
///
/// let folder = std::env::temp_dir().join(format!("webmon-watch-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let path = folder.join("config.toml");
/// std::fs::write(&path, "one")?;
/// let mut watch = Watch::new(&path);
/// std::fs::write(&path, "another")?;
/// assert!(!watch.has_changed()); // it may be being written still
/// assert!(watch.has_changed());
/// assert!(!watch.has_changed());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// The patterns that name further files.
    patterns: Vec<Pattern>,
    /// The state reported last, or found at the start.
    known: Option<Stamps>,
    /// The state seen last.
    seen: Option<Stamps>,
}

impl Watch {
    /// Watches `path`, as it is now. The files that it names are watched from [`Watch::load`] on.
    pub fn new(path: &Path) -> Watch {
        let state = stamps(path, &[]);
        Watch { path: path.to_owned(), patterns: Vec::new(), known: state.clone(), seen: state }
    }

    /// Reads the configuration as [`Config::load`] does, and watches all its files as they were then. That holds for one
    /// with faults too.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&mut self, role: Role) -> Result<Config, ConfigError> {
        let mut reader = Reader::default();
        let variables = Config::variables()?;
        let config = Config::load_by(&mut reader, &self.path, variables, role);
        self.patterns = reader.patterns;
        self.known = read(&self.path, &self.patterns, reader.stamps);
        self.seen.clone_from(&self.known);
        config
    }

    /// Whether the files have changed since this was last true, or since they were loaded. A change is reported once it
    /// was seen twice in a row, so that no file is read while it is being written. If the file itself is gone, nothing
    /// has changed.
    pub fn has_changed(&mut self) -> bool {
        let now = stamps(&self.path, &self.patterns);
        let settled = now == self.seen;
        let changed = settled && now.is_some() && now != self.known;
        if changed {
            self.known.clone_from(&now);
        }
        self.seen = now;
        changed
    }
}

/// The state of all files, where what was read counts as it was before.
fn read(main: &Path, patterns: &[Pattern], before: Stamps) -> Option<Stamps> {
    let mut all = stamps(main, patterns)?;
    all.extend(before);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_or_goes_while_all_are_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main");
        let patterns = [Pattern::new(folder.path(), "*.toml").unwrap()];
        for path in ["main", "changes.toml", "goes.toml", "stays.toml"] {
            std::fs::write(folder.path().join(path), "one").unwrap();
        }
        let before = || {
            let mut reader = Reader::default();
            reader.read(&main).unwrap();
            for file in patterns[0].files().unwrap() {
                reader.read(&file).unwrap();
            }
            reader.stamps
        };
        let stamps_of_all = || stamps(&main, &patterns);
        assert_eq!(read(&main, &patterns, before()), stamps_of_all());
        let (change, end) = (before(), before());
        std::fs::write(folder.path().join("changes.toml"), "another").unwrap();
        assert_ne!(read(&main, &patterns, change), stamps_of_all());
        std::fs::write(folder.path().join("changes.toml"), "one").unwrap();
        std::fs::remove_file(folder.path().join("goes.toml")).unwrap();
        assert_ne!(read(&main, &patterns, end), stamps_of_all());
    }
}
