//! How far each site's instants are accounted for: the place where a restarted checker goes on.
//!
//! A log of its own beside the records: a frame names a site once, later ones carry four bytes for it and eight
//! for the instant, all that changed within a second in one write and one fdatasync. For 20,000 sites each second
//! that is 240 kB/s, where the spool writes 10 MB/s. The log is rewritten when it opens and when it has grown by
//! 16 MiB.
//!
//! It cannot be derived from the records alone: what is in the spool is not all that is older. A slow check's
//! instant arrives after the `overlap` of the instants that followed it, so only who knows the open instants knows
//! the watermark.
//!
//! What is on disk may lag, by about a second: instants that have their results are then backfilled again, and the
//! store absorbs that as a lower or equal rank. It never leads: it is written only after all that the spool had
//! taken at that moment is durable.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::directory::{Directory, is_full};
use super::error::SpoolError;
use super::frame;
use super::segment::{Frames, HEADER, Header, Kind};

/// The file's name.
pub const FILE: &str = "watermarks";
/// The most pairs of site and location.
pub const MAX_WATERMARKS: usize = 400_000;
/// How much the log grows before it is rewritten.
const MAX_GROWTH: u64 = 16 << 20;
/// The first byte of a frame of instants; that of a name is a brace.
const INSTANTS: u8 = 1;
/// Instants of one frame.
const PER_FRAME: usize = 16_384;

/// Up to which instant a site's results, seen from one location, are in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The site's key.
    pub site: String,
    /// The location.
    pub location: String,
    /// The newest instant up to which every one is in the spool: as a result, or within a gap.
    pub instant: Timestamp,
    /// The schedule's expression when the instant was planned.
    pub expression: String,
    /// The schedule's zone when the instant was planned.
    pub timezone: String,
}

/// The watermarks of a spool: see [`Spool::watermarks`](super::Spool::watermarks).
pub struct Watermarks {
    directory: Directory,
    noted: Mutex<Noted>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Noted {
    sites: HashMap<String, Vec<Entry>>,
    count: usize,
    next_id: u32,
    /// What changed since the last flush: site and location.
    changed: Vec<(String, String)>,
    /// Ids that mean nothing any more.
    forgotten: Vec<u32>,
    refused: bool,
}

struct Entry {
    location: String,
    id: u32,
    mark: Mark,
    changed: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Mark {
    second: i64,
    expression: String,
    timezone: String,
}

/// What is on disk.
#[derive(Default)]
struct Log {
    file: Option<File>,
    bytes: u64,
    rewritten_bytes: u64,
    next: u64,
    marks: HashMap<u32, Name>,
}

/// The payload that names a site.
#[derive(Clone, Serialize, Deserialize)]
struct Name {
    id: u32,
    site: String,
    location: String,
    expression: String,
    timezone: String,
    second: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forgotten: bool,
}

/// What is to be written: see [`Watermarks::take`].
#[derive(Default)]
pub(super) struct Changes {
    marks: Vec<Name>,
    forgotten: Vec<u32>,
}

impl Watermarks {
    pub(super) fn open(directory: &Directory) -> Result<Watermarks, SpoolError> {
        let path = directory.file(FILE);
        let mut noted = Noted::default();
        let mut log = Log::default();
        // Ids are given anew: a forgotten one may have been given twice in a log that was cut off.
        for (id, mut name) in (0..).zip(read(directory)?) {
            let mark = Mark {
                second: name.second,
                expression: name.expression.clone(),
                timezone: name.timezone.clone(),
            };
            let entry = Entry { location: name.location.clone(), id, mark, changed: false };
            noted.sites.entry(name.site.clone()).or_default().push(entry);
            noted.count += 1;
            noted.next_id = id + 1;
            name.id = id;
            log.marks.insert(id, name);
        }
        match log.rewrite(directory) {
            // The one there is stays, until there is room for what changes.
            Err(error) if is_full(&error) => {
                log::warn!(file = path.display().to_string(), error = error.to_string(); "the spool's disk is full");
            }
            written => written.map_err(SpoolError::io("write", &path))?,
        }
        Ok(Watermarks { directory: directory.clone(), noted: Mutex::new(noted), log: Mutex::new(log) })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.noted().count
    }

    /// All watermarks, in no order: after opening a spool, those of the process before.
    pub fn load(&self) -> Vec<Watermark> {
        let noted = self.noted();
        let mut all = Vec::with_capacity(noted.count);
        for (site, entries) in &noted.sites {
            for Entry { location, mark, .. } in entries {
                let Ok(instant) = Timestamp::from_second(mark.second) else { continue };
                all.push(Watermark {
                    site: site.clone(),
                    location: location.clone(),
                    instant,
                    expression: mark.expression.clone(),
                    timezone: mark.timezone.clone(),
                });
            }
        }
        all
    }

    /// Notes that every instant of `site` up to `instant` (in whole seconds) has been appended. Call it when
    /// [`append`](crate::outbox::Outbox::append) or [`enqueue`](crate::outbox::Outbox::enqueue) of the last of them
    /// has returned. Takes no time to speak of: it is on disk a second or two later, once those records are.
    ///
    /// An instant before the one noted last is ignored, so threads may overtake each other; a site that begins anew
    /// is [forgotten](Watermarks::forget) first. Beyond [`MAX_WATERMARKS`] new sites are refused, which is logged
    /// once: they begin at their next start as a new site does.
    pub fn note(&self, site: &str, location: &str, instant: Timestamp, expression: &str, timezone: &str) {
        let second = instant.as_second();
        let mut noted = self.noted();
        let noted = &mut *noted;
        let entry = noted.sites.get_mut(site).and_then(|e| e.iter_mut().find(|e| e.location == location));
        match entry {
            Some(entry) => {
                let mark = &mut entry.mark;
                let same = mark.expression == expression && mark.timezone == timezone;
                if second < mark.second || (second == mark.second && same) {
                    return;
                }
                mark.second = second;
                if !same {
                    (mark.expression, mark.timezone) = (expression.to_owned(), timezone.to_owned());
                }
                if mem::replace(&mut entry.changed, true) {
                    return;
                }
            }
            None => {
                if noted.count >= MAX_WATERMARKS {
                    if !mem::replace(&mut noted.refused, true) {
                        log::error!(max = MAX_WATERMARKS; "too many sites and locations for the spool's watermarks");
                    }
                    return;
                }
                let mark = Mark { second, expression: expression.to_owned(), timezone: timezone.to_owned() };
                let id = noted.next_id;
                noted.next_id += 1;
                noted.count += 1;
                let entry = Entry { location: location.to_owned(), id, mark, changed: true };
                noted.sites.entry(site.to_owned()).or_default().push(entry);
            }
        }
        noted.changed.push((site.to_owned(), location.to_owned()));
    }

    /// Drops the watermark of a site that was retired.
    pub fn forget(&self, site: &str, location: &str) {
        let mut noted = self.noted();
        let Some(entries) = noted.sites.get_mut(site) else { return };
        let Some(at) = entries.iter().position(|entry| entry.location == location) else { return };
        let id = entries.remove(at).id;
        if entries.is_empty() {
            noted.sites.remove(site);
        }
        noted.count -= 1;
        noted.forgotten.push(id);
    }

    /// What was noted since the last call, as it stands now. To be written when all records appended so far are
    /// durable, or given back.
    pub(super) fn take(&self) -> Option<Changes> {
        let mut noted = self.noted();
        let noted = &mut *noted;
        if noted.changed.is_empty() && noted.forgotten.is_empty() {
            return None;
        }
        let mut changes = Changes { marks: Vec::new(), forgotten: mem::take(&mut noted.forgotten) };
        for (site, location) in noted.changed.drain(..) {
            let entry =
                noted.sites.get_mut(&site).and_then(|e| e.iter_mut().find(|e| e.location == location));
            let Some(entry) = entry else { continue };
            entry.changed = false;
            changes.marks.push(Name {
                id: entry.id,
                site,
                location,
                expression: entry.mark.expression.clone(),
                timezone: entry.mark.timezone.clone(),
                second: entry.mark.second,
                forgotten: false,
            });
        }
        Some(changes)
    }

    /// Takes changes back that could not be written.
    pub(super) fn give_back(&self, changes: Changes) {
        let mut noted = self.noted();
        let noted = &mut *noted;
        noted.forgotten.extend(changes.forgotten);
        for Name { site, location, .. } in changes.marks {
            let entry =
                noted.sites.get_mut(&site).and_then(|e| e.iter_mut().find(|e| e.location == location));
            if let Some(entry) = entry
                && !mem::replace(&mut entry.changed, true)
            {
                noted.changed.push((site, location));
            }
        }
    }

    /// Writes changes, durable when it returns.
    pub(super) fn write(&self, changes: Changes) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let written = log.write(&self.directory, &changes);
        if written.is_err() {
            // Where a write broke off is not known: the next one begins with a new file.
            log.file = None;
            drop(log);
            self.give_back(changes);
        }
        written
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn write(&mut self, directory: &Directory, changes: &Changes) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut next = self.next;
        let mut frame = |payload: &[u8]| {
            frame::push(&mut bytes, next, payload);
            next += 1;
        };
        for id in &changes.forgotten {
            if let Some(name) = self.marks.remove(id) {
                frame(&serde_json::to_vec(&Name { forgotten: true, ..name })?);
            }
        }
        let mut instants = vec![INSTANTS];
        for name in &changes.marks {
            match self.marks.get_mut(&name.id) {
                Some(known) if known.expression == name.expression && known.timezone == name.timezone => {
                    known.second = name.second;
                    instants.extend_from_slice(&name.id.to_le_bytes());
                    instants.extend_from_slice(&name.second.to_le_bytes());
                    if instants.len() > PER_FRAME * 12 {
                        frame(&instants);
                        instants.truncate(1);
                    }
                }
                _ => {
                    frame(&serde_json::to_vec(name)?);
                    self.marks.insert(name.id, name.clone());
                }
            }
        }
        if instants.len() > 1 {
            frame(&instants);
        }
        match &self.file {
            Some(file) if self.bytes < self.rewritten_bytes + MAX_GROWTH => {
                file.write_all_at(&bytes, self.bytes)?;
                file.sync_data()?;
                self.bytes += bytes.len() as u64;
                self.next = next;
                Ok(())
            }
            _ => self.rewrite(directory),
        }
    }

    /// Puts a new file in place, with everything in it and nothing twice.
    fn rewrite(&mut self, directory: &Directory) -> io::Result<()> {
        let mut bytes = Header::new(Kind::Watermarks).encode().to_vec();
        self.next = 0;
        for name in self.marks.values() {
            frame::push(&mut bytes, self.next, &serde_json::to_vec(name)?);
            self.next += 1;
        }
        self.file = Some(directory.replace(FILE, &bytes)?);
        self.bytes = bytes.len() as u64;
        self.rewritten_bytes = self.bytes;
        Ok(())
    }
}

/// The last mark of each site and location in the file. A torn end is passed over, as is what is damaged.
fn read(directory: &Directory) -> Result<Vec<Name>, SpoolError> {
    let path = directory.file(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SpoolError::io("open", &path)(error)),
    };
    let mut intact = Header::read(&file, &path, Kind::Watermarks)?.is_some();
    let length = file.metadata().map_err(SpoolError::io("read", &path))?.len();
    let mut frames = Frames::new(file, HEADER as u64, length, 0, 0, None);
    let mut marks: HashMap<u32, Name> = HashMap::new();
    while let Some(frame) = frames.next() {
        match frame.payload.split_first() {
            Some((&INSTANTS, pairs)) => {
                for pair in pairs.chunks_exact(12) {
                    if let (Some(id), Some(second)) = (frame::u32_at(pair, 0), frame::u64_at(pair, 4))
                        && let Some(name) = marks.get_mut(&id)
                    {
                        name.second = name.second.max(second.cast_signed());
                    }
                }
            }
            _ => match serde_json::from_slice::<Name>(frame.payload) {
                Ok(name) if name.forgotten => drop(marks.remove(&name.id)),
                Ok(name) => drop(marks.insert(name.id, name)),
                Err(_) => intact = false,
            },
        }
    }
    if !intact || !frames.take_damage().is_none() {
        log::error!(file = path.display().to_string(), read = marks.len(); "the file of watermarks is damaged");
    }
    Ok(marks.into_values().collect())
}
