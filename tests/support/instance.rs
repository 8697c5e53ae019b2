//! Brokers or a server of a test's own, which it may kill.

use std::path::Path;
use std::process::Command;

use super::{Signal, service, signal as send, unique, wait_until};

/// The brokers of a cluster, as dev/services calls them.
pub const BROKERS: [&str; 3] = ["broker1", "broker2", "broker3"];

/// PostgreSQL beside the default one, as dev/services calls it.
const VERSIONS: [&str; 4] = ["postgres14", "postgres16", "postgres17", "postgres18"];

/// Services with data and ports of their own; removed in the end.
pub struct Instance {
    services: Vec<&'static str>,
    name: String,
    /// What the environment variable asked for says of it.
    pub address: String,
}

impl Instance {
    /// `kafka`, `kafka39` or a PostgreSQL; `variable` names the address among what dev/services says of it.
    pub fn start(service_name: &'static str, variable: &str) -> Option<Instance> {
        // Without services at all there is nothing to try.
        service(variable)?;
        Some(Instance::of(&[service_name], variable))
    }

    /// A PostgreSQL of the version that the tests run on.
    pub fn postgres() -> Option<Instance> {
        let shared = service("WEBMON_TEST_POSTGRES")?;
        let variable = |version: &str| format!("WEBMON_TEST_{}", version.to_uppercase());
        let of_version =
            |version: &&str| std::env::var(variable(version)).is_ok_and(|address| address == shared);
        let version = VERSIONS.into_iter().find(of_version).unwrap_or("postgres");
        Some(Instance::of(&[version], &variable(version)))
    }

    /// A Kafka of three brokers; its `address` names all of them.
    pub fn cluster() -> Option<Instance> {
        service("WEBMON_TEST_KAFKA")?;
        Some(Instance::of(&BROKERS, "WEBMON_TEST_BROKERS"))
    }

    fn of(services: &[&'static str], variable: &str) -> Instance {
        let name = unique("own").replace('_', "-");
        let mut instance = Instance { services: services.to_vec(), name, address: String::new() };
        instance.up();
        let env = std::fs::read_to_string(instance.path("env")).unwrap();
        let address = env.lines().find_map(|line| line.strip_prefix(&format!("export {variable}="))).unwrap();
        instance.address = address.trim_matches('\'').to_owned();
        instance
    }

    /// A file of its own.
    fn path(&self, file: &str) -> String {
        format!("{}/.dev/instances/{}/{file}", env!("CARGO_MANIFEST_DIR"), self.name)
    }

    /// Starts what of it does not run.
    pub fn up(&self) {
        self.run(&[&["up"], &self.services[..]].concat());
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&self) {
        self.kill_only(&self.services);
    }

    /// Ends some of its services at once, with SIGKILL.
    pub fn kill_only(&self, services: &[&str]) {
        self.run(&[&["down", "--kill"], services].concat());
    }

    pub fn kill_and_restart(&self) {
        self.run(&[&["restart", "--kill"], &self.services[..]].concat());
    }

    /// Sends a signal to the process of one of its brokers.
    pub fn signal(&self, broker: &str, signal: Signal) {
        send(self.pid(broker).unwrap(), signal).unwrap();
    }

    fn pid(&self, broker: &str) -> Option<i32> {
        let file = std::fs::read_to_string(self.path(&format!("{broker}/pid"))).ok()?;
        file.split(' ').next()?.parse().ok()
    }

    /// What `pg_ctl -m immediate` does to PostgreSQL (its manual, "pg_ctl": it sends SIGQUIT), and starts it again.
    pub fn stop_immediately_and_restart(&self) {
        let mut client = postgres::Client::connect(&self.address, postgres::NoTls).unwrap();
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        // Its parent: the second field behind the name in brackets (proc(5)).
        let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
        let pid = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
        send(pid.parse().unwrap(), Signal::QUIT).unwrap();
        wait_until("PostgreSQL has stopped", || !Path::new("/proc").join(pid).exists());
        self.up();
    }

    fn run(&self, arguments: &[&str]) {
        let log = tempfile::NamedTempFile::new().unwrap();
        let status = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dev/services"))
            .args(arguments)
            .args(["--instance", &self.name])
            .stdout(log.reopen().unwrap())
            .stderr(log.reopen().unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "{}", std::fs::read_to_string(log.path()).unwrap());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.run(&["down", "--remove"]);
    }
}
