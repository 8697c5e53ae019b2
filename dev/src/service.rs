//! The services by their names, and what all of them can.

use std::path::PathBuf;

use anyhow::Result;

use crate::kafka::Kafka;
use crate::postgres::Postgres;
use crate::project::Project;

/// A server of Kafka or PostgreSQL, in the order in which they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Kafka,
    /// A Kafka of the last version to speak the first versions of the protocol, all that kafka-rust knows.
    Kafka39,
    /// One of the brokers of the cluster, from 1.
    Broker(u8),
    /// Debian's.
    Postgres,
    /// Another version, by its major number.
    PostgresOf(u8),
}

/// The brokers of the cluster.
pub const BROKERS: [Service; 3] = [Service::Broker(1), Service::Broker(2), Service::Broker(3)];

/// PostgreSQL beside Debian's.
pub const POSTGRES_MAJORS: [u8; 4] = [14, 16, 17, 18];

impl Service {
    pub fn all() -> Vec<Service> {
        let mut all = vec![Service::Kafka, Service::Kafka39];
        all.extend(BROKERS);
        all.push(Service::Postgres);
        all.extend(POSTGRES_MAJORS.map(Service::PostgresOf));
        all
    }

    pub fn name(self) -> String {
        match self {
            Service::Kafka => "kafka".to_owned(),
            Service::Kafka39 => "kafka39".to_owned(),
            Service::Broker(number) => format!("broker{number}"),
            Service::Postgres => "postgres".to_owned(),
            Service::PostgresOf(major) => format!("postgres{major}"),
        }
    }

    pub fn named(name: &str) -> Option<Service> {
        Service::all().into_iter().find(|service| service.name() == name)
    }

    pub fn is_kafka(self) -> bool {
        !matches!(self, Service::Postgres | Service::PostgresOf(_))
    }

    /// What everything needs: it is started when none is named.
    pub fn is_default(self) -> bool {
        matches!(self, Service::Kafka | Service::Postgres)
    }

    /// The variable of the environment that may name another one to use.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Service::Kafka => Some("WEBMON_KAFKA__BROKERS"),
            Service::Postgres => Some("WEBMON_POSTGRES__URL"),
            _ => None,
        }
    }

    /// Its server in a project.
    pub fn of<'a>(self, project: &'a Project) -> Box<dyn Server + 'a> {
        if self.is_kafka() {
            Box::new(Kafka::of(project, self))
        } else {
            Box::new(Postgres::of(project, self))
        }
    }
}

/// A server that may run.
pub trait Server {
    /// Its process.
    fn pid(&self) -> Option<i32>;
    /// It runs and replies to a request.
    fn serves(&self) -> bool;
    /// Gets what it needs before it can be looked at: packages, a place for its data.
    fn prepare(&self) -> Result<()>;
    /// Chooses its ports; on a restart those that it had.
    fn choose_ports(&self, restart: bool) -> Result<()>;
    /// Starts it; it may not serve yet.
    fn start(&self) -> Result<()>;
    /// Waits until it serves.
    fn wait_ready(&self) -> Result<()>;
    /// Ends it, if it runs.
    fn stop(&self) -> Result<()>;
    /// Ends all its processes with SIGKILL, as a crash of the machine would.
    fn kill(&self) -> Result<()>;
    /// Removes its data.
    fn wipe(&self) -> Result<()>;
    /// Removes what of it is outside of the project.
    fn remove(&self) -> Result<()>;
    /// The file of its configuration, and what it should be.
    fn configuration(&self) -> Result<(PathBuf, String)>;
    fn log(&self) -> PathBuf;
    /// Its port, while it has one.
    fn port(&self) -> Option<u16>;
    /// Its lines of the file of addresses; none when it does not run.
    fn env(&self) -> String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_name() {
        let all = Service::all();
        assert!(all.is_sorted());
        assert!(all.iter().all(|&service| Service::named(&service.name()) == Some(service)));
        assert_eq!(Service::named("broker4"), None);
        assert_eq!(Service::named("postgres15"), None);
    }
}
