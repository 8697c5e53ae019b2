//! A segment's header says where the segment before it ended, also the one that another process wrote.

use std::fs::File;

use webmon::outbox::Outbox;

use crate::spool::{directory, drain, files, flip, frames, numbers, open, record, segments};

#[test]
fn a_record_cut_off_a_segment_of_a_former_process_is_counted_and_the_segment_is_kept_aside() {
    let directory = directory();
    let spool = open(directory.path());
    spool.append_all((0..3).map(record).collect());
    drop(spool);
    // The next process begins another segment.
    let spool = open(directory.path());
    spool.append(record(9));
    drop(spool);
    let [former, _] = segments(directory.path()).try_into().unwrap();
    let (last, _) = frames(&former).pop().unwrap();
    File::options().write(true).open(&former).unwrap().set_len(last.start).unwrap();
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [0, 1, 9]);
    assert_eq!(spool.damaged(), 1);
    drain(&spool);
    drop(spool);
    assert_eq!(files(directory.path(), "damaged").len(), 1);
}

#[test]
fn the_last_segment_is_kept_aside_once_it_is_sent_if_its_header_was_lost() {
    let directory = directory();
    let spool = open(directory.path());
    spool.append_all((0..3).map(record).collect());
    drop(spool);
    flip(&segments(directory.path()).pop().unwrap(), 20);
    let spool = open(directory.path());
    // It is the last one no more.
    spool.append(record(9));
    assert_eq!(drain(&spool).0, [0, 1, 2, 9]);
    assert_eq!(spool.damaged(), 0, "all its records were there");
    drop(spool);
    assert_eq!(files(directory.path(), "damaged").len(), 1);
}
