//! dev/fresh: does the project work for somebody new?

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use webmon_dev::command::{self, Group};
use webmon_dev::{Project, file, interrupt, packages, say};

use crate::args;

const SUITE: &str = "bookworm";
/// Making a Debian, and what is run in it, has long been done by then.
const MAKE: Duration = Duration::from_secs(1800);
const RUN: Duration = Duration::from_secs(4 * 3600);
const GRACE: Duration = Duration::from_secs(90);
const ASK: Duration = Duration::from_secs(120);
const PATH: &str = "PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn main(project: &Project, arguments: Vec<String>) -> Result<u8> {
    let command = in_the_clone(arguments);
    let line = command.join(" ");
    if !rustix::process::getuid().is_root() {
        bail!("only root can make a Debian with mounts of its own");
    }
    packages::need(project.root(), "debootstrap", "debootstrap")?;
    let began = Instant::now();
    say!("making a bare Debian 12 ({SUITE}) ...");
    let dir = project.shared().join("fresh");
    file::make_dir(&dir.join("packages"))?;
    let tree = Tree(tempfile::Builder::new().prefix("tree.").tempdir_in(&dir)?.keep());
    make(project.root(), &dir, &tree.0)?;
    say!("it took {} s; now {line}", began.elapsed().as_secs());
    let began = Instant::now();
    let status = Group::start(&mut enter(project.root(), &tree.0, &command)?)?.wait(RUN, GRACE)?;
    let code = command::code(status);
    say!("{line}: exit status {code}, after {} s", began.elapsed().as_secs());
    Ok(u8::try_from(code).unwrap_or(1))
}

/// What is run in the clone.
fn in_the_clone(mut arguments: Vec<String>) -> Vec<String> {
    let what = if arguments.is_empty() { "test".to_owned() } else { arguments.remove(0) };
    let words: &[&str] = match what.as_str() {
        "run" if arguments.is_empty() => &["./dev/run", "--seconds", "60"],
        "run" => &["./dev/run"],
        "test" => &["env", "CI=true", "./dev/test"],
        _ => args::usage_error("fresh", &format!("run or test, not {what}")),
    };
    words.iter().map(|&word| word.to_owned()).chain(arguments).collect()
}

/// A Debian with the project's clone in /root/webmon.
fn make(root: &Path, dir: &Path, tree: &Path) -> Result<()> {
    fs::set_permissions(tree, Permissions::from_mode(0o755))?;
    let log = dir.join("debootstrap.log");
    let output = File::create(&log)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--include=ca-certificates,git"]);
    debootstrap.arg(format!("--cache-dir={}", dir.join("packages").display())).arg(SUITE).arg(tree);
    let status = Group::start(debootstrap.stdout(output.try_clone()?).stderr(output))?.wait(MAKE, GRACE)?;
    if !status.success() {
        say::show_log(&log);
        bail!("debootstrap failed");
    }
    fs::copy("/etc/resolv.conf", tree.join("etc/resolv.conf"))?;
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    let authorities = tree.join("usr/local/share");
    ask(Command::new("cp").args(["-r", "--", "/usr/local/share/ca-certificates"]).arg(authorities))?;
    file::make_dir(&tree.join("opt/rust"))?;
    file::make_dir(&tree.join("old"))?;
    let clone = tree.join("root/webmon");
    ask(Command::new("git").args(["clone", "--quiet", "--no-hardlinks", "--"]).arg(root).arg(clone))?;
    Ok(())
}

/// The command in the Debian, with nothing of this machine's environment.
fn enter(root: &Path, tree: &Path, command: &[String]) -> Result<Command> {
    let toolchain = ask(Command::new("rustc").args(["--print", "sysroot"]))?;
    let mut enter = Command::new("unshare");
    enter.args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]);
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    enter.args(["env", "-i", "HOME=/root", &format!("TERM={term}"), "LANG=C.UTF-8", PATH, "bash"]);
    enter.arg(root.join("dev/enter")).arg(tree).arg(toolchain.trim()).args(command);
    Ok(enter)
}

fn ask(command: &mut Command) -> Result<String> {
    command::stdout(command, ASK)
}

/// Removed in the end; the mounts are gone with the last process.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _shield = interrupt::shield();
        let mut rm = Command::new("rm");
        rm.args(["-rf", "--one-file-system", "--"]).arg(&self.0);
        if let Err(error) = command::run(&mut rm, MAKE) {
            say!("error: {error:#}");
        }
    }
}
