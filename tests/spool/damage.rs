//! A damaged or missing file costs what was in it alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use webmon::outbox::Outbox;
use webmon::record::Record;

use crate::spool::{
    copy, directory, drain, files, flip, frames, intact_frames, number, numbers, open, record, segments,
};

#[test]
fn an_end_torn_at_any_byte_costs_the_torn_record_alone() {
    let base = directory();
    let spool = open(base.path());
    spool.append_all((0..4).map(record).collect());
    drop(spool);
    let path = segments(base.path()).pop().unwrap();
    let (last, _) = frames(&path).pop().unwrap();
    for cut in last.start..=last.end {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = segments(torn.path()).pop().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let left = if cut == last.end { 4 } else { 3 };
        let spool = open(torn.path());
        assert_eq!(numbers(&spool), (0..left).collect::<Vec<_>>(), "cut at {cut}");
        spool.append(record(9));
        drop(spool);
        let spool = open(torn.path());
        assert_eq!(numbers(&spool), (0..left).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(spool.damaged(), 0);
    }
    // A write torn within its very first bytes.
    for cut in 0..last.start {
        let torn = directory();
        copy(base.path(), torn.path());
        let path = segments(torn.path()).pop().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let whole = frames_before(&segments(base.path()).pop().unwrap(), cut);
        let spool = open(torn.path());
        spool.append(record(9));
        assert_eq!(numbers(&spool), (0..whole).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
    }
}

fn frames_before(path: &Path, cut: u64) -> u64 {
    frames(path).iter().filter(|(place, _)| place.end <= cut).count() as u64
}

#[test]
fn a_damaged_byte_costs_its_record_alone_and_the_segment_is_kept_aside() {
    let base = directory();
    let spool = open(base.path());
    (0..30).for_each(|n| spool.append(record(n)));
    drop(spool);
    let path = segments(base.path())[1].clone();
    let name = path.file_name().unwrap();
    for at in 0..fs::metadata(&path).unwrap().len() {
        let damaged = directory();
        copy(base.path(), damaged.path());
        flip(&damaged.path().join("spool").join(name), at);
        let hit = frames(&path).iter().find(|(place, _)| place.contains(&at)).and_then(|(_, id)| *id);
        let spool = open(damaged.path());
        let left: Vec<u64> = (0..30).filter(|n| Some(*n) != hit).collect();
        assert_eq!(numbers(&spool), left, "byte {at}");
        assert_eq!(spool.damaged(), u64::from(hit.is_some()), "byte {at}");
        assert_eq!(drain(&spool).0, left);
        drop(spool);
        if hit.is_some() {
            assert_eq!(files(damaged.path(), "damaged").len(), 1, "byte {at}");
        }
    }
}

#[test]
fn garbage_and_missing_files_never_keep_the_rest_from_being_sent() {
    let directory = directory();
    fs::create_dir(directory.path().join("spool")).unwrap();
    drop(open(directory.path()));
    let spool = open(directory.path());
    (0..40).for_each(|n| spool.append(record(n)));
    drop(spool);
    let all = segments(directory.path());
    assert!(all.len() >= 5);
    let lost: BTreeSet<u64> = [1, 3].iter().flat_map(|i| frames(&all[*i])).filter_map(|(_, id)| id).collect();
    let garbage: Vec<u8> = (0..3_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&all[1], &garbage).unwrap();
    fs::write(&all[3], b"").unwrap();
    fs::write(directory.path().join("spool/cursor"), &garbage).unwrap();
    fs::write(directory.path().join("spool/gaps"), &garbage).unwrap();
    fs::write(directory.path().join("spool/watermarks"), &garbage).unwrap();
    fs::write(directory.path().join("spool/rejected"), &garbage).unwrap();
    fs::write(directory.path().join("spool/99999999999999999999999.seg"), &garbage).unwrap();
    fs::write(directory.path().join("spool/what.seg"), &garbage).unwrap();
    let spool = open(directory.path());
    let left: Vec<u64> = (0..40).filter(|n| !lost.contains(n)).collect();
    assert_eq!(drain(&spool).0, left);
    assert_eq!(spool.damaged(), lost.len() as u64);
    assert_eq!(files(directory.path(), "damaged").len(), 2);
    spool.append(record(40));
    drop(spool);
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [40]);
    drop(spool);
    // The last segment is garbage altogether.
    fs::remove_file(directory.path().join("spool/99999999999999999999999.seg")).unwrap();
    fs::remove_file(directory.path().join("spool/what.seg")).unwrap();
    fs::write(segments(directory.path()).pop().unwrap(), &garbage).unwrap();
    let spool = open(directory.path());
    assert_eq!(numbers(&spool), [0; 0]);
    spool.append(record(41));
    assert_eq!(numbers(&spool), [41]);
}

#[derive(Clone, Debug)]
enum Step {
    /// One by one, or together.
    Append(usize, bool),
    /// Offers so many and acknowledges those whose bit is set.
    Deliver(usize, u64),
    Reopen,
    /// Reopens after the file was cut at, or a byte flipped in, some place of some segment.
    Cut(prop::sample::Index, prop::sample::Index),
    Flip(prop::sample::Index, prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12usize, any::<bool>()).prop_map(|(n, together)| Step::Append(n, together)),
        3 => (1..20usize, any::<u64>()).prop_map(|(n, mask)| Step::Deliver(n, mask | mask >> 1)),
        1 => (1..20usize).prop_map(|n| Step::Deliver(n, u64::MAX)),
        2 => Just(Step::Reopen),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(file, at)| Step::Cut(file, at)),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(file, at)| Step::Flip(file, at)),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_but_what_was_damaged_and_nothing_comes_twice_within_a_life(steps in steps()) {
        let directory = directory();
        let mut spool = Some(open(directory.path()));
        let (mut next, mut acknowledged, mut hit) = (0, BTreeSet::new(), BTreeSet::new());
        let mut in_this_life = BTreeSet::new();
        for step in steps {
            let open_spool = spool.as_ref().unwrap();
            match step {
                Step::Append(count, together) => {
                    let records: Vec<Record> = (next..next + count as u64).map(record).collect();
                    next += count as u64;
                    if together {
                        open_spool.append_all(records);
                    } else {
                        records.into_iter().for_each(|record| open_spool.append(record));
                    }
                    continue;
                }
                Step::Deliver(count, mask) => {
                    let batch = open_spool.peek(count, Duration::ZERO);
                    let mut sequences = Vec::new();
                    for (i, (sequence, record)) in batch.into_iter().enumerate() {
                        let Record::Result(result) = record else { panic!("a gap") };
                        if mask & 1 << i != 0 {
                            sequences.push(sequence);
                            acknowledged.insert(number(&result));
                            in_this_life.insert(number(&result));
                        }
                    }
                    open_spool.acknowledge(&sequences);
                    let left = numbers(open_spool);
                    prop_assert!(left.is_sorted_by(|a, b| a < b), "{left:?}");
                    prop_assert!(!left.iter().any(|n| in_this_life.contains(n)), "acknowledged, and back");
                    continue;
                }
                Step::Reopen => drop(spool.take()),
                Step::Cut(file, at) | Step::Flip(file, at) => {
                    drop(spool.take());
                    // Once is enough for one file.
                    let intact: Vec<_> = segments(directory.path())
                        .into_iter()
                        .filter_map(|path| Some((intact_frames(&path)?, path)))
                        .collect();
                    let intact: Vec<_> = intact.into_iter().filter(|(frames, _)| !frames.is_empty()).collect();
                    if !intact.is_empty() {
                        let (frames, path) = file.get(&intact);
                        let at = at.index(fs::metadata(path).unwrap().len() as usize) as u64;
                        let cut = matches!(step, Step::Cut(..));
                        let is_hit = |place: &std::ops::Range<u64>| place.contains(&at) || (cut && place.end > at);
                        hit.extend(frames.iter().filter(|(place, _)| is_hit(place)).filter_map(|(_, id)| *id));
                        if cut {
                            File::options().write(true).open(path).unwrap().set_len(at).unwrap();
                        } else {
                            flip(path, at);
                        }
                    }
                }
            }
            in_this_life.clear();
            let reopened = open(directory.path());
            let waiting = numbers(&reopened);
            prop_assert!(waiting.is_sorted_by(|a, b| a < b), "in order, and once: {waiting:?}");
            let there: BTreeSet<u64> = waiting.into_iter().collect();
            for n in 0..next {
                if hit.contains(&n) {
                    prop_assert!(!there.contains(&n) || acknowledged.contains(&n), "{n} was damaged");
                } else {
                    prop_assert!(there.contains(&n) || acknowledged.contains(&n), "{n} is lost; there is {there:?}");
                }
            }
            prop_assert_eq!(reopened.len(), there.len());
            prop_assert!(reopened.damaged() <= hit.len() as u64);
            spool = Some(reopened);
        }
    }
}
