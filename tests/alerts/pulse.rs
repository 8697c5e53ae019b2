//! The heartbeat.

use std::time::Duration;

use webmon::alerts::{Limits, Pulse};
use webmon::record::Outcome::Success;
use webmon::shutdown::Shutdown;

use crate::hook::{Answer, Hook};
use crate::scene::{Scene, at, seen};
use crate::support::wait_until;

#[test]
fn the_heartbeat_is_asked_only_while_results_are_being_stored() {
    let hook = Hook::new(|_| Answer::Status(200));
    let Some(scene) = Scene::new(&format!("[heartbeat]\nurl = \"{}\"\n", hook.url())) else { return };
    let mut heartbeat = scene.config.heartbeat.clone().unwrap();
    heartbeat.every = Duration::from_millis(20);
    let limits = Limits::of(&scene.config.check);
    let pulse = Pulse::new(&scene.config.postgres, &scene.config.kafka.topic, &heartbeat, &limits).unwrap();
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let thread = std::thread::spawn(move || pulse.run(&stop).unwrap());
    let looks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'webmon-heartbeat' \
                 AND datname = current_database() AND state_change > query_start";
    wait_until("it looks", || scene.database.number(looks) == 1);
    for beats in 1..=2 {
        scene.append(seen("shop", "here", at(beats - 3), Success));
        scene.store();
        wait_until("it beats", || hook.told().len() == beats as usize);
        // It looks many times more, and nothing is stored.
        let since = "SELECT (extract(epoch FROM max(query_start)) * 1000)::bigint FROM pg_stat_activity \
                     WHERE application_name = 'webmon-heartbeat' AND datname = current_database()";
        let seen_at = scene.database.number(since);
        wait_until("it has looked again", || scene.database.number(since) > seen_at + 100);
        assert_eq!(hook.told().len(), beats as usize);
    }
    shutdown.request();
    thread.join().unwrap();
}
