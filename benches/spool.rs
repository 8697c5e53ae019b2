//! How fast the spool appends, beside what the disk can do: a plain write and fdatasync of the same bytes.
//!
//!     cargo bench --bench spool -- [directory]
#![allow(clippy::print_stdout, reason = "a program")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use webmon::outbox::Outbox;
use webmon::outbox::spool::{Spool, SpoolOptions};
use webmon::record::Record;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let parent = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench")
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent)?;
    let record = Record::decode(
        br#"{"v":1,"site":"shop-17","name":"Shop 17","location":"berlin-1","checker":"host-a",
        "url":"https://shop-17.example/","method":"GET","scheduled_at":"2026-03-01T12:00:00Z",
        "next_at":"2026-03-01T12:01:00Z","started_at":"2026-03-01T12:00:00.001913Z","outcome":"success",
        "http_status":200,"dns_us":812,"connect_us":9120,"tls_us":18331,"ttfb_us":21012,"download_us":311,
        "total_us":49586,"body_bytes":18213,"remote_ip":"192.0.2.17","http_version":"HTTP/1.1",
        "tls_version":"TLSv1.3","cert_not_after":"2026-06-01T00:00:00Z","attempts":1}"#,
    )?;
    let bytes = record.encode().len() + 16;
    println!("{bytes} bytes a record, frame included\n");
    println!(
        "{:>9} {:>16} {:>16} {:>16} {:>8}",
        "batch", "spool", "floor, fdatasync", "floor, no sync", "ratio"
    );
    for batch in [1, 10, 100, 1_000, 10_000] {
        // In turn, so that what else the machine does hits all of them.
        let (mut spool_rate, mut synced, mut unsynced) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..3 {
            let place = directory.path().join(format!("{batch}-{round}"));
            let spool = Spool::open(SpoolOptions::new(&place, 64 << 30))?;
            let mut batches = 0;
            // Cloning is not what is measured.
            let mut took = Duration::ZERO;
            while took < Duration::from_millis(700) {
                let records = vec![record.clone(); batch];
                let start = Instant::now();
                spool.append_all(records);
                took += start.elapsed();
                batches += 1;
            }
            spool_rate.push(rate(batches * batch, took));
            drop(spool);
            std::fs::remove_dir_all(&place)?;
            synced.push(floor(&place, bytes * batch, batch, true)?);
            unsynced.push(floor(&place, bytes * batch, batch, false)?);
        }
        let [spool, synced, unsynced] = [spool_rate, synced, unsynced].map(median);
        println!(
            "{batch:>9} {spool:>14.0}/s {synced:>14.0}/s {unsynced:>14.0}/s {:>7.0}%",
            100.0 * spool / synced
        );
    }

    println!("\n{:>9} {:>9} {:>16}   sharing an fdatasync", "threads", "batch", "spool");
    for (threads, batch) in [(1, 1), (8, 1), (64, 1), (512, 1), (2, 1_000), (4, 1_000)] {
        let place = directory.path().join(format!("threads-{threads}-{batch}"));
        let spool = Arc::new(Spool::open(SpoolOptions::new(&place, 64 << 30))?);
        let start = Instant::now();
        let appenders: Vec<_> = (0..threads)
            .map(|_| {
                let (spool, record) = (Arc::clone(&spool), record.clone());
                thread::spawn(move || {
                    let mut appended = 0;
                    while start.elapsed() < Duration::from_secs(2) {
                        spool.append_all(vec![record.clone(); batch]);
                        appended += batch;
                    }
                    appended
                })
            })
            .collect();
        let appended: usize = appenders.into_iter().filter_map(|thread| thread.join().ok()).sum();
        println!("{threads:>9} {batch:>9} {:>14.0}/s", rate(appended, start.elapsed()));
    }

    let place = directory.path().join("read");
    let spool = Spool::open(SpoolOptions::new(&place, 64 << 30))?;
    let total = 500_000;
    for _ in 0..total / 10_000 {
        spool.append_all(vec![record.clone(); 10_000]);
    }
    let start = Instant::now();
    loop {
        let batch = spool.peek(1_000, Duration::ZERO);
        if batch.is_empty() {
            break;
        }
        spool.acknowledge(&batch.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
    }
    println!("\nread, decoded and acknowledged in batches of 1,000: {:.0}/s", rate(total, start.elapsed()));
    Ok(())
}

/// Records a second of plain writes of `chunk` bytes to one file.
fn floor(path: &Path, chunk: usize, records: usize, sync: bool) -> Result<f64> {
    let mut file = File::create(path)?;
    let buffer = vec![b'x'; chunk];
    let mut writes = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        file.write_all(&buffer)?;
        if sync {
            file.sync_data()?;
        }
        writes += 1;
    }
    let rate = rate(writes * records, start.elapsed());
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn rate(n: usize, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
