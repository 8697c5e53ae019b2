//! The project's directories, and those of an instance in it.

use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::service::Service;

/// The project, or services in it that are apart from the others.
pub struct Project {
    root: PathBuf,
    instance: Option<String>,
}

impl Project {
    /// `root` without links in it, as all names below it are compared.
    pub fn at(root: impl Into<PathBuf>) -> Project {
        Project { root: root.into(), instance: None }
    }

    /// Everything below `.dev/instances/NAME`, but for the certificates and what Maven has fetched.
    pub fn instance(&self, name: &str) -> Project {
        Project { root: self.root.clone(), instance: Some(name.to_owned()) }
    }

    /// Whether an instance may be called so.
    pub fn is_instance_name(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn instance_name(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// What all instances share.
    pub fn shared(&self) -> PathBuf {
        self.root.join(".dev")
    }

    pub fn instances(&self) -> PathBuf {
        self.shared().join("instances")
    }

    pub fn dir(&self) -> PathBuf {
        match &self.instance {
            Some(name) => self.instances().join(name),
            None => self.shared(),
        }
    }

    /// A service's directory. It holds
    ///
    /// - `port`, kept for the next time, and `port-NAME` of Kafka's listener NAME
    /// - `ports-used`: every port it ever had
    /// - `given`: the address from the environment, when that was used instead
    /// - `temporary`: it was started for a script
    pub fn of(&self, service: Service) -> PathBuf {
        self.dir().join(service.name())
    }

    pub fn env_file(&self) -> PathBuf {
        self.dir().join("env")
    }

    pub fn certificates(&self) -> PathBuf {
        self.shared().join("certs")
    }

    /// A name for what of the project, or of the instance, has to be elsewhere.
    pub fn key(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let of = if self.instance.is_some() { self.dir() } else { self.root.clone() };
        let hash: String = digest(&SHA256, of.as_os_str().as_bytes()).as_ref()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("webmon-{}-{hash}", rustix::process::getuid().as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_directories_and_a_key_of_its_own() {
        let project = Project::at("/srv/webmon");
        // printf %s /srv/webmon | sha256sum
        assert!(project.key().ends_with("-12522c16e52e"), "{}", project.key());
        let instance = project.instance("own");
        assert_eq!(instance.env_file(), Path::new("/srv/webmon/.dev/instances/own/env"));
        assert_eq!(instance.certificates(), project.certificates());
        assert_ne!(instance.key(), project.key());
    }

    #[test]
    fn an_instance_is_named_so_that_it_is_one_directory() {
        for name in ["own-1", "a.b", "X_1"] {
            assert!(Project::is_instance_name(name), "{name}");
        }
        for name in ["", ".", "..", "-x", "a/b", "ä"] {
            assert!(!Project::is_instance_name(name), "{name}");
        }
    }
}
