//! Services of a test's own, which it may kill.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::process::PidFile;
use crate::project::Project;
use crate::service::Service;
use crate::services::{self, Up};
use crate::{env_file, file, say};

/// Which process an instance was started by, in the instance's directory.
const OWNER: &str = "owner";

/// Services with data and ports of their own below `.dev/instances/NAME`, removed when dropped.
pub struct Instance {
    project: Project,
}

impl Instance {
    /// Starts them. `root` is the project's directory.
    pub fn start(root: &Path, name: &str, wanted: &[Service]) -> Result<Instance> {
        if !Project::is_instance_name(name) {
            bail!("an instance needs a name of letters, digits, and . _ -, not {name:?}");
        }
        let instance = Instance { project: Project::at(fs::canonicalize(root)?).instance(name) };
        file::make_dir(&instance.project.dir())?;
        owner(&instance.project).write(std::process::id().cast_signed())?;
        instance.up(wanted)?;
        Ok(instance)
    }

    /// Starts what of it does not run.
    pub fn up(&self, wanted: &[Service]) -> Result<()> {
        services::up(&self.project, wanted, Up::default())
    }

    /// Ends services at once, with SIGKILL.
    pub fn kill(&self, services: &[Service]) -> Result<()> {
        services::down(&self.project, services, true)
    }

    /// The same, and starts them again on the same ports with their data.
    pub fn kill_and_restart(&self, services: &[Service]) -> Result<()> {
        services::restart(&self.project, services, true)
    }

    /// The process of one that runs.
    pub fn pid(&self, service: Service) -> Option<i32> {
        service.of(&self.project).pid()
    }

    /// An address, by the name that it has in the file of addresses.
    pub fn address(&self, variable: &str) -> Option<String> {
        env_file::value(&self.project.env_file(), variable)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = services::remove(&self.project) {
            say!("error: {error:#}");
        }
    }
}

fn owner(project: &Project) -> PidFile {
    PidFile::at(project.dir().join(OWNER))
}

/// Removes instances whose owner has ended without having done it, as a test that was killed. Those that a person has
/// made have no owner.
pub fn remove_orphans(project: &Project) -> Result<()> {
    for entry in fs::read_dir(project.instances()).into_iter().flatten().flatten() {
        let instance = project.instance(&entry.file_name().to_string_lossy());
        if instance.dir().join(OWNER).exists() && owner(&instance).live().is_none() {
            services::remove(&instance)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_owner_has_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        let instances = ["living", "orphan", "persons"].map(|name| project.instance(name));
        instances.iter().for_each(|instance| fs::create_dir_all(instance.dir()).unwrap());
        owner(&instances[0]).write(std::process::id().cast_signed()).unwrap();
        let path = instances[1].dir().join(OWNER);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        fs::write(&path, format!("{} 1\n{}\n", child.id(), path.display())).unwrap();
        child.wait().unwrap();
        remove_orphans(&project).unwrap();
        assert_eq!(instances.each_ref().map(|instance| instance.dir().exists()), [true, false, true]);
    }
}
