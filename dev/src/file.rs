//! Small files and directories.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file so that a reader sees the old content or the new, never a part.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(content.as_bytes())?;
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
        new.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The first line, or nothing when there is none.
pub fn first_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Makes a directory and those above it, open to all whatever the umask: the database runs as another user and
/// must be able to walk through.
pub fn make_dir(path: &Path) -> Result<()> {
    let make = |path: &Path| -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if path.is_dir() => return Ok(()),
            other => other?,
        }
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.is_dir()).collect();
    missing.reverse();
    missing.iter().try_for_each(|path| make(path)).with_context(|| format!("cannot make {}", path.display()))
}

/// Removes a directory with all in it, or a file; nothing to remove is no error.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A server appends to its log for ever; at each start we keep one predecessor.
pub fn keep_one_old_log(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        fs::rename(path, old).with_context(|| format!("cannot rename {}", path.display()))?;
    }
    Ok(())
}

/// 16 random bytes.
pub fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// A password of 32 hexadecimal digits.
pub fn new_password() -> Result<String> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_one_predecessor() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        for text in ["first", "second", ""] {
            keep_one_old_log(&log).unwrap();
            fs::write(&log, text).unwrap();
        }
        keep_one_old_log(&log).unwrap();
        assert_eq!(first_line(&directory.path().join("log.old")), "second");
    }

    #[test]
    fn a_file_is_replaced_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, "one\ntwo\n", 0o644).unwrap();
        write(&path, "three\n", 0o600).unwrap();
        assert_eq!(first_line(&path), "three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(first_line(&path), "");
    }
}
