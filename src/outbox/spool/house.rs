//! The spool's own thread: writes what is queued, tries a failing disk again, and writes down what may lag.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::writer::Writer;
use super::writing::Writing;

/// How often what may lag is written down.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What that thread works with.
pub(super) struct House {
    shared: Arc<Shared>,
    writing: Writing,
}

impl House {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer) -> House {
        House { shared, writing: Writing::new(writer) }
    }

    /// Works until the spool is closed.
    pub(super) fn keep(self) {
        let House { shared, mut writing } = self;
        let _end = End(&shared);
        let mut next = Instant::now() + HOUSEKEEPING;
        let mut contents = shared.lock();
        loop {
            let closing = contents.closing;
            if contents.queue.is_writable() || (closing && !contents.queue.is_empty()) {
                contents = writing.write_queue(&shared, contents);
            }
            if closing || Instant::now() >= next {
                drop(contents);
                shared.settle();
                write_watermarks(&shared, &mut writing);
                shared.reserve();
                if closing {
                    return;
                }
                next = Instant::now() + HOUSEKEEPING;
                contents = shared.lock();
            } else if !contents.queue.is_writable() && !contents.closing {
                let until = contents.queue.retry_at().map_or(next, |retry_at| next.min(retry_at));
                let left = until.saturating_duration_since(Instant::now());
                contents = shared.contents.wait_work(contents, left);
            }
        }
    }
}

/// Says that nobody writes any more when it goes out of scope, also in a panic: no appender must wait for it.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.contents.wake_all();
    }
}

fn write_watermarks(shared: &Shared, writing: &mut Writing) {
    let Some(noted) = shared.watermarks.take() else { return };
    // Everything noted had been appended before, so that its records are below this number. Those that were
    // given up instead count once the file of gaps has them.
    let mut contents = shared.lock();
    let target = contents.queue.next();
    while !contents.queue.is_durable(target) && !contents.queue.rests() {
        contents = writing.write_queue(shared, contents);
    }
    let lacking = !contents.queue.is_durable(target) || contents.gaps.lacks_some();
    drop(contents);
    if lacking {
        return shared.watermarks.give_back(noted);
    }
    if let Err(error) = shared.watermarks.write(noted) {
        shared.lock().cannot_settle("write the spool's watermarks", error);
    }
}
