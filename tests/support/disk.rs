//! A disk in memory for a spool: it fails where it is told to, holds calls up, and can lose its power.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use webmon::outbox::spool::{Access, Disk, DiskFile};

use crate::spool::random;

/// What is asked of the disk. A directory is named for itself, a rename for the old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    OpenToRead,
    OpenToWrite,
    Read,
    Write,
    SetSize,
    Sync,
    Rename,
    Remove,
    SyncDirectory,
}

/// What becomes of a call that does not work.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing is done.
    Error(Errno),
    /// A write takes so many bytes, and is said to have.
    Short(usize),
    /// A write takes so many bytes, and is said to have failed.
    Torn(usize, Errno),
}

/// What a failing disk says.
#[derive(Clone, Copy, Debug)]
pub enum Errno {
    Io = 5,
    TooManyFiles = 24,
    NoSpace = 28,
}

impl Errno {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(self as i32)
    }
}

type Rule = Box<dyn FnMut(Call, &str) -> Option<Fault> + Send>;

/// Handles to the same disk. Files are known by their names alone, whatever the directory.
#[derive(Clone)]
pub struct TestDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    /// The names that outlive a loss of power.
    durable_names: BTreeMap<String, usize>,
    /// What was done to names and is not synced.
    renames: Vec<(String, Option<usize>)>,
    files: Vec<Content>,
    /// Bytes that there is room for.
    capacity: Option<usize>,
    rule: Option<Rule>,
    held: Option<(Call, String)>,
    /// Calls that are held up.
    waiting: usize,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// The bytes that outlive a loss of power.
    durable: Vec<u8>,
    /// What was done and is not synced.
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Change::Size(size) => bytes.resize(*size, 0),
        }
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.bytes);
        self.changes.push(change);
    }

    /// As after a loss of power: each change was written or not, and the last one maybe in part.
    fn lose(&mut self, seed: &mut u64) {
        for change in std::mem::take(&mut self.changes) {
            match (random(seed, 3), change) {
                (0, _) => {}
                (1, Change::Write(offset, mut written)) => {
                    written.truncate(random(seed, written.len() as u64 + 1) as usize);
                    Change::Write(offset, written).apply(&mut self.durable);
                }
                (_, change) => change.apply(&mut self.durable),
            }
        }
        self.bytes.clone_from(&self.durable);
    }
}

/// Holds up calls as long as it lives.
pub struct Held(TestDisk);

impl Held {
    /// Whether a call is held up.
    pub fn is_reached(&self) -> bool {
        self.0.lock().waiting > 0
    }

    /// Waits until a call is held up.
    pub fn wait(&self) {
        let state = self.0.lock();
        drop(self.0.0.changed.wait_while(state, |state| state.waiting == 0));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().held = None;
        self.0.0.changed.notify_all();
    }
}

impl TestDisk {
    pub fn new() -> TestDisk {
        TestDisk::with(State::default())
    }

    /// One with room for so many bytes.
    pub fn of_size(bytes: usize) -> TestDisk {
        TestDisk::with(State { capacity: Some(bytes), ..State::default() })
    }

    fn with(state: State) -> TestDisk {
        TestDisk(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on each call is asked about, with the file's name.
    pub fn fail(&self, rule: impl FnMut(Call, &str) -> Option<Fault> + Send + 'static) {
        self.lock().rule = Some(Box::new(rule));
    }

    /// Fails the next such call about a file whose name ends so.
    pub fn fail_once(&self, call: Call, name: &'static str, fault: Fault) {
        let mut left = Some(fault);
        self.fail(move |asked, of| if asked == call && of.ends_with(name) { left.take() } else { None });
    }

    /// From now on every call works.
    pub fn mend(&self) {
        self.lock().rule = None;
    }

    /// Holds up such calls about files whose names end so.
    pub fn hold(&self, call: Call, name: &str) -> Held {
        self.lock().held = Some((call, name.to_owned()));
        Held(self.clone())
    }

    /// The disk as a killed process leaves it.
    pub fn after_kill(&self) -> TestDisk {
        let state = self.lock();
        let (names, files) = (state.names.clone(), state.files.clone());
        let mut durable = files;
        for file in &mut durable {
            file.durable.clone_from(&file.bytes);
            file.changes.clear();
        }
        TestDisk::with(State {
            durable_names: names.clone(),
            names,
            files: durable,
            capacity: state.capacity,
            ..State::default()
        })
    }

    /// The disk as a loss of power leaves it. File systems write names in the order in which they were changed.
    pub fn after_power_loss(&self, seed: &mut u64) -> TestDisk {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        let lasting = random(seed, state.renames.len() as u64 + 1) as usize;
        for (name, file) in &state.renames[..lasting] {
            match file {
                Some(file) => names.insert(name.clone(), *file),
                None => names.remove(name),
            };
        }
        let mut files = state.files.clone();
        for file in &mut files {
            file.lose(seed);
        }
        TestDisk::with(State {
            durable_names: names.clone(),
            names,
            files,
            capacity: state.capacity,
            ..State::default()
        })
    }

    /// The bytes of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.names.get(name).map(|file| state.files[*file].bytes.clone()).unwrap_or_default()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// What a call comes to, after whatever holds it up.
    fn ask(&self, call: Call, name: &str) -> Option<Fault> {
        let mut state = self.lock();
        let is_held = |state: &State| {
            state.held.as_ref().is_some_and(|(held, of)| *held == call && name.ends_with(of.as_str()))
        };
        if is_held(&state) {
            state.waiting += 1;
            self.0.changed.notify_all();
            state = self
                .0
                .changed
                .wait_while(state, |state| is_held(state))
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.rule.as_mut().and_then(|rule| rule(call, name))
    }

    /// As [`TestDisk::ask`] for calls that are done or not.
    fn work(&self, call: Call, name: &str) -> io::Result<MutexGuard<'_, State>> {
        match self.ask(call, name) {
            Some(Fault::Error(errno) | Fault::Torn(_, errno)) => Err(errno.error()),
            Some(Fault::Short(_)) | None => Ok(self.lock()),
        }
    }
}

impl State {
    fn set_name(&mut self, name: &str, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(name.to_owned(), file),
            None => self.names.remove(name),
        };
        self.renames.push((name.to_owned(), file));
    }

    /// Bytes that are free.
    fn free(&self) -> Option<usize> {
        let used = self.names.values().map(|file| self.files[*file].bytes.len().next_multiple_of(4_096));
        Some(self.capacity?.saturating_sub(used.sum()))
    }

    /// How many of `bytes` at `offset` there is room for.
    fn fits(&self, file: usize, offset: usize, bytes: usize) -> usize {
        let has = self.files[file].bytes.len().next_multiple_of(4_096);
        self.free().map_or(bytes, |free| bytes.min((has + free / 4_096 * 4_096).saturating_sub(offset)))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned()
}

impl std::fmt::Debug for TestDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TestDisk").field(&self.names()).finish()
    }
}

impl Disk for TestDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let name = name_of(path);
        let call = if access == Access::Read { Call::OpenToRead } else { Call::OpenToWrite };
        let mut state = self.work(call, &name)?;
        let file = match (state.names.get(&name).copied(), access) {
            (Some(file), Access::Empty) => {
                state.files[file].change(Change::Size(0));
                file
            }
            (Some(file), _) => file,
            (None, Access::Create | Access::Empty) => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.set_name(&name, Some(file));
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(TestFile { disk: self.clone(), name, file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (name_of(from), name_of(to));
        let mut state = self.work(Call::Rename, &from)?;
        let file = *state.names.get(&from).ok_or(io::ErrorKind::NotFound)?;
        state.set_name(&to, Some(file));
        state.set_name(&from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let name = name_of(path);
        let mut state = self.work(Call::Remove, &name)?;
        if !state.names.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.set_name(&name, None);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.work(Call::SyncDirectory, &name_of(path))?;
        state.renames.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
        let state = self.lock();
        let size = |file: &usize| state.files[*file].bytes.len() as u64;
        Ok(state.names.iter().map(|(name, file)| (directory.join(name), size(file))).collect())
    }

    fn free(&self, _: &Path) -> Option<u64> {
        self.lock().free().map(|bytes| bytes as u64)
    }
}

struct TestFile {
    disk: TestDisk,
    /// By which it was opened.
    name: String,
    file: usize,
}

impl DiskFile for TestFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.work(Call::Read, &self.name)?;
        let bytes = state.files[self.file].bytes.get(offset as usize..).unwrap_or_default();
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let fault = self.disk.ask(Call::Write, &self.name);
        let (taken, error) = match fault {
            Some(Fault::Error(errno)) => return Err(errno.error()),
            Some(Fault::Torn(taken, errno)) => (taken, Some(errno)),
            Some(Fault::Short(taken)) => (taken, None),
            None => (bytes.len(), None),
        };
        let mut state = self.disk.lock();
        let fits = state.fits(self.file, offset as usize, taken.min(bytes.len()));
        if fits == 0 && !bytes.is_empty() && taken > 0 {
            return Err(Errno::NoSpace.error());
        }
        state.files[self.file].change(Change::Write(offset as usize, bytes[..fits].to_vec()));
        error.map_or(Ok(fits), |errno| Err(errno.error()))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].bytes.len() as u64)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.disk.work(Call::SetSize, &self.name)?.files[self.file].change(Change::Size(bytes as usize));
        Ok(())
    }

    /// After an error the pages count as clean: the next sync does not write them, as with Linux.
    fn sync(&self) -> io::Result<()> {
        let outcome = self.disk.work(Call::Sync, &self.name).map(drop);
        let mut state = self.disk.lock();
        let content = &mut state.files[self.file];
        let changes = std::mem::take(&mut content.changes);
        if outcome.is_ok() {
            changes.iter().for_each(|change| change.apply(&mut content.durable));
        }
        outcome
    }
}
