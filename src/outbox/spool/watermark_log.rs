//! How far each site's instants are accounted for: the place where a restarted checker goes on.
//!
//! It cannot be derived from the records alone: what is in the spool is not all that is older. A slow check's
//! instant arrives after the `overlap` of the instants that followed it, so only who knows the open instants knows
//! the watermark.
//!
//! What is on disk may lag, by about a second: instants that have their results are then backfilled again, and the
//! store absorbs that as a lower or equal rank. It never leads: it is written only after all that the spool had
//! taken at that moment is durable.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::directory::Directory;
use super::error::SpoolError;
use super::watermark_file::{Named, Noted, WatermarkFile};
use crate::monitor::Watermark;
use crate::mutex::lock;

/// The most pairs of site and location.
pub const MAX_WATERMARKS: usize = 400_000;

/// The watermarks of a spool: see [`Spool::watermarks`](super::Spool::watermarks).
pub struct WatermarkLog {
    known: Mutex<Known>,
    file: Mutex<WatermarkFile>,
}

#[derive(Default)]
struct Known {
    /// By location and site.
    marks: HashMap<String, HashMap<String, Mark>>,
    count: usize,
    next_id: u32,
    /// What changed since it was taken last: location and site.
    changed: Vec<(String, String)>,
    /// Ids that mean nothing any more.
    forgotten: Vec<u32>,
    refused: bool,
}

/// A watermark as it is kept.
struct Mark {
    id: u32,
    second: i64,
    expression: String,
    timezone: String,
    changed: bool,
}

impl Mark {
    fn named(&self, location: &str, site: &str) -> Named {
        Named {
            id: self.id,
            site: site.to_owned(),
            location: location.to_owned(),
            expression: self.expression.clone(),
            timezone: self.timezone.clone(),
            second: self.second,
            forgotten: false,
        }
    }
}

impl Known {
    fn get_mut(&mut self, location: &str, site: &str) -> Option<&mut Mark> {
        self.marks.get_mut(location)?.get_mut(site)
    }
}

impl WatermarkLog {
    pub(super) fn open(directory: &Directory) -> Result<WatermarkLog, SpoolError> {
        let (file, marks) = WatermarkFile::open(directory)?;
        let mut known = Known { count: marks.len(), ..Known::default() };
        for Named { id, site, location, expression, timezone, second, .. } in marks {
            known.next_id = id + 1;
            let mark = Mark { id, second, expression, timezone, changed: false };
            known.marks.entry(location).or_default().insert(site, mark);
        }
        Ok(WatermarkLog { known: Mutex::new(known), file: Mutex::new(file) })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    /// All watermarks by location: after opening a spool, those of the process before.
    pub fn load(&self) -> BTreeMap<String, Vec<Watermark>> {
        let watermark = |site: &String, mark: &Mark| {
            Some(Watermark {
                site: site.clone(),
                until: Timestamp::from_second(mark.second).ok()?,
                expression: mark.expression.clone(),
                timezone: mark.timezone.clone(),
            })
        };
        let known = self.lock();
        let of_location = |marks: &HashMap<String, Mark>| -> Vec<Watermark> {
            marks.iter().filter_map(|(site, mark)| watermark(site, mark)).collect()
        };
        known.marks.iter().map(|(location, marks)| (location.clone(), of_location(marks))).collect()
    }

    /// Notes that every instant of a site up to the watermark, seen from `location`, has been appended. Call it when
    /// [`append`](crate::outbox::Outbox::append) or [`enqueue`](crate::outbox::Outbox::enqueue) of the last of them
    /// has returned. Takes no time to speak of: it is on disk a second or two later, once those records are.
    ///
    /// An instant before the one noted last is ignored, so threads may overtake each other; a site that begins again
    /// is [forgotten](WatermarkLog::forget) first. Beyond [`MAX_WATERMARKS`] new sites are refused, which is logged
    /// once: they begin at their next start as a new site does.
    pub fn note(&self, location: &str, watermark: &Watermark) {
        let Watermark { site, until, expression, timezone } = watermark;
        let second = until.as_second();
        let mut known = self.lock();
        if let Some(mark) = known.get_mut(location, site) {
            let same = mark.expression == *expression && mark.timezone == *timezone;
            if second < mark.second || (second == mark.second && same) {
                return;
            }
            mark.second = second;
            if !same {
                (mark.expression, mark.timezone) = (expression.clone(), timezone.clone());
            }
            if mem::replace(&mut mark.changed, true) {
                return;
            }
        } else {
            if known.count >= MAX_WATERMARKS {
                if !mem::replace(&mut known.refused, true) {
                    log::error!(max = MAX_WATERMARKS; "too many sites and locations for the spool's watermarks");
                }
                return;
            }
            let (expression, timezone) = (expression.clone(), timezone.clone());
            let mark = Mark { id: known.next_id, second, expression, timezone, changed: true };
            known.next_id += 1;
            known.count += 1;
            known.marks.entry(location.to_owned()).or_default().insert(site.clone(), mark);
        }
        known.changed.push((location.to_owned(), site.clone()));
    }

    /// Drops the watermark of a site that was retired.
    pub fn forget(&self, location: &str, site: &str) {
        let mut known = self.lock();
        let Some(marks) = known.marks.get_mut(location) else { return };
        let Some(mark) = marks.remove(site) else { return };
        if marks.is_empty() {
            known.marks.remove(location);
        }
        known.count -= 1;
        known.forgotten.push(mark.id);
    }

    /// What was noted since the last call, as it stands now. To be written when all records appended so far are
    /// durable, or given back.
    pub(super) fn take(&self) -> Option<Noted> {
        let mut known = self.lock();
        if known.changed.is_empty() && known.forgotten.is_empty() {
            return None;
        }
        let mut noted = Noted { marks: Vec::new(), forgotten: mem::take(&mut known.forgotten) };
        for (location, site) in mem::take(&mut known.changed) {
            // It may have been forgotten since.
            if let Some(mark) = known.get_mut(&location, &site) {
                mark.changed = false;
                noted.marks.push(mark.named(&location, &site));
            }
        }
        Some(noted)
    }

    /// Takes back what could not be written.
    pub(super) fn give_back(&self, noted: Noted) {
        let mut known = self.lock();
        known.forgotten.extend(noted.forgotten);
        for Named { site, location, .. } in noted.marks {
            if let Some(mark) = known.get_mut(&location, &site)
                && !mem::replace(&mut mark.changed, true)
            {
                known.changed.push((location, site));
            }
        }
    }

    /// Writes what was noted, durable when it returns.
    pub(super) fn write(&self, noted: Noted) -> io::Result<()> {
        let written = lock(&self.file).write(&noted);
        if written.is_err() {
            self.give_back(noted);
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}
