//! A broker or a server of a test's own, which it may kill.

use std::path::Path;
use std::process::Command;

use super::{service, unique, wait_until};

/// One service with data and ports of its own; removed in the end.
pub struct Instance {
    service: &'static str,
    name: String,
    /// What the environment variable asked for says of it.
    pub address: String,
}

impl Instance {
    /// `kafka`, `kafka39` or `postgres`; `variable` names the address among what dev/services says of it.
    pub fn start(service_name: &'static str, variable: &str) -> Option<Instance> {
        // Without services at all there is nothing to try.
        service(variable)?;
        let name = unique("own").replace('_', "-");
        let mut instance = Instance { service: service_name, name, address: String::new() };
        instance.up();
        let env = format!("{}/.dev/instances/{}/env", env!("CARGO_MANIFEST_DIR"), instance.name);
        let env = std::fs::read_to_string(env).unwrap();
        let address = env.lines().find_map(|line| line.strip_prefix(&format!("export {variable}="))).unwrap();
        instance.address = address.trim_matches('\'').to_owned();
        Some(instance)
    }

    pub fn up(&self) {
        self.services(&["up", self.service]);
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&self) {
        self.services(&["down", "--kill", self.service]);
    }

    pub fn kill_and_restart(&self) {
        self.services(&["restart", "--kill", self.service]);
    }

    /// What `pg_ctl -m immediate` does to PostgreSQL (its manual, "pg_ctl": it sends SIGQUIT), and starts it again.
    pub fn stop_immediately_and_restart(&self) {
        let mut client = postgres::Client::connect(&self.address, postgres::NoTls).unwrap();
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        // Its parent: the second field behind the name in brackets (proc(5)).
        let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
        let pid = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        assert!(Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
        wait_until("PostgreSQL has stopped", || !Path::new("/proc").join(&pid).exists());
        self.up();
    }

    fn services(&self, arguments: &[&str]) {
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
        self.services(&["down", "--remove"]);
    }
}
