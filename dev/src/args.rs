//! The command line. The texts of `--help` are files of dev/help, which the scripts can print without this program.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use webmon_dev::service::{BROKERS, POSTGRES_MAJORS};
use webmon_dev::services::{self, Up};
use webmon_dev::{Project, Service};

#[derive(Parser)]
#[command(name = "dev")]
pub(crate) struct Args {
    /// The project's directory
    pub(crate) root: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(override_help = include_str!("../help/services.txt"), override_usage = "dev/services up|down|restart|status [OPTION]... [SERVICE]...")]
    Services(Services),
    #[command(override_help = include_str!("../help/certificates.txt"), override_usage = "dev/certificates")]
    Certificates,
    #[command(override_help = include_str!("../help/run.txt"), override_usage = "dev/run [--seconds N] [--config FILE] [--kafka] [--no-history]")]
    Run(Run),
    #[command(override_help = include_str!("../help/test.txt"), override_usage = "dev/test [--postgres VERSION|all] [ARGUMENT...]")]
    Test { arguments: Vec<String> },
    #[command(override_help = include_str!("../help/faults.txt"), override_usage = "dev/faults [NAME]...")]
    Faults { names: Vec<String> },
    #[command(override_help = include_str!("../help/fresh.txt"), override_usage = "dev/fresh [run|test] [ARGUMENT...]")]
    Fresh { arguments: Vec<String> },
}

impl Command {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Services(_) => "services",
            Command::Certificates => "certificates",
            Command::Run(_) => "run",
            Command::Test { .. } => "test",
            Command::Faults { .. } => "faults",
            Command::Fresh { .. } => "fresh",
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Verb {
    Up,
    Down,
    Restart,
    Status,
}

#[derive(clap::Args)]
pub(crate) struct Services {
    #[arg(value_name = "COMMAND")]
    pub(crate) verb: Verb,
    #[arg(value_parser = service)]
    services: Vec<Service>,
    #[arg(long)]
    fresh: bool,
    #[arg(long)]
    temporary: bool,
    #[arg(long)]
    kafka39: bool,
    #[arg(long, value_parser = cluster)]
    brokers: Option<usize>,
    #[arg(long, value_parser = majors)]
    postgres: Vec<Majors>,
    #[arg(long)]
    pub(crate) kill: bool,
    #[arg(long)]
    pub(crate) remove: bool,
    #[arg(long, value_parser = instance)]
    instance: Option<String>,
}

impl Services {
    pub(crate) fn project(&self, project: &Project) -> Project {
        match &self.instance {
            Some(name) => project.instance(name),
            None => Project::at(project.root()),
        }
    }

    pub(crate) fn up(&self) -> Up {
        Up { fresh: self.fresh, temporary: self.temporary }
    }

    /// All that are named, each once, in the order of their start; ends the program when that makes no sense.
    pub(crate) fn wanted(&self, project: &Project) -> Vec<Service> {
        if let Some(fault) = self.fault() {
            usage_error("services", fault);
        }
        let mut wanted = self.services.clone();
        match self.verb {
            Verb::Up if wanted.is_empty() => wanted.extend([Service::Kafka, Service::Postgres]),
            Verb::Down if wanted.is_empty() => wanted = services::started(project),
            _ => {}
        }
        wanted.extend(self.more());
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// Those that options add.
    fn more(&self) -> Vec<Service> {
        let mut more: Vec<Service> = self.kafka39.then_some(Service::Kafka39).into_iter().collect();
        if self.brokers.is_some() {
            more.extend(BROKERS);
        }
        more.extend(
            self.postgres.iter().flat_map(|majors| &majors.0).map(|&major| Service::PostgresOf(major)),
        );
        more
    }

    fn fault(&self) -> Option<&'static str> {
        let (verb, named) = (self.verb, !self.services.is_empty());
        let ends = verb == Verb::Down || verb == Verb::Restart;
        let faults = [
            (self.fresh && verb != Verb::Up, "--fresh is for up"),
            (self.temporary && verb != Verb::Up, "--temporary is for up"),
            (self.kill && !ends, "--kill is for down and restart"),
            (!named && verb == Verb::Restart, "restart which service?"),
            (
                self.remove && (verb != Verb::Down || self.instance.is_none() || named),
                "--remove is for down with an instance, and without a service",
            ),
            (!self.more().is_empty() && verb != Verb::Up, "--kafka39, --brokers and --postgres are for up"),
            (named && verb == Verb::Status, "status takes no service"),
        ];
        faults.into_iter().find_map(|(is_so, fault)| is_so.then_some(fault))
    }
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// Nine digits: more than anybody waits for, and no overflow.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=999_999_999))]
    pub(crate) seconds: Option<u32>,
    #[arg(long, value_parser = readable)]
    pub(crate) config: Option<PathBuf>,
    #[arg(long)]
    pub(crate) kafka: bool,
    #[arg(long)]
    pub(crate) no_history: bool,
}

/// Major versions of PostgreSQL.
#[derive(Clone)]
pub(crate) struct Majors(pub(crate) Vec<u8>);

/// One, or all.
pub(crate) fn majors(value: &str) -> Result<Majors, String> {
    if value == "all" {
        return Ok(Majors(POSTGRES_MAJORS.to_vec()));
    }
    let known = value.parse().ok().filter(|major| POSTGRES_MAJORS.contains(major));
    let all = POSTGRES_MAJORS.map(|major| major.to_string()).join(", ");
    known
        .map(|major| Majors(vec![major]))
        .ok_or(format!("it must be {all} or all; Debian's is there without it"))
}

fn cluster(value: &str) -> Result<usize, String> {
    let all = BROKERS.len();
    let is_all = value.parse() == Ok(all);
    is_all.then_some(all).ok_or(format!("it must be {all}: there's a cluster of as many, or kafka alone"))
}

fn service(name: &str) -> Result<Service, String> {
    Service::named(name).ok_or_else(|| {
        let all: Vec<String> = Service::all().into_iter().map(Service::name).collect();
        format!("a service is one of {}", all.join(", "))
    })
}

fn instance(name: &str) -> Result<String, &'static str> {
    let is_name = Project::is_instance_name(name);
    is_name.then(|| name.to_owned()).ok_or("an instance needs a name of letters, digits, and . _ -")
}

fn readable(path: &str) -> Result<PathBuf, &'static str> {
    let is_readable = PathBuf::from(path).is_file() && std::fs::File::open(path).is_ok();
    is_readable.then(|| PathBuf::from(path)).ok_or("there is no file to read")
}

/// Says what is wrong with the arguments of a command, and ends the program.
pub(crate) fn usage_error(command: &str, fault: &str) -> ! {
    let mut args = Args::command();
    let found = args.find_subcommand_mut(command).cloned();
    found.unwrap_or(args).error(ErrorKind::ArgumentConflict, fault).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(line: &str) -> Result<Services, clap::Error> {
        let words = ["dev", "/no/such/project", "services"].into_iter().chain(line.split(' '));
        match Args::try_parse_from(words)?.command {
            Command::Services(services) => Ok(services),
            _ => unreachable!("these are services"),
        }
    }

    fn names(line: &str) -> String {
        let wanted = services(line).unwrap().wanted(&Project::at("/no/such/project"));
        wanted.into_iter().map(Service::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn services_are_started_in_their_order_and_once() {
        assert_eq!(names("up"), "kafka postgres");
        assert_eq!(names("up postgres kafka postgres"), "kafka postgres");
        assert_eq!(names("up --kafka39 --brokers 3"), "kafka kafka39 broker1 broker2 broker3 postgres");
        assert_eq!(
            names("--instance a up --postgres all kafka"),
            "kafka postgres14 postgres16 postgres17 postgres18"
        );
        assert_eq!(names("down"), "kafka postgres");
        assert_eq!(names("down --kill broker2 --instance a"), "broker2");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["", "up kafka40", "up --brokers 2", "up --postgres 15", "up --instance ../a", "up down"]
        {
            assert!(services(line).is_err(), "{line}");
        }
        for line in [
            "down --fresh",
            "restart",
            "status kafka",
            "up --kill",
            "down --remove",
            "down --remove --instance a kafka",
            "restart kafka --kafka39",
        ] {
            assert!(services(line).unwrap().fault().is_some(), "{line}");
        }
    }
}
