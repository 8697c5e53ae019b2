//! Daemons and their pid files.
//!
//! A pid file holds `PID STARTTIME` and its own path. The kernel gives pids to new processes after a while, so a pid
//! alone might name a stranger; and a project directory copied with its `.dev` must not think that it owns the
//! original's daemons.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::interrupt::{Interrupted, wait_until};
use crate::{file, say};

/// How long a process may take to vanish after a SIGKILL.
pub const KILLED: Duration = Duration::from_secs(10);

/// When a process was started, in clock ticks since boot; none when it is gone or a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// See proc(5): the second field is the program's name, which may hold spaces and `)`; the third is the state, the
/// 22nd the start.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Takes note of the end of a process when it was ours, so that no zombie stays.
pub fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Which process of ours runs, if it does.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    pub fn at(path: impl Into<PathBuf>) -> PidFile {
        PidFile { path: path.into() }
    }

    /// Notes down a process that has been started.
    pub fn write(&self, pid: i32) -> Result<()> {
        let start = start_time(pid).with_context(|| format!("process {pid} has ended"))?;
        file::write(&self.path, &format!("{pid} {start}\n{}\n", self.path.display()), 0o644)
    }

    /// The process that we started, when it still runs.
    pub fn live(&self) -> Option<i32> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let (process, path) = text.trim_end_matches('\n').split_once('\n')?;
        let (pid, start) = process.split_once(' ')?;
        let pid = pid.parse().ok().filter(|&pid| pid > 0)?;
        (Path::new(path) == self.path && start_time(pid) == Some(start.parse().ok()?)).then_some(pid)
    }

    pub fn remove(&self) -> Result<()> {
        file::remove(&self.path)
    }

    /// Ends it with TERM, and after `grace` with KILL; an error when even that did not help.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        if let Some(pid) = self.live() {
            signal(pid, Signal::TERM);
            if !self.gone_within(grace)? {
                say!("process {pid} didn't end in {}s, killing it", grace.as_secs());
                return self.kill();
            }
            reap(pid);
        }
        self.remove()
    }

    pub fn kill(&self) -> Result<()> {
        if let Some(pid) = self.live() {
            signal(pid, Signal::KILL);
            if !self.gone_within(KILLED)? {
                bail!("process {pid} can't be killed");
            }
            reap(pid);
        }
        self.remove()
    }

    fn gone_within(&self, limit: Duration) -> Result<bool, Interrupted> {
        wait_until(limit, || self.live().is_none())
    }
}

/// Starts a program in the background, in a session of its own, without our terminal, appending to `log`.
pub fn start_daemon(pid_file: &PidFile, log: &Path, program: &Command) -> Result<Child> {
    let name = program.get_program();
    // setsid forks, and so changes the pid, only for a process group's leader, which our child is not.
    let mut command = Command::new("setsid");
    command.arg(name).args(program.get_args());
    for (variable, value) in program.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    let output = File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", name.display()))?;
    if let Err(error) = pid_file.write(child.id().cast_signed()) {
        let _ = child.kill();
        let _ = child.wait();
        say::show_log(log);
        return Err(error.context(format!("{} ended at once", name.display())));
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_neither_state_nor_start() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("12 (a) Z (b)) S {rest}")), Some(4711));
        assert_eq!(parse_stat(&format!("12 (sleep) Z {rest}")), None);
        assert_eq!(parse_stat("12 (sleep"), None);
    }

    #[test]
    fn a_daemon_is_known_by_start_and_path_and_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path().join("pid"), directory.path().join("log"));
        let file = PidFile::at(&path);
        let mut child = start_daemon(&file, &log, Command::new("sleep").arg("600")).unwrap();
        let pid = file.live().unwrap();
        assert_eq!(pid, child.id().cast_signed());

        // A copied directory, and a pid that another process has by now.
        std::fs::copy(&path, directory.path().join("copy")).unwrap();
        assert_eq!(PidFile::at(directory.path().join("copy")).live(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(&format!("{pid} "), &format!("{pid} 1"), 1)).unwrap();
        assert_eq!(file.live(), None);
        std::fs::write(&path, text).unwrap();

        file.stop(Duration::from_secs(20)).unwrap();
        assert!(!path.exists());
        assert!(child.try_wait().is_err(), "it was waited for already");
    }

    #[test]
    fn a_program_that_ignores_term_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, log) = (PidFile::at(directory.path().join("pid")), directory.path().join("log"));
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        let mut child = start_daemon(&file, &log, &command).unwrap();
        assert!(wait_until(Duration::from_secs(20), || file::first_line(&log) == "ready").unwrap());
        file.stop(Duration::from_millis(200)).unwrap();
        assert_eq!(file.live(), None);
        assert!(child.wait().is_err(), "it was waited for already");
    }
}
