//! A broker or a server of a test's own, which it may kill.

use std::process::Command;

use super::{service, unique};

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
