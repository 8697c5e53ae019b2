//! Locks between programs: flock(2) on a file. What we start does not inherit them, or a daemon would hold one for as
//! long as it lives.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::{file, interrupt, say};

/// A lock on a file, given back when dropped.
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for it at most `limit`.
    pub fn take(path: &Path, limit: Duration) -> Result<Lock> {
        let lock = Lock::open(path)?;
        if lock.acquire(FlockOperation::NonBlockingLockExclusive) {
            return Ok(lock);
        }
        say!("waiting for another run to finish ({})", path.display());
        if !interrupt::wait_until(limit, || lock.acquire(FlockOperation::NonBlockingLockExclusive))? {
            bail!("another run still holds {} after {}s", path.display(), limit.as_secs());
        }
        Ok(lock)
    }

    /// None when another program has it.
    pub fn try_take(path: &Path) -> Result<Option<Lock>> {
        let lock = Lock::open(path)?;
        Ok(lock.acquire(FlockOperation::NonBlockingLockExclusive).then_some(lock))
    }

    /// One that others may share; none when somebody has it for himself for all of `limit`.
    pub fn share(path: &Path, limit: Duration) -> Result<Option<Lock>> {
        let lock = Lock::open(path)?;
        let shared = interrupt::wait_until(limit, || lock.acquire(FlockOperation::NonBlockingLockShared))?;
        Ok(shared.then_some(lock))
    }

    /// Whether a shared lock, which is given up for it, could be had for ourselves: nobody shares it any more.
    pub fn is_the_last(&self) -> bool {
        self.acquire(FlockOperation::NonBlockingLockExclusive)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: &Path) -> Result<Lock> {
        file::make_dir(path.parent().unwrap_or(Path::new(".")))?;
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Lock { file, path: path.to_owned() })
    }

    fn acquire(&self, operation: FlockOperation) -> bool {
        flock(&self.file, operation).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_shares_a_lock_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let one = Lock::share(&path, Duration::ZERO).unwrap().unwrap();
        let other = Lock::share(&path, Duration::ZERO).unwrap().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        assert!(!one.is_the_last());
        assert!(other.is_the_last());
        assert!(Lock::share(&path, Duration::ZERO).unwrap().is_none());
        drop(other);
        assert!(Lock::take(&path, Duration::ZERO).is_ok());
    }
}
