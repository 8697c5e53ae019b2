//! `include`: further files with sites, maintenance windows and templates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Tag};

use super::context::Faults;
use super::fault::Fault;
use super::files::{Reader, text};
use super::source::Sources;
use super::table::Table;

/// The most patterns.
const MAX_PATTERNS: usize = 1_000;

/// The files that `include` names, each once.
pub(super) fn files(root: &Table, folder: &Path, reader: &mut Reader) -> BTreeSet<PathBuf> {
    let items = root.list("include", 0, MAX_PATTERNS).unwrap_or_default();
    items.iter().filter_map(|item| item.parse(|text| reader.files(folder, text))).flatten().collect()
}

/// The root table of a file, with its tag.
pub(super) fn read(
    path: &Path,
    reader: &mut Reader,
    sources: &mut Sources,
    faults: &mut Faults,
) -> Option<(Tag, Dict)> {
    let shown = path.display().to_string();
    let read = match reader.read(path).map(text) {
        Err(error) => Err(Fault::of_file(&shown, "cannot be read", &error.to_string())),
        Ok(Err(line)) => Err(Fault::of_file(&shown, "is not TOML", &format!("line {line} is not UTF-8"))),
        Ok(Ok(text)) => sources
            .add_toml(path, &shown, text)
            .map_err(|problem| Fault::of_file(&shown, "is not TOML", &problem)),
    };
    read.map_err(|fault| faults.push(fault)).ok()
}

/// Reports what only the main file may have.
pub(super) fn refuse_others(root: &Table) {
    root.refuse_others("cannot be in an included file");
}
