//! Commands that end by themselves. Each is a process group of its own: a Ctrl-C on the terminal does not reach it,
//! and one signal reaches all that it has started, as Cargo's compilers, which outlive Cargo.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{interrupt, process};

/// How long a command that shall end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A command at work; dropped it is killed with all that it has started.
pub struct Group {
    child: Child,
    name: String,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts it, with nothing on its standard input.
    pub fn start(command: &mut Command) -> Result<Group> {
        Group::start_with(command, Stdio::null())
    }

    fn start_with(command: &mut Command, input: Stdio) -> Result<Group> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(input).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Group { child, name, status: None })
    }

    /// How it has ended, once it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.status)
    }

    /// Waits for its end. After `limit`, or when a signal interrupts us, it gets `grace` to end.
    pub fn wait(mut self, limit: Duration, grace: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Err(interrupted) = interrupt::check() {
                self.end(grace);
                return Err(interrupted.into());
            }
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.end(grace);
                bail!("{} took longer than {} s", self.name, limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it, and all that it has started.
    pub fn end(&mut self, grace: Duration) {
        self.ask_to_end();
        let _shield = interrupt::shield();
        let _ = interrupt::wait_until(grace, || self.is_gone());
        self.kill();
    }

    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// It has ended; as nobody has waited for it, its number is still its own.
    pub fn is_gone(&self) -> bool {
        self.status.is_some() || process::start_time(self.child.id().cast_signed()).is_none()
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
    }

    fn signal(&self, signal: Signal) {
        if let (None, Some(group)) = (self.status, Pid::from_raw(self.child.id().cast_signed())) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill();
        }
    }
}

/// Runs a command to its end, which must come within `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    Group::start(command)?.wait(limit, GRACE)
}

/// As [`run`]; whether it was successful, and what it has said on stdout and stderr. Into a file, not a pipe, which a
/// daemon that it has started would hold open.
pub fn output(command: &mut Command, limit: Duration) -> Result<(bool, String)> {
    let mut said = temporary()?;
    let status = run(command.stdout(said.try_clone()?).stderr(said.try_clone()?), limit)?;
    Ok((status.success(), read(&mut said)?))
}

/// What a command has said on stdout; an error when it was not successful.
pub fn stdout(command: &mut Command, limit: Duration) -> Result<String> {
    stdout_with_input(command, "", limit)
}

/// As [`stdout`], with `text` on its standard input.
pub fn stdout_with_input(command: &mut Command, text: &str, limit: Duration) -> Result<String> {
    let mut input = temporary()?;
    input.write_all(text.as_bytes())?;
    input.rewind()?;
    let (status, said) = status_and_stdout(command, input.into(), limit)?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(said)
}

/// How a command has ended, and what it has said on stdout.
pub fn status_and_stdout(
    command: &mut Command,
    input: Stdio,
    limit: Duration,
) -> Result<(ExitStatus, String)> {
    let mut said = temporary()?;
    let status = Group::start_with(command.stdout(said.try_clone()?), input)?.wait(limit, GRACE)?;
    Ok((status, read(&mut said)?))
}

/// Without a name, so that nothing is left of it.
fn temporary() -> Result<File> {
    tempfile::tempfile().context("cannot make a temporary file")
}

fn read(file: &mut File) -> Result<String> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The exit status as a shell has it: 128 and the signal's number after a signal.
pub fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
