//! The files of a spool, one of them of any bytes: the first byte says which, the second whether the rest becomes frames
//! whose CRC is right. It opens or says why not; then it takes records, offers them, and
//! opens again without them.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use webmon::outbox::spool::SpoolOptions;
use webmon::outbox::{Outbox, Spool};
use webmon::record::{ErrorType, Record};
use webmon::schedule::Schedule;
use webmon::site::{Origin, Site};

/// A spool in which five records wait.
static BASE: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = directory();
    let spool = open(directory.path()).expect("a new spool");
    (0..5).for_each(|n| spool.append(record(n)));
    spool.close().expect("closed");
    directory
});

fuzz_target!(|input: &[u8]| {
    let [which, framed, content @ ..] = input else { return };
    let directory = directory();
    let inner = directory.path().join("spool");
    fs::create_dir_all(&inner).expect("a directory");
    for entry in fs::read_dir(BASE.path().join("spool")).expect("the base").flatten() {
        fs::copy(entry.path(), inner.join(entry.file_name())).expect("a copy");
    }
    let names =
        ["00000000000000000000.seg", "00000000000000000003.seg", "cursor", "gaps", "watermarks", "rejected"];
    let name = inner.join(names[usize::from(*which) % names.len()]);
    let head = fs::read(&name).unwrap_or_default();
    let bytes = if framed % 2 == 1 {
        [&head[..head.len().min(HEADER)], &frames(content)].concat()
    } else {
        content.to_vec()
    };
    fs::write(name, bytes).expect("a file");

    let Ok(spool) = open(directory.path()) else { return };
    spool.append(record(100));
    let mut found = false;
    while !spool.is_empty() {
        let batch = spool.peek(1_000, Duration::ZERO);
        assert!(!batch.is_empty(), "{} wait, but are not offered", spool.len());
        found |= batch.iter().any(|(_, waiting)| *waiting == record(100));
        spool.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
    }
    assert!(found, "what was appended was not offered");
    spool.close().expect("closed");
    drop(spool);
    let spool = open(directory.path()).expect("it opens again");
    assert_eq!(spool.len(), 0, "what was acknowledged waits again");
});

/// Bytes of a segment's header.
const HEADER: usize = 48;

/// `content` cut into pieces, each with the head of a frame, so that what is behind the CRC is tried. Each piece begins with its length and the low byte of its number.
fn frames(mut content: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [length, number, rest @ ..] = content {
        let payload = &rest[..rest.len().min(usize::from(*length))];
        let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
        frame.extend(u64::from(*number).to_le_bytes());
        frame.extend(payload);
        frames.extend(crc32fast::hash(&frame).to_le_bytes());
        frames.extend(frame);
        content = &rest[payload.len()..];
    }
    frames
}

fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn open(directory: &Path) -> Result<Spool, webmon::outbox::spool::SpoolError> {
    let mut options = SpoolOptions::new(directory.join("spool"), 1 << 20);
    options.segment_size = 2_048;
    Spool::open(options)
}

fn record(n: i64) -> Record {
    let url = "http://127.0.0.1/".parse().expect("a URL");
    let site = Site::new("site", url, Schedule::new("@hourly", "UTC").expect("a schedule"));
    let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hours);
    let mut result = Origin::new("here", "fuzz").blank(&site, at(n), Some(at(n + 1)));
    result.set_error(ErrorType::Overlap, None, None);
    let record = Record::from(result);
    record.validate().expect("a valid record");
    record
}
