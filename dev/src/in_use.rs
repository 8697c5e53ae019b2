//! The use of services by scripts.
//!
//! dev/run and dev/test start services that don't run and stop them in the end, and several may be at work at once. Each
//! holds a shared lock meanwhile; the last to let go stops what was started for them, which a file `temporary` in the
//! service's directory says. What a person started with dev/services stays.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::lock::Lock;
use crate::project::Project;
use crate::service::Service;
use crate::services::{self, Up};
use crate::{interrupt, say};

const PATIENCE: Duration = Duration::from_secs(120);

/// Services in use; dropped, it lets go of them.
pub struct InUse<'a> {
    project: &'a Project,
    lock: Lock,
}

impl<'a> InUse<'a> {
    /// Starts those that do not run.
    pub fn start(project: &'a Project, wanted: &[Service]) -> Result<InUse<'a>> {
        let path = project.dir().join("in-use");
        let lock = Lock::share(&path, PATIENCE)?.with_context(|| {
            format!(
                "somebody has been stopping the services for {}s ({})",
                PATIENCE.as_secs(),
                path.display()
            )
        })?;
        let in_use = InUse { project, lock };
        services::up(project, wanted, Up { fresh: false, temporary: true })
            .context("the services don't start")?;
        Ok(in_use)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        // An impatient Ctrl-C shall not stop it halfway.
        let _shield = interrupt::shield();
        if !self.lock.is_the_last() {
            return;
        }
        let is_temporary = |service: &Service| self.project.of(*service).join("temporary").exists();
        let temporary: Vec<Service> = Service::all().into_iter().filter(is_temporary).collect();
        if !temporary.is_empty()
            && let Err(error) = services::down(self.project, &temporary, false)
        {
            say!("error: {error:#}");
        }
    }
}
