//! A full spool gives up its oldest records, and gaps stand for them.

use std::fs;
use std::time::Duration;

use webmon::outbox::spool::{Inspector, SpoolOptions};
use webmon::outbox::{Outbox, Sequence};
use webmon::record::{GapReason, Record};

use crate::spool::{SITES, covered, directory, drain, instants, look, open_with, record, segments};

#[test]
fn a_full_spool_drops_the_oldest_and_accounts_for_each_of_them() {
    let directory = directory();
    let limited = || {
        let mut options = SpoolOptions::new(directory.path().join("spool"), 1 << 20);
        options.segment_size = 32_768;
        open_with(options)
    };
    let total = 8_000;
    let mut spool = limited();
    let mut sent = Vec::new();
    for from in (0..total).step_by(100) {
        spool.append_all((from..from + 100).map(record).collect());
        let bytes: u64 =
            segments(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 1 << 20, "{bytes}");
        match from {
            // These are being sent from here on, and must not be dropped.
            1_000 => sent = spool.peek(50, Duration::ZERO),
            // Gaps survive a restart, and go on growing afterwards.
            4_000 => {
                let sequences: Vec<Sequence> = sent.iter().map(|(sequence, _)| *sequence).collect();
                let again = spool.peek(50, Duration::ZERO);
                assert_eq!(again, sent, "what is being sent stays");
                spool.acknowledge(&sequences);
                drop(spool);
                spool = limited();
            }
            _ => {}
        }
    }
    assert_eq!(sent.len(), 50);
    let status = Inspector::new(spool.directory()).unwrap().status().unwrap();
    assert!(status.bytes <= 1 << 20);
    let waiting = spool.len();
    let (results, gaps) = drain(&spool);
    assert_eq!(waiting, results.len() + gaps.len());
    let gone = covered(&gaps);
    assert_eq!(sent.len() as u64 + results.len() as u64 + instants(&gaps), total);
    assert_eq!(gone.len() as u64, instants(&gaps));
    let expected: Vec<u64> = (total - results.len() as u64..total).collect();
    assert_eq!(results, expected, "the newest stayed, in order");
    assert!(gaps.iter().all(|gap| gap.gap.reason == GapReason::OutboxFull));
    // One for each site and life, and one where what was sent in between parts them.
    assert!(gaps.len() as u64 <= 3 * SITES, "{}", gaps.len());
    assert!(spool.is_empty() && look(&spool).is_empty());
    drop(spool);
    let spool = limited();
    assert!(spool.is_empty(), "delivered gaps do not come back: {:?}", look(&spool));
}

#[test]
fn a_gap_that_was_offered_never_changes_and_is_offered_again_after_a_restart() {
    let directory = directory();
    let sized = |max_size| {
        let mut options = SpoolOptions::new(directory.path().join("spool"), max_size);
        options.segment_size = 32_768;
        open_with(options)
    };
    let spool = sized(1 << 20);
    spool.append_all((0..7_000).map(record).collect());
    drop(spool);
    // With more room the gaps need not wait until the rest was sent.
    let spool = sized(16 << 20);
    let offered: Vec<Record> = spool
        .peek(100, Duration::ZERO)
        .into_iter()
        .map(|(_, record)| record)
        .filter(|record| matches!(record, Record::Gap(_)))
        .collect();
    assert_eq!(offered.len() as u64, SITES);
    drop(spool);
    // The outage goes on: what is dropped next adjoins what was offered.
    let spool = sized(1 << 20);
    spool.append_all((7_000..9_000).map(record).collect());
    let (results, gaps) = drain(&spool);
    for gap in offered {
        assert!(gaps.iter().any(|other| Record::Gap(other.clone()) == gap), "{gap:?} is not sent as it was");
    }
    assert_eq!(results.len() as u64 + instants(&gaps), 9_000);
    covered(&gaps);
}
