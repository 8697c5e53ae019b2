//! A cluster: made, started, stopped, killed.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::home::Home;
use super::{answer, as_database_user, config};
use crate::interrupt::{self, wait_until};
use crate::{command, file, packages, process, say};

const INITDB: Duration = Duration::from_secs(120);
/// What pg_ctl waits for itself, and a little more.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
const SPARE: Duration = Duration::from_secs(15);
/// How long a killed server's processes may take to notice.
const LEFTOVERS: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(20);

impl Home {
    /// The server that runs in it. The server works in its data directory; a stale `postmaster.pid` names no such
    /// process.
    pub(super) fn pid(&self) -> Option<i32> {
        let data = self.data();
        let pid = file::first_line(&data.join("postmaster.pid")).trim().parse().ok()?;
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (cwd == fs::canonicalize(data).ok()?).then_some(pid)
    }

    /// Makes the cluster if there is none, starts it on 127.0.0.1 and waits until it answers. Its superuser is `webmon`.
    /// With certificates it takes TLS as well.
    pub(super) fn start(&self, programs: &Path, port: u16, certificates: Option<&Path>) -> Result<()> {
        self.make_dir()?;
        self.init(programs)?;
        let programs = self.programs_of_version(programs)?;
        self.clear_killed()?;
        file::keep_one_old_log(&self.log())?;
        if let Some(certificates) = certificates {
            self.copy_tls_files(certificates)?;
        }
        let settings = config::settings(self.path(), port, certificates.is_some());
        self.write("webmon.conf", &settings)?;
        let mut start = as_database_user(&programs.join("pg_ctl"));
        start.args(["start", "-w", "-t"]).arg(START.as_secs().to_string());
        start.arg("-D").arg(self.data()).arg("-l").arg(self.log());
        let started = command::output(&mut start, START + SPARE)?.0;
        if started && wait_until(START, || answer::answers(port))? {
            return Ok(());
        }
        say::show_log(&self.log());
        let _shield = interrupt::shield();
        self.stop(&programs)?;
        bail!("PostgreSQL didn't start in {} on port {port}", self.path().display())
    }

    /// Its directory, of the server's user.
    fn make_dir(&self) -> Result<()> {
        let path = self.path();
        if path.is_dir() {
            return Ok(());
        }
        let made = fs::DirBuilder::new().mode(0o755).create(path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        if rustix::process::getuid().is_root() {
            let mut chown = std::process::Command::new("chown");
            let (owned, said) = command::output(chown.args(["postgres:", "--"]).arg(path), SHORT)?;
            if !owned {
                fs::remove_dir(path)?;
                bail!("we are root, and there's no user postgres to run the server as ({})", said.trim());
            }
        }
        Ok(())
    }

    /// initdb works in another directory first: interrupted, it leaves nothing that could be taken for a cluster.
    fn init(&self, programs: &Path) -> Result<()> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        let new = self.path().join("data.new");
        file::remove(&self.data())?;
        file::remove(&new)?;
        let mut initdb = as_database_user(&programs.join("initdb"));
        initdb.arg("-D").arg(&new).args([
            "-U",
            "webmon",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]);
        let (made, said) = command::output(&mut initdb, INITDB)?;
        if !made {
            say::text(&said);
            bail!("initdb failed in {}", self.path().display());
        }
        let mut include = as_database_user(Path::new("/bin/sh"));
        include.args(["-c", "echo \"include 'webmon.conf'\" >>\"$1/postgresql.conf\"", "sh"]).arg(&new);
        if !command::run(&mut include, SHORT)?.success() {
            bail!("postgresql.conf can't be written in {}", new.display());
        }
        fs::rename(&new, self.data()).with_context(|| format!("cannot make {}", self.data().display()))
    }

    /// A cluster is bound to its major version; the newest installed may be another.
    fn programs_of_version(&self, programs: &Path) -> Result<PathBuf> {
        let version = file::first_line(&self.data().join("PG_VERSION"));
        let debian = Path::new("/usr/lib/postgresql").join(&version).join("bin");
        let mut ask = std::process::Command::new(programs.join("postgres"));
        if command::output(ask.arg("--version"), SHORT)?.1.contains(&format!(" {version}.")) {
            return Ok(programs.to_owned());
        }
        if packages::is_program(&debian.join("postgres")) {
            return Ok(debian);
        }
        bail!(
            "the cluster in {} is of PostgreSQL {version}, which isn't installed; remove the cluster to start with an \
             empty one",
            self.path().display()
        )
    }

    /// A server that was killed leaves lock files with its pid, and for a while processes that have not noticed. The next
    /// one refuses to start while there's a process of that pid, even one that has nothing to do with it; so we remove
    /// the files ourselves, once nothing is at work in the data.
    fn clear_killed(&self) -> Result<()> {
        let pids = self.pids();
        if !pids.is_empty() {
            say!("ending what a killed PostgreSQL left in {}", self.path().display());
            pids.iter().for_each(|&pid| process::signal(pid, Signal::TERM));
            if !wait_until(LEFTOVERS, || self.pids().is_empty())? {
                bail!("these processes still work in {}: {pids:?}", self.data().display());
            }
        }
        file::remove(&self.data().join("postmaster.pid"))?;
        for entry in fs::read_dir(self.path())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".s.PGSQL.") {
                file::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// All processes that work in the cluster's data directory, as each of a server's does.
    fn pids(&self) -> Vec<i32> {
        let Ok(data) = fs::canonicalize(self.data()) else { return Vec::new() };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)).collect()
    }

    /// The server reads them as its own user, and no key that others could read.
    fn copy_tls_files(&self, certificates: &Path) -> Result<()> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        for (from, to) in [("ca.pem", "ca.pem"), ("server.pem", "server.pem"), ("server.key", "server.key")] {
            self.write(&format!("webmon-{to}"), &read(certificates.join(from))?)?;
        }
        let hba = read(self.data().join("pg_hba.conf"))?;
        self.write("webmon_hba.conf", &(config::TLS_USERS.to_owned() + &hba))?;
        let ident = read(self.data().join("pg_ident.conf"))?;
        self.write("webmon_ident.conf", &(config::TLS_NAMES.to_owned() + &ident))
    }

    /// Writes a file of the data directory, of the server's user and closed to others.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.data().join(name);
        let mut cat = as_database_user(Path::new("/bin/sh"));
        cat.args(["-c", "umask 077 && exec cat >\"$1\"", "sh"]).arg(&path);
        command::stdout_with_input(&mut cat, text, SHORT)
            .with_context(|| format!("{} can't be written", path.display()))?;
        Ok(())
    }

    /// Disconnects the clients and stops.
    pub(super) fn stop(&self, programs: &Path) -> Result<()> {
        for mode in ["fast", "immediate"] {
            if self.pid().is_none() {
                return Ok(());
            }
            let mut stop = as_database_user(&programs.join("pg_ctl"));
            stop.args(["stop", "-w", "-m", mode, "-t"])
                .arg(STOP.as_secs().to_string())
                .arg("-D")
                .arg(self.data());
            command::output(&mut stop, STOP + SPARE)?;
            if self.pid().is_some() {
                say!("PostgreSQL in {} didn't stop ({mode} mode)", self.path().display());
            }
        }
        if self.pid().is_some() {
            bail!("PostgreSQL in {} can't be stopped", self.path().display())
        } else {
            Ok(())
        }
    }

    /// Ends all its processes at once.
    pub(super) fn kill(&self) -> Result<()> {
        self.pids().iter().for_each(|&pid| process::signal(pid, Signal::KILL));
        if !wait_until(process::KILLED, || self.pids().is_empty())? {
            bail!("PostgreSQL in {} can't be killed", self.path().display());
        }
        Ok(())
    }
}
