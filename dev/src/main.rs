//! What the scripts in dev/ become.

mod args;
mod cargo;
mod faults;
mod fresh;
mod report;
mod run;
mod test;

use std::process::ExitCode;

use clap::Parser;
use webmon_dev::interrupt::{self, Interrupted};
use webmon_dev::{Project, certificates, say, services, status};

use args::{Args, Command, Services, Verb};

/// An end with this exit status, about which all is said.
#[derive(Debug)]
struct Exit(u8);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl std::error::Error for Exit {}

fn main() -> ExitCode {
    let Args { root, command } = Args::parse();
    say::to_stderr();
    let _speaker = say::speak_as(command.name());
    let result = interrupt::watch().map_err(anyhow::Error::from).and_then(|()| {
        let project = Project::at(root);
        match command {
            Command::Services(arguments) => serve(&project, arguments),
            Command::Certificates => certificates::need(&project).map(|()| 0),
            Command::Run(options) => run::main(&project, options),
            Command::Test { arguments } => test::main(&project, arguments),
            Command::Faults { names } => faults::main(&project, &names),
            Command::Fresh { arguments } => fresh::main(&project, arguments),
        }
    });
    ExitCode::from(result.unwrap_or_else(|error| tell(&error)))
}

/// Says what went wrong; the exit status for it.
fn tell(error: &anyhow::Error) -> u8 {
    if let Some(Interrupted(signal)) = error.downcast_ref() {
        return u8::try_from(128 + signal).unwrap_or(1);
    }
    if let Some(&Exit(code)) = error.downcast_ref() {
        return code;
    }
    say!("error: {error:#}");
    1
}

fn serve(project: &Project, arguments: Services) -> anyhow::Result<u8> {
    let project = &arguments.project(project);
    let wanted = arguments.wanted(project);
    match arguments.verb {
        Verb::Up => services::up(project, &wanted, arguments.up())?,
        Verb::Down if arguments.remove => services::remove(project)?,
        Verb::Down => services::down(project, &wanted, arguments.kill)?,
        Verb::Restart => services::restart(project, &wanted, arguments.kill)?,
        // It changes nothing, takes no lock, and tells how things are while an up goes on.
        Verb::Status => return Ok(if status::print(project) { 0 } else { 3 }),
    }
    Ok(0)
}
