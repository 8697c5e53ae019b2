//! A cluster of three brokers that loses leaders, followers and its majority, between the real programs: each record is
//! stored once, and no program ends.
//!
//! In an ordinary run each fault comes once or twice; dev/faults makes it the whole number.

#[path = "support/sites.rs"]
mod local;
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local::{Server, response};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use support::instance::{BROKERS, Instance, Service};
use support::pipeline::{Pipeline, end, pause};
use support::{Program, Signal, database, program, scale, wait_within};
use webmon::record::Record;

const CHECK: &str = env!("CARGO_BIN_EXE_webmon-check");
const PARTITIONS: i32 = 3;
const SITES: usize = 20;

/// How long the cluster, which shares two cores with everything else, may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a fault has at hand.
struct Fault<'a> {
    cluster: &'a Instance,
    pipeline: &'a Pipeline,
    observer: BaseConsumer,
    /// The writers and the checker.
    programs: RefCell<Vec<Program>>,
}

/// What they logged last, when a test has failed.
impl Drop for Fault<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for program in self.programs.borrow().iter() {
                let log = program.log();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("{}:\n{}", program.child.id(), lines[lines.len().saturating_sub(8)..].join("\n"));
            }
            eprintln!("{:?}", self.partitions());
        }
    }
}

impl Fault<'_> {
    /// Of each partition its leader, where it has one, and how many copies are in step.
    fn partitions(&self) -> BTreeMap<i32, (Option<Service>, usize)> {
        let Ok(metadata) = self.observer.fetch_metadata(Some(&self.pipeline.topic), Duration::from_secs(2))
        else {
            return BTreeMap::new();
        };
        let Some(topic) = metadata.topics().first() else { return BTreeMap::new() };
        let broker = |id: i32| BROKERS.get(usize::try_from(id - 1).ok()?).copied();
        topic.partitions().iter().map(|p| (p.id(), (broker(p.leader()), p.isr().len()))).collect()
    }

    /// Waits until every partition has a leader and all its copies, and says who leads partition 0.
    fn whole(&self) -> Service {
        let mut leader = None;
        wait_within(PATIENCE, "all brokers are in step", || {
            let partitions = self.partitions();
            leader = partitions.get(&0).and_then(|(leader, _)| *leader);
            let whole =
                partitions.values().all(|(leader, copies)| leader.is_some() && *copies == BROKERS.len());
            whole && partitions.len() == PARTITIONS as usize
        });
        leader.unwrap()
    }

    /// Waits until `broker` leads nothing any more, and everything has a leader.
    fn wait_for_others_than(&self, broker: Service) {
        wait_within(PATIENCE, "others lead", || {
            let partitions = self.partitions();
            partitions.len() == PARTITIONS as usize
                && partitions.values().all(|(leader, _)| leader.is_some_and(|leader| leader != broker))
        });
    }

    fn wait_for_rows(&self) {
        let rows = self.pipeline.rows();
        wait_within(PATIENCE, "rows go on arriving", || {
            self.assert_all_run();
            self.pipeline.rows() > rows + 500
        });
    }

    fn assert_all_run(&self) {
        for program in self.programs.borrow_mut().iter_mut() {
            assert_eq!(program.child.try_wait().unwrap(), None, "it has ended by itself");
        }
    }
}

/// Has `fault` happen between a checker, other results all the time and two writers: nobody ends, nothing is lost, nothing is
/// stored twice.
fn survives(fault: impl FnOnce(&Fault)) {
    let Some(database) = database() else { return };
    let Some(cluster) = Instance::cluster() else { return };
    let pipeline = Pipeline::new(&cluster.address, database, PARTITIONS);
    let observer = ClientConfig::new().set("bootstrap.servers", &pipeline.brokers).create().unwrap();
    let site = Server::answering(response("200 OK", &["connection: close"], b"hello"));
    let spool = tempfile::tempdir().unwrap();
    let mut sites = format!(
        "check.spool = {{ dir = {:?} }}\n[site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n",
        spool.path()
    );
    for n in 0..SITES {
        sites += &format!("[[site]]\nname = \"live-{n}\"\nurl = {:?}\n", site.url("/"));
    }
    let mut programs = vec![pipeline.store(), pipeline.store()];
    pipeline.wait_for_holders(2);
    programs.push(program(CHECK, &pipeline.toml(&sites), &["run"]));
    let scene = Fault { cluster: &cluster, pipeline: &pipeline, observer, programs: RefCell::new(programs) };
    let produced = pipeline.under_load(|| {
        scene.wait_for_rows();
        fault(&scene);
        scene.wait_for_rows();
    });
    end(scene.programs.borrow_mut().pop().unwrap());
    let mut checked = BTreeSet::new();
    support::read_topic(&pipeline.config().kafka, |record| {
        if let Ok(Record::Result(result)) = Record::decode(record.value.unwrap())
            && result.site.starts_with("live-")
        {
            checked.insert((result.site, result.scheduled_at));
        }
    });
    pipeline.assert_exactly_once(produced + checked.len() as i64);
    // Of what the checker was to ask each second.
    let unaccounted = "
        SELECT count(*) FROM (
            SELECT count(*) <> extract(epoch FROM max(scheduled_at) - min(scheduled_at))::bigint + 1 AS broken
            FROM webmon.check_results JOIN webmon.sites USING (site_id) WHERE key LIKE 'live-%' GROUP BY site_id) s
        WHERE broken";
    assert_eq!(pipeline.database.number(unaccounted), 0);
    assert_eq!(pipeline.database.number("SELECT count(*) FROM webmon.gaps"), 0);
    scene.programs.take().into_iter().for_each(end);
}

#[test]
fn a_cluster_that_loses_leaders_followers_and_its_majority_costs_neither_a_record_nor_a_program() {
    survives(|fault| {
        eprintln!("a leader is killed");
        for _ in 0..scale(1, 15) {
            let leader = fault.whole();
            fault.cluster.kill_only(&[leader]);
            fault.wait_for_others_than(leader);
            fault.wait_for_rows();
            fault.cluster.up();
        }
        eprintln!("a leader is suspended, replaced, and wakes");
        for _ in 0..scale(1, 15) {
            let leader = fault.whole();
            fault.cluster.signal(leader, Signal::STOP);
            fault.wait_for_others_than(leader);
            fault.wait_for_rows();
            fault.cluster.signal(leader, Signal::CONT);
        }
        eprintln!("a follower lags");
        for round in 0..scale(1, 20) {
            let leader = fault.whole();
            let follower = *BROKERS.iter().filter(|broker| **broker != leader).nth(round % 2).unwrap();
            fault.cluster.signal(follower, Signal::STOP);
            // Shorter than until anybody notices.
            pause(Duration::from_secs(2));
            fault.cluster.signal(follower, Signal::CONT);
            fault.wait_for_rows();
        }
        eprintln!("two of three are killed");
        for outage in scale(vec![5], vec![5, 60, 5, 5]) {
            let leader = fault.whole();
            let others: Vec<_> = BROKERS.into_iter().filter(|broker| *broker != leader).collect();
            fault.cluster.kill_only(&[leader, others[0]]);
            pause(Duration::from_secs(outage));
            fault.cluster.up();
            fault.wait_for_rows();
        }
    });
}
