//! The programs that a run has started and not yet ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use webmon_dev::interrupt::wait_until;
use webmon_dev::process::{self, PidFile};
use webmon_dev::{command, file, say};

use crate::Exit;

struct Program {
    name: &'static str,
    child: Child,
    pid_file: PidFile,
}

pub(crate) struct Programs {
    dir: PathBuf,
    started: Vec<Program>,
}

impl Programs {
    pub(crate) fn new(dir: &Path) -> Programs {
        Programs { dir: dir.to_owned(), started: Vec::new() }
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Starts one, with a log and a pid file of its name. Should we be killed, the kernel ends it.
    pub(crate) fn start(&mut self, name: &'static str, program: &Command) -> Result<()> {
        let log = self.log(name);
        file::keep_one_old_log(&log)?;
        let mut with_us = Command::new("setpriv");
        with_us.args(["--pdeathsig", "TERM"]).arg(program.get_program()).args(program.get_args());
        for (variable, value) in program.get_envs() {
            match value {
                Some(value) => with_us.env(variable, value),
                None => with_us.env_remove(variable),
            };
        }
        let pid_file = PidFile::at(self.dir.join(format!("{name}.pid")));
        let child = process::start_daemon(&pid_file, &log, &with_us)?;
        self.started.push(Program { name, child, pid_file });
        Ok(())
    }

    /// The last `count` lines of a program's log that begin with `mark`, without it.
    pub(crate) fn last_lines(&self, name: &str, mark: &str, count: usize) -> Vec<String> {
        let text = std::fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(mark)).collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    pub(crate) fn is_started(&self, name: &str) -> bool {
        self.started.iter().any(|program| program.name == name)
    }

    pub(crate) fn is_alive(&mut self, name: &str) -> Result<bool> {
        match self.started.iter_mut().find(|program| program.name == name) {
            Some(program) => Ok(program.child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Waits for its line `ready`.
    pub(crate) fn wait_ready(&mut self, name: &'static str, limit: Duration) -> Result<()> {
        let log = self.log(name);
        let is_ready = || {
            let text = std::fs::read(&log).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("ready"))
        };
        wait_until(limit, || is_ready() || !self.is_alive(name).unwrap_or(false))?;
        if self.ended_by_itself()?.is_some() {
            return Err(Exit(1).into());
        }
        if !is_ready() {
            bail!("{name} didn't get ready within {}s", limit.as_secs());
        }
        Ok(())
    }

    /// One that has ended by itself, having told of it.
    pub(crate) fn ended_by_itself(&mut self) -> Result<Option<&'static str>> {
        for index in 0..self.started.len() {
            let program = &mut self.started[index];
            let name = program.name;
            if let Some(status) = program.child.try_wait()? {
                self.forget(index)?;
                say::show_log(&self.log(name));
                say!("{name} ended by itself, with exit status {}", command::code(status));
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Kills all: an impatient Ctrl-C.
    pub(crate) fn kill_all(&mut self) {
        for mut program in self.started.drain(..) {
            let _ = program.child.kill();
            let _ = program.child.wait();
            let _ = program.pid_file.remove();
        }
    }

    /// Ends one with TERM, and after `grace` with KILL; false when its end wasn't a good one, having told of it.
    pub(crate) fn end(&mut self, name: &'static str, grace: Duration) -> Result<bool> {
        let Some(index) = self.started.iter().position(|program| program.name == name) else {
            return Ok(true);
        };
        let pid = self.started[index].child.id().cast_signed();
        process::signal(pid, Signal::TERM);
        let status = match self.ended_within(index, grace)? {
            Some(status) => status,
            None => {
                say!("process {pid} didn't end in {}s, killing it", grace.as_secs());
                process::signal(pid, Signal::KILL);
                let killed = self.ended_within(index, process::KILLED)?;
                killed.with_context(|| format!("{name}, process {pid}, can't be killed"))?
            }
        };
        self.forget(index)?;
        if !status.success() {
            say::show_log(&self.log(name));
            say!("{name} ended with exit status {}", command::code(status));
        }
        Ok(status.success())
    }

    fn ended_within(&mut self, index: usize, limit: Duration) -> Result<Option<ExitStatus>> {
        let mut ended = Ok(None);
        wait_until(limit, || {
            ended = self.started[index].child.try_wait();
            !matches!(ended, Ok(None))
        })?;
        Ok(ended?)
    }

    fn forget(&mut self, index: usize) -> Result<()> {
        self.started.swap_remove(index).pid_file.remove()
    }
}
