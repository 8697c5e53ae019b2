//! The file of addresses, `.dev/env`: lines of `export NAME='VALUE'` for any shell.

use std::path::Path;

use anyhow::{Context, Result};

/// One line.
pub fn line(name: &str, value: &str) -> String {
    format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
}

/// Its names and values.
pub fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// The value of one name, or nothing when it is not there.
pub fn value(path: &Path, name: &str) -> Option<String> {
    let all = read(path).ok()?;
    all.into_iter().find_map(|(other, value)| (other == name).then_some(value))
}

fn parse(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name.to_owned(), value.replace(r"'\''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_and_we_read_what_was_written() {
        let value = "postgres://user:it's $HOME \"'@127.0.0.1/";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line("A", "1") + &line("B", value)).unwrap();
        assert_eq!(super::value(file.path(), "B").as_deref(), Some(value));
        assert_eq!(super::value(file.path(), "C"), None);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", ". \"$1\" && printf %s \"$B\"", "sh"]).arg(file.path());
        assert_eq!(String::from_utf8(shell.output().unwrap().stdout).unwrap(), value);
    }
}
