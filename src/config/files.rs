//! Reads the files of one configuration, all together within bounds, and notes which they are and how they were then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::glob::Pattern;

/// The most bytes of the file of a configuration and of all files that it names.
pub const MAX_FILE: usize = 256 << 20;
/// The most files that a configuration names.
pub(super) const MAX_FILES: usize = 4_096;

/// What shows that the content of a file may be another: its time, its size, and which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> FileStamp {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        FileStamp { modified: metadata.modified().ok(), size: metadata.len(), inode }
    }
}

/// Files and how they were. None for one that was not there.
pub(super) type Stamps = BTreeMap<PathBuf, Option<FileStamp>>;

/// Reads files within what is left of the bounds.
#[derive(Debug)]
pub(super) struct Reader {
    left: usize,
    /// How many files the patterns name.
    named: usize,
    /// What was read, as it was before.
    pub(super) stamps: Stamps,
    /// The patterns that name files.
    pub(super) patterns: Vec<Pattern>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { left: MAX_FILE, named: 0, stamps: Stamps::new(), patterns: Vec::new() }
    }
}

impl Reader {
    /// Reads the whole file, once, because it may be a pipe.
    ///
    /// # Errors
    /// It cannot be read, or it is larger than what is left.
    pub(super) fn read(&mut self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.stamps.insert(path.to_owned(), None);
        let file = File::open(path)?;
        self.stamps.insert(path.to_owned(), Some(FileStamp::from(&file.metadata()?)));
        let mut bytes = Vec::new();
        file.take(self.left as u64 + 1).read_to_end(&mut bytes)?;
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            let all = if self.left < MAX_FILE { "all files together are " } else { "" };
            std::io::Error::other(format!("{all}larger than {MAX_FILE} bytes"))
        })?;
        Ok(bytes)
    }

    /// The files that `text` names, relative to `folder`, from now on watched as well.
    ///
    /// # Errors
    /// It is no pattern, a folder cannot be read, a name without wildcards is no file, or there are too many files.
    pub(super) fn files(&mut self, folder: &Path, text: &str) -> Result<BTreeSet<PathBuf>, String> {
        let pattern = Pattern::new(folder, text)?;
        let files = pattern.files().map_err(|error| format!("{text:?} cannot be looked for: {error}"));
        self.patterns.push(pattern);
        let files = files?;
        self.named += files.len();
        if self.named > MAX_FILES {
            return Err(format!(
                "{text:?} is one too many: there are {} files, expected at most {MAX_FILES}",
                self.named
            ));
        }
        for file in &files {
            // Also for a name without wildcards: reading a pipe or a device might have no end.
            match std::fs::metadata(file) {
                Ok(metadata) if metadata.is_file() => {}
                Ok(_) => return Err(format!("{text:?} is not a file")),
                Err(error) => return Err(format!("{text:?} cannot be read: {error}")),
            }
        }
        Ok(files)
    }
}

/// How the file `main` and all files that `patterns` name are now. None if there is no file `main`.
pub(super) fn stamps(main: &Path, patterns: &[Pattern]) -> Option<Stamps> {
    let stamp = |path: &Path| std::fs::metadata(path).ok().map(|metadata| FileStamp::from(&metadata));
    let mut stamps = Stamps::from([(main.to_owned(), Some(stamp(main)?))]);
    let files = patterns.iter().filter_map(|pattern| pattern.files().ok()).flatten();
    for file in files.take(MAX_FILES + 1) {
        let stamp = stamp(&file);
        stamps.insert(file, stamp);
    }
    Some(stamps)
}

/// The bytes of a file as text.
///
/// # Errors
/// The first line that is not UTF-8.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, usize> {
    String::from_utf8(bytes).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        1 + good.iter().filter(|byte| **byte == b'\n').count()
    })
}
