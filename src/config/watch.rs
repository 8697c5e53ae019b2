//! Notices that a file has changed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Notices by its time and size that the content of a file may have changed. Asking every second costs nothing. Unlike
/// the kernel's notifications it works on every file system, and however the file is replaced.
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
    /// The state reported last, or found at the start.
    known: Option<FileStamp>,
    /// The state seen last.
    seen: Option<FileStamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    size: u64,
}

impl Watch {
    /// Watches `path`, as it is now.
    pub fn new(path: &Path) -> Watch {
        let state = state(path);
        Watch { path: path.to_owned(), known: state, seen: state }
    }

    /// Whether the file has changed since this was last true. A change is reported once it was seen twice in a row, so
    /// that no file is read while it is being written. A file that is gone has not changed.
    pub fn has_changed(&mut self) -> bool {
        let now = state(&self.path);
        let settled = now == self.seen;
        self.seen = now;
        if !settled || now.is_none() || now == self.known {
            return false;
        }
        self.known = now;
        true
    }

    /// Takes the current state of the file as known, because the file is about to be read.
    pub fn reset(&mut self) {
        self.known = state(&self.path);
        self.seen = self.known;
    }
}

fn state(path: &Path) -> Option<FileStamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(FileStamp { modified: metadata.modified().ok(), size: metadata.len() })
}
