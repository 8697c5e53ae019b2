//! Brokers or a server of a test's own, which it may kill.

use std::path::Path;

pub use webmon_dev::Service;
pub use webmon_dev::service::BROKERS;
use webmon_dev::service::POSTGRES_MAJORS;

use super::{Signal, service, signal as send, unique, wait_until};

/// Services with data and ports of their own; removed in the end.
pub struct Instance {
    services: Vec<Service>,
    own: webmon_dev::Instance,
    /// What the environment variable asked for says of it.
    pub address: String,
}

impl Instance {
    /// A Kafka or a PostgreSQL; `variable` names the address among what dev/services says of it.
    pub fn start(server: Service, variable: &str) -> Option<Instance> {
        // Without services at all there is nothing to try.
        service(variable)?;
        Some(Instance::of(&[server], variable))
    }

    /// A PostgreSQL of the version that the tests run on.
    pub fn postgres() -> Option<Instance> {
        let shared = service("WEBMON_TEST_POSTGRES")?;
        let is_on = |variable: &str| std::env::var(variable).is_ok_and(|address| address == shared);
        let version =
            POSTGRES_MAJORS.into_iter().find(|major| is_on(&format!("WEBMON_TEST_POSTGRES{major}")));
        Some(match version {
            Some(major) => {
                Instance::of(&[Service::PostgresOf(major)], &format!("WEBMON_TEST_POSTGRES{major}"))
            }
            None => Instance::of(&[Service::Postgres], "WEBMON_TEST_POSTGRES"),
        })
    }

    /// A Kafka of three brokers; its `address` names all of them.
    pub fn cluster() -> Option<Instance> {
        service("WEBMON_TEST_KAFKA")?;
        Some(Instance::of(&BROKERS, "WEBMON_TEST_BROKERS"))
    }

    fn of(services: &[Service], variable: &str) -> Instance {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = webmon_dev::Instance::start(root, &unique("own").replace('_', "-"), services).unwrap();
        let address = own.address(variable).unwrap();
        Instance { services: services.to_vec(), own, address }
    }

    /// Starts what of it does not run.
    pub fn up(&self) {
        self.own.up(&self.services).unwrap();
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&self) {
        self.kill_only(&self.services);
    }

    /// Ends some of its services at once, with SIGKILL.
    pub fn kill_only(&self, services: &[Service]) {
        self.own.kill(services).unwrap();
    }

    pub fn kill_and_restart(&self) {
        self.own.kill_and_restart(&self.services).unwrap();
    }

    /// Sends a signal to the process of one of its brokers.
    pub fn signal(&self, broker: Service, signal: Signal) {
        send(self.own.pid(broker).unwrap(), signal).unwrap();
    }

    /// What `pg_ctl -m immediate` does to PostgreSQL (its manual, "pg_ctl": it sends SIGQUIT), and starts it again.
    pub fn stop_immediately_and_restart(&self) {
        let mut client = postgres::Client::connect(&self.address, postgres::NoTls).unwrap();
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        // Its parent: the second field behind the name in brackets (proc(5)).
        let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
        let pid = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
        send(pid.parse().unwrap(), Signal::QUIT).unwrap();
        // Whoever takes in orphans may leave it a zombie for a while.
        let stat = Path::new("/proc").join(pid).join("stat");
        wait_until("PostgreSQL has stopped", || {
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
        });
        self.up();
    }
}
