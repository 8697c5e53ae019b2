//! Where a cluster is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::as_database_user;
use crate::project::Project;
use crate::service::Service;
use crate::{command, file, say};

/// The kernel's limit for a socket's path.
const MAX_SOCKET_PATH: usize = 107;
const ASK: Duration = Duration::from_secs(10);

/// A cluster's directory: it holds `data/`, `postgres.log` and the unix socket.
pub(super) struct Home(pub(super) PathBuf);

impl Home {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("postgres.log")
    }

    /// Another directory beside it, with a name that ends so.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let name = self.0.file_name().unwrap_or_default().display();
        self.0.with_file_name(format!("{name}.{ending}"))
    }
}

/// Where it is, as [`choose`] has decided. A record that isn't of this project (a copied `.dev`) doesn't count.
pub(super) fn of(project: &Project, service: Service) -> Home {
    let recorded = PathBuf::from(file::first_line(&project.of(service).join("location")));
    let is_ours = recorded.parent().and_then(Path::file_name).is_some_and(|name| *name == *project.key());
    Home(if is_ours { recorded } else { project.of(service).join("cluster") })
}

/// Decides where it shall be: below `.dev` when the server can be there. It can't when it must run as the user postgres
/// and the project is below a directory closed to that user (as /root is), or when the socket's path would be too long;
/// then it's below the temporary directory, and the file `location` says where.
pub(super) fn choose(project: &Project, service: Service) -> Result<()> {
    let mut home = of(project, service).0;
    if !home.parent().is_some_and(Path::is_dir) || !fits(&home)? {
        home = elsewhere(project, service)?;
        let dir = project.of(service);
        say!("{}: its data is in {} (it can't be under {})", service.name(), home.display(), dir.display());
    }
    file::write(&project.of(service).join("location"), &format!("{}\n", home.display()), 0o644)
}

fn elsewhere(project: &Project, service: Service) -> Result<PathBuf> {
    for base in [std::env::temp_dir(), PathBuf::from("/tmp")] {
        let parent = base.join(project.key());
        let home = parent.join(service.name());
        if is_own_dir(&parent) && fits(&home)? {
            return Ok(home);
        }
    }
    bail!("found no directory for PostgreSQL that its user can reach; set TMPDIR to one")
}

/// Makes a directory; false when it's there but of somebody else, as anyone can make names in a temporary directory.
fn is_own_dir(path: &Path) -> bool {
    let made = fs::DirBuilder::new().mode(0o755).create(path).is_ok();
    let is_ours =
        |metadata: fs::Metadata| metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    made || fs::symlink_metadata(path).is_ok_and(is_ours)
}

/// Could a cluster live there? The directory above must exist.
fn fits(home: &Path) -> Result<bool> {
    let socket = home.join(".s.PGSQL.65535");
    if socket.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
        return Ok(false);
    }
    let parent = home.parent().context("a cluster's directory has one above it")?;
    let mut test = as_database_user(Path::new("/usr/bin/test"));
    Ok(command::run(test.arg("-x").arg(parent), ASK)?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_of_another_project_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        let dir = project.of(Service::Postgres);
        fs::create_dir_all(&dir).unwrap();
        let own = dir.join("cluster");
        let elsewhere = Path::new("/tmp").join(project.key()).join("postgres");
        for (location, expected) in [
            ("", own.as_path()),
            (elsewhere.to_str().unwrap(), &elsewhere),
            ("/tmp/webmon-0-0123456789ab/postgres", &own),
        ] {
            fs::write(dir.join("location"), location).unwrap();
            assert_eq!(of(&project, Service::Postgres).path(), expected);
        }
    }

    #[test]
    fn a_directory_whose_socket_has_too_long_a_path_does_not_fit() {
        assert!(!fits(&Path::new("/tmp").join("x".repeat(100))).unwrap());
        assert!(!is_own_dir(Path::new("/no/such/directory")));
    }
}
