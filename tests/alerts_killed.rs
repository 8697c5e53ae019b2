//! Alerts under faults, with the real program, real Kafka, real PostgreSQL and receivers that misbehave: whatever is
//! killed or frozen, a receiver that drops what came twice sees each transition once, and those of a site in order.
//!
//! In an ordinary run each fault comes a few times; dev/faults makes it the whole number.

#![cfg(feature = "librdkafka")]

#[path = "alerts/hook.rs"]
mod hook;
mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hook::{Answer, Hook};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use support::instance::Instance;
use support::pipeline::{Pipeline, end, pause, pipeline, random, seed, send_all, while_producing};
use support::proxy::{Link, Proxy};
use support::{Program, Signal, program, result, scale, value, wait_until, wait_within};
use webmon::alerts;
use webmon::kafka::{self, Outgoing};
use webmon::record::Outcome;

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");
const PARTITIONS: i32 = 4;
const RECEIVERS: usize = 3;
/// How long a message may take. Some receivers take longer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long everything may take to come to its end once nothing fails any more.
const PEACE: Duration = Duration::from_secs(300);

/// Sites that go down and up all the time, and receivers that are told.
struct Scene {
    pipeline: Pipeline,
    hooks: Vec<Hook>,
    /// From now on receivers behave.
    calm: Arc<AtomicBool>,
    /// Before the first instant of all sites.
    begin: Timestamp,
    sites: usize,
}

impl Scene {
    fn new(pipeline: Pipeline, seed: u64) -> Scene {
        let calm = Arc::new(AtomicBool::new(false));
        let hooks = (1..=RECEIVERS as u64).map(|number| {
            let (calm, seed) = (calm.clone(), Mutex::new(seed.wrapping_mul(number) | 1));
            Hook::new(move |_| match calm.load(Ordering::Relaxed) {
                true => Answer::Status(200),
                false => misbehave(&mut seed.lock().unwrap()),
            })
        });
        // What is so old is not overdue for long, and there is room for many instants.
        let begin = Timestamp::from_second(Timestamp::now().as_second() - 1_800).unwrap();
        Scene { pipeline, hooks: hooks.collect(), calm, begin, sites: scale(30, 200) }
    }

    fn toml(&self) -> String {
        let receivers: String = self
            .hooks
            .iter()
            .enumerate()
            .map(|(number, hook)| {
                format!(
                    "[[receiver]]\nname = \"ops-{number}\"\ntype = \"webhook\"\nurl = {:?}\ntimeout = {:?}\n\
                     [[route]]\nreceiver = \"ops-{number}\"\ngroup_wait = \"0s\"\n",
                    hook.url(),
                    format!("{}ms", TIMEOUT.as_millis()),
                )
            })
            .collect();
        let jobs = "jobs.lease = \"1s\"\njobs.poll = \"100ms\"\n";
        self.pipeline.toml(&format!("{jobs}{receivers}")).replace("500ms", "1s")
    }

    fn store(&self) -> Program {
        program(STORE, &self.toml(), &["run"])
    }

    /// How many requests the receivers have had.
    fn requests(&self) -> usize {
        self.hooks.iter().map(|hook| hook.told().len()).sum()
    }

    /// Waits until the receivers have had so many more requests.
    fn wait_for_requests(&self, more: usize) {
        let so_far = self.requests();
        wait_until("receivers go on being told", || {
            self.hurry();
            self.requests() >= so_far + more
        });
    }

    /// What failed is tried again at once, as if its pause were over. So there are as many tries as there can be.
    fn hurry(&self) {
        let mut client = self.pipeline.database.client();
        for sql in [
            "UPDATE webmon.messages SET next_try_at = clock_timestamp() \
             WHERE state = 'pending' AND next_try_at > clock_timestamp()",
            "UPDATE webmon.jobs SET scheduled_at = clock_timestamp() \
             WHERE kind LIKE 'notify %' AND state IN ('available', 'retryable') AND scheduled_at > clock_timestamp()",
        ] {
            // It may be in the way of a worker, and the server may end it for that. The next call does it.
            let _ = client.execute(sql, &[]);
        }
    }

    /// Has `fault` happen while the sites go down and up. In the end the sites with an odd number are down.
    fn under_load(&self, fault: impl FnOnce()) {
        while_producing(|stop| self.flap_until(stop), fault);
    }

    /// Each site fails twice and then succeeds, again and again, not all in the same phase.
    fn flap_until(&self, stop: &AtomicBool) {
        let mut producer = kafka::producer(&self.pipeline.config().kafka).unwrap();
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            self.produce(producer.as_mut(), round, |site| (round + site) % 3 < 2);
            round += 1;
            pause(Duration::from_millis(200));
        }
        for last in round..round + 2 {
            self.produce(producer.as_mut(), last, |site| site % 2 == 1);
        }
    }

    /// A record of each site. What Kafka does not take is sent again.
    fn produce(&self, producer: &mut dyn kafka::Producer, round: usize, fails: impl Fn(usize) -> bool) {
        let at = self.begin + SignedDuration::from_secs(round as i64);
        let record = |site: usize| {
            let outcome = if fails(site) { Outcome::Failure } else { Outcome::Success };
            let mut seen = result(&format!("site-{site}"), 0, outcome);
            seen.scheduled_at = at;
            seen.next_at = Some(at + SignedDuration::from_secs(1));
            seen.started_at = Some(at + SignedDuration::from_millis(2));
            // So long that nothing is overdue.
            seen.time_budget_ms = Some(3_600_000);
            Outgoing { key: seen.site.clone(), value: value(seen) }
        };
        send_all(producer, (0..self.sites).map(record).collect());
    }

    /// Lets everything come to its end, and asserts that everybody was told of everything once.
    fn assert_told_once(&self, programs: impl IntoIterator<Item = Program>) {
        self.calm.store(true, Ordering::Relaxed);
        self.pipeline.wait_for_all();
        let open = "SELECT (SELECT count(*) FROM webmon.alert_notes) \
                    + (SELECT count(*) FROM webmon.notifications WHERE finished_at IS NULL)";
        wait_within(PEACE, "every notification has an outcome", || {
            self.hurry();
            self.pipeline.database.number(open) == 0
        });
        programs.into_iter().for_each(end);

        let mut client = self.pipeline.database.client();
        let proof = alerts::prove(&mut client).unwrap();
        assert!(proof.holds(), "{proof:?}");
        let told = proof.transitions * RECEIVERS as i64;
        assert_eq!((proof.notifications, proof.delivered), (told, told), "{proof:?}");
        let (code, out, log) = program(STORE, &self.toml(), &["verify"]).finish();
        assert_eq!(code, Some(0), "{out}{log}");

        // A watcher that was dead or frozen sees only the newest, so there may be fewer transitions than flaps. Where it
        // ends is what the records say.
        let sql = "SELECT subject FROM webmon.alerts WHERE kind = 'down' AND resolved_at IS NULL";
        let down: BTreeSet<String> = client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        let odd: BTreeSet<String> =
            (0..self.sites).filter(|n| n % 2 == 1).map(|n| format!("site-{n}")).collect();
        assert_eq!(down, odd);
        let sql = "SELECT transition_id, kind, subject, action FROM webmon.alert_transitions ORDER BY transition_id";
        let transitions: Vec<Transition> = client
            .query(sql, &[])
            .unwrap()
            .iter()
            .map(|row| Transition { id: row.get(0), of: (row.get(1), row.get(2)), action: row.get(3) })
            .collect();
        let most = transitions.iter().fold(HashMap::new(), |mut counts: HashMap<_, i32>, transition| {
            *counts.entry(&transition.of).or_default() += 1;
            counts
        });
        let kinds: BTreeSet<&str> = transitions.iter().map(|transition| transition.of.0.as_str()).collect();
        eprintln!(
            "{} transitions of {} sites ({kinds:?}), {} of one at most",
            transitions.len(),
            self.sites,
            most.values().max().unwrap()
        );
        self.hooks.iter().for_each(|hook| assert_saw(hook, &transitions));
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Transition {
    id: i64,
    /// Kind and subject.
    of: (String, String),
    action: String,
}

/// One of the ways in which a receiver may take a message or not.
fn misbehave(seed: &mut u64) -> Answer {
    match random(seed, 12) {
        0 => Answer::Busy,
        1 => Answer::Close,
        2 => Answer::Status(500),
        3 => Answer::Slowly(TIMEOUT * 2, 200),
        4..7 => Answer::Slowly(Duration::from_millis(random(seed, 500)), 200),
        _ => Answer::Status(200),
    }
}

/// What the receiver has taken, without what came twice, is every transition, those of a subject in order.
fn assert_saw(hook: &Hook, transitions: &[Transition]) {
    let told = hook.told();
    let mut messages: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut seen = Vec::new();
    let mut twice = 0;
    for one in told.iter().filter(|one| one.answer != Answer::Busy) {
        if let Some(first) = messages.get(one.id.as_str()) {
            assert_eq!(**first, one.body, "{} came again with another body", one.id);
            twice += 1;
            continue;
        }
        messages.insert(&one.id, &one.body);
        for notice in one.body["data"]["notices"].as_array().unwrap() {
            let text = |key: &str| notice[key].as_str().unwrap().to_owned();
            assert_eq!(notice["reminder"].as_i64().unwrap_or_default(), 0);
            seen.push(Transition {
                id: notice["transition_id"].as_i64().unwrap(),
                of: (text("kind"), text("subject")),
                action: text("action"),
            });
        }
    }
    eprintln!(
        "{} requests, {} of them not taken; {} messages, {twice} times one that had come before",
        told.len(),
        told.iter().filter(|one| one.answer == Answer::Busy).count(),
        messages.len()
    );
    let of_each = |all: &[Transition]| {
        let mut subjects: BTreeMap<(String, String), Vec<Transition>> = BTreeMap::new();
        all.iter().for_each(|one| subjects.entry(one.of.clone()).or_default().push(one.clone()));
        subjects
    };
    let seen = of_each(&seen);
    assert_eq!(seen, of_each(transitions));
    for (subject, all) in seen {
        let expected = ["firing", "resolved"].into_iter().cycle();
        assert!(
            all.iter().map(|one| one.action.as_str()).eq(expected.take(all.len())),
            "{subject:?}: {all:?}"
        );
    }
}

/// Ends a program that must still run, at once, and starts another one in its place.
fn kill_and_restart(scene: &Scene, program: &mut Program) {
    let ended = program.child.try_wait().unwrap();
    assert!(ended.is_none(), "it has ended by itself, {ended:?}: {}", program.log());
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    *program = scene.store();
}

#[test]
fn no_transition_is_lost_or_told_twice_when_webmon_store_is_killed() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let mut seed = seed();
    let scene = Scene::new(pipeline, seed);
    let mut programs = [scene.store(), scene.store()];
    scene.pipeline.wait_for_holders(2);
    scene.under_load(|| {
        scene.wait_for_requests(1);
        for _ in 0..scale(6, 100) {
            scene.hurry();
            // At any time, or while a receiver has a message and its answer is not recorded.
            match random(&mut seed, 2) {
                0 => pause(Duration::from_millis(random(&mut seed, 1_500))),
                _ => {
                    scene.wait_for_requests(1);
                    pause(Duration::from_millis(random(&mut seed, 20)));
                }
            }
            // One of them, or both.
            match random(&mut seed, 3) {
                2 => programs.iter_mut().for_each(|program| kill_and_restart(&scene, program)),
                victim => kill_and_restart(&scene, &mut programs[victim as usize]),
            }
        }
        scene.wait_for_requests(RECEIVERS);
    });
    scene.assert_told_once(programs);
}

#[test]
fn a_frozen_webmon_store_is_replaced_and_tells_nothing_twice_when_it_wakes() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let mut seed = seed();
    let scene = Scene::new(pipeline, seed);
    let programs = [scene.store(), scene.store()];
    scene.pipeline.wait_for_holders(2);
    scene.under_load(|| {
        for _ in 0..scale(2, 25) {
            scene.wait_for_requests(1);
            pause(Duration::from_millis(random(&mut seed, 20)));
            let frozen = &programs[random(&mut seed, 2) as usize];
            frozen.signal(Signal::STOP);
            scene.pipeline.wait_for_holders(1);
            // Longer than all leases, and until the other one has told something.
            pause(Duration::from_secs(2));
            scene.wait_for_requests(RECEIVERS);
            frozen.signal(Signal::CONT);
            scene.pipeline.wait_for_holders(2);
        }
    });
    scene.assert_told_once(programs);
}

/// It stands still in a transaction, with a lock that whoever writes to the same receiver waits for.
#[test]
fn a_webmon_store_suspended_while_it_writes_a_message_keeps_no_receiver_waiting_for_long() {
    let Some(pipeline) = pipeline(PARTITIONS) else { return };
    let scene = Scene::new(pipeline, seed());
    scene.calm.store(true, Ordering::Relaxed);
    let url = &scene.pipeline.database.url;
    let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0;
    let network = Proxy::start(server, Link::Pass);
    // It has the lock by then.
    network.hold_behind(b"Reads what a receiver is to be told now");
    let toml = scene.toml().replace(server, &network.address.to_string());
    let frozen = program(STORE, &toml, &["run"]);
    let mut programs = vec![];
    scene.under_load(|| {
        network.wait_until_held();
        frozen.signal(Signal::STOP);
        let told = || scene.hooks.iter().map(|hook| hook.told().len()).collect::<Vec<_>>();
        let before = told();
        programs.push(scene.store());
        // Whoever takes the job over ends the connection of the one that had it.
        wait_within(Duration::from_secs(90), "the other one tells all receivers", || {
            told().iter().zip(&before).all(|(now, before)| now > before)
        });
        network.set(Link::Pass);
        frozen.signal(Signal::CONT);
        scene.pipeline.wait_for_holders(2);
    });
    programs.push(frozen);
    scene.assert_told_once(programs);
}

#[test]
fn no_transition_is_lost_or_told_twice_when_the_database_crashes() {
    let Some(server) = Instance::postgres() else { return };
    let Some(brokers) = support::kafka() else { return };
    let database = support::Database::on(&server.address);
    webmon::database::migrate(&mut database.client()).unwrap();
    let scene = Scene::new(Pipeline::new(&brokers, database, PARTITIONS), seed());
    let programs = [scene.store(), scene.store()];
    scene.pipeline.wait_for_holders(2);
    scene.under_load(|| {
        for _ in 0..scale(1, 10) {
            scene.wait_for_requests(RECEIVERS);
            server.kill_and_restart();
            scene.wait_for_requests(RECEIVERS);
            server.stop_immediately_and_restart();
        }
        scene.wait_for_requests(RECEIVERS);
    });
    scene.assert_told_once(programs);
}
