//! The files that a pattern such as `sites.d/*.toml` names.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The most entries of folders that one pattern looks at.
const MAX_ENTRIES: usize = 100_000;

/// A path that may have `*` and `?` in each of its parts, as in a shell: neither matches a `/`, nor a dot at the start
/// of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Where a relative one starts.
    folder: PathBuf,
    text: String,
}

impl Pattern {
    /// # Errors
    /// The pattern has what a shell knows and this does not.
    pub(super) fn new(folder: &Path, text: &str) -> Result<Pattern, String> {
        match ["**", "[", "{", "\0"].into_iter().find(|unknown| text.contains(unknown)) {
            Some(unknown) => {
                Err(format!("{text:?} has {unknown:?}: expected no wildcards but \"*\" and \"?\""))
            }
            None => Ok(Pattern { folder: folder.to_owned(), text: text.to_owned() }),
        }
    }

    /// The files that it names now, sorted. A name without wildcards is there even if there is no such file.
    ///
    /// # Errors
    /// A folder cannot be read, or has too many entries.
    pub(super) fn files(&self) -> io::Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        if is_plain(&self.text) {
            found.insert(self.folder.join(&self.text));
            return Ok(found);
        }
        let (root, text) = match self.text.strip_prefix('/') {
            Some(rest) => (PathBuf::from("/"), rest),
            None => (self.folder.clone(), self.text.as_str()),
        };
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let mut looked_at = 0;
        walk(&root, &parts, &mut looked_at, &mut found)?;
        Ok(found)
    }
}

fn walk(at: &Path, parts: &[&str], looked_at: &mut usize, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        if at.is_file() {
            found.insert(at.to_owned());
        }
        return Ok(());
    };
    if is_plain(part) {
        return walk(&at.join(part), rest, looked_at, found);
    }
    let here = if at.as_os_str().is_empty() { Path::new(".") } else { at };
    let entries = match std::fs::read_dir(here) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        *looked_at += 1;
        if *looked_at > MAX_ENTRIES {
            return Err(io::Error::other(format!("there are more than {MAX_ENTRIES} entries to look at")));
        }
        let name = entry?.file_name();
        let shown = name.to_string_lossy();
        if shown.starts_with('.') <= part.starts_with('.') && matches(part.as_bytes(), shown.as_bytes()) {
            walk(&at.join(&name), rest, looked_at, found)?;
        }
    }
    Ok(())
}

fn is_plain(part: &str) -> bool {
    !part.contains(['*', '?'])
}

/// Whether `name` matches. A `?` is one byte of an ASCII name, and one or more `?` a character of another.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not match: it takes one byte more.
    let mut last: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match last {
                Some((star, taken)) => {
                    last = Some((star, taken + 1));
                    (p, n) = (star + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXb", false),
            ("?.json", "a.json", true),
            ("?.json", ".json", false),
            ("*", "", true),
            ("a?", "a", false),
            ("**a", "xa", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_names_files_in_every_folder_that_matches_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b/x.toml", "a/y.toml", "a/.hidden.toml", "a/x.toml", "a/x.toml.new", "c/d/x.toml"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::create_dir(folder.path().join("a/folder.toml")).unwrap();
        let files = |text: &str| {
            let files = Pattern::new(folder.path(), text).unwrap().files().unwrap();
            let shown = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            files.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(files("*/*.toml"), ["a/x.toml", "a/y.toml", "b/x.toml"]);
        assert_eq!(files("a/.*.toml"), ["a/.hidden.toml"]);
        assert_eq!(files("?/x.toml"), ["a/x.toml", "b/x.toml"]);
        assert_eq!(files("absent/*.toml"), [""; 0]);
        assert_eq!(files("a/x.toml/*"), [""; 0]);
        assert_eq!(files("absent.toml"), ["absent.toml"]);
        for unknown in ["**/x.toml", "[ab].toml", "{a,b}.toml"] {
            assert!(Pattern::new(folder.path(), unknown).is_err(), "{unknown}");
        }
    }
}
