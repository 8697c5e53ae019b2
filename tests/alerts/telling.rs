//! Who is told, and what becomes of it.

use webmon::alerts::{self, Watcher};
use webmon::record::ErrorType;
use webmon::record::Outcome::{Failure, Missed, Success};

use crate::hook::{Answer, Hook};
use crate::scene::{Scene, at, seen};
use crate::support::wait_until;

fn receiver(name: &str, hook: &Hook) -> String {
    format!(
        "[[receiver]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{}\"\ntimeout = \"2s\"\n",
        hook.url()
    )
}

fn route(name: &str, more: &str) -> String {
    format!("[[route]]\nreceiver = \"{name}\"\ngroup_wait = \"0s\"\n{more}\n")
}

impl Scene {
    fn goes_down(&mut self, site: &str) {
        self.append(seen(site, "here", at(-2), Failure));
        self.append(seen(site, "here", at(-1), Failure));
        self.store();
        self.judge();
    }

    fn goes_up(&mut self, site: &str) {
        self.sees(seen(site, "here", at(0), Success));
    }

    fn goes_into_maintenance(&mut self, site: &str, at: jiff::Timestamp) {
        let mut missed = seen(site, "here", at, Missed);
        missed.error_type = Some(ErrorType::Maintenance);
        missed.next_at = Some(at + jiff::SignedDuration::from_hours(1));
        self.sees(missed);
    }

    /// All that was told was told so many minutes earlier.
    fn minutes_later(&mut self, minutes: i32) {
        let sql = format!(
            "UPDATE webmon.notifications SET finished_at = finished_at - interval '{minutes} minutes'"
        );
        self.client.execute(&sql, &[]).unwrap();
    }

    /// The notifications in a state.
    fn in_state(&self, state: &str) -> i64 {
        self.database.number(&format!("SELECT count(*) FROM webmon.notifications WHERE state = '{state}'"))
    }
}

#[test]
fn a_receiver_is_told_of_the_beginning_and_the_end_once() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    wait_until("the beginning is told", || hook.told().len() == 1);
    scene.goes_up("shop");
    wait_until("both are delivered", || scene.in_state("delivered") == 2);
    teller.stop();
    let told: Vec<_> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told, ["down firing shop", "down resolved shop"]);
    let proof = alerts::prove(&mut scene.client).unwrap();
    assert!(proof.holds(), "{proof:?}");
    assert_eq!((proof.transitions, proof.notifications, proof.delivered), (2, 2, 2));
}

/// The receiver has taken the message, but says 500 or nothing at all. It is told again under the same id.
#[test]
fn a_message_that_is_sent_again_has_the_same_id_and_body() {
    let hook = Hook::new(|number| match number {
        0 => Answer::Status(500),
        1 => Answer::Close,
        _ => Answer::Status(200),
    });
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    for tries in 1..=2 {
        wait_until("it was tried", || hook.told().len() == tries);
        // The pause is over.
        wait_until("the try is recorded", || {
            scene.database.number("SELECT count(*) FROM webmon.messages WHERE answer IS NOT NULL AND next_try_at > clock_timestamp()") == 1
        });
        scene.hurry();
    }
    wait_until("it is delivered", || scene.in_state("delivered") == 1);
    teller.stop();
    let told = hook.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|one| one.id == told[0].id && one.body == told[0].body), "{told:?}");
}

#[test]
fn a_silence_keeps_an_alert_back_and_what_still_fires_afterwards_is_told() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let silence = scene.silence("shop");
    let teller = scene.teller();
    scene.goes_down("shop");
    scene.goes_down("blog");
    wait_until("the other one is told", || scene.in_state("delivered") == 1);
    wait_until("it is silenced", || scene.in_state("silenced") == 1);
    assert!(alerts::end_silence(&mut scene.client, silence).unwrap());
    scene.judge();
    wait_until("it is told after all", || scene.in_state("delivered") == 2);
    // Who was only reminded of it hears of its end.
    scene.goes_up("shop");
    wait_until("its end is told", || scene.in_state("delivered") == 3);
    teller.stop();
    let told: Vec<_> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told, ["down firing blog", "down firing shop", "down resolved shop"]);
}

#[test]
fn what_depends_on_a_site_that_is_down_is_held_back_but_never_its_end() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml =
        format!("{}{}", receiver("ops", &hook), route("ops", "depends_on = { sites = [\"gateway\"] }"));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("early");
    wait_until("it is told", || scene.in_state("delivered") == 1);
    scene.goes_down("gateway");
    wait_until("the gateway is told", || scene.in_state("delivered") == 2);
    scene.goes_down("shop");
    let held = "SELECT count(*) FROM webmon.notifications WHERE reason = 'held back: gateway is down'";
    wait_until("it is held back", || scene.database.number(held) == 1);
    scene.goes_up("early");
    wait_until("the end is told", || scene.in_state("delivered") == 3);
    scene.goes_up("gateway");
    scene.hurry();
    wait_until("the rest is told", || scene.in_state("delivered") == 5);
    teller.stop();
    let told: Vec<_> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told[..3], ["down firing early", "down firing gateway", "down resolved early"]);
    assert_eq!(told.len(), 5);
}

#[test]
fn a_receiver_that_is_gone_is_told_nothing_more_until_it_is_enabled() {
    let hook = Hook::new(|number| Answer::Status(if number == 0 { 410 } else { 200 }));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    wait_until("the message is dead", || scene.in_state("dead") == 1);
    scene.goes_up("shop");
    wait_until("so is the next one", || scene.in_state("dead") == 2);
    assert!(alerts::enable_receiver(&mut scene.client, "ops").unwrap());
    scene.goes_down("blog");
    wait_until("it is told again", || scene.in_state("delivered") == 1);
    teller.stop();
    assert_eq!(hook.told().len(), 2);
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}

/// One receiver hangs, and the other one hears at once.
#[test]
fn a_receiver_that_is_down_delays_no_other() {
    let down = Hook::new(|_| Answer::Close);
    let well = Hook::new(|_| Answer::Status(200));
    let toml =
        [receiver("down", &down), receiver("well", &well), route("down", ""), route("well", "")].concat();
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    wait_until("the first one was tried", || !down.told().is_empty());
    wait_until("the second one has it", || scene.in_state("delivered") == 1);
    scene.goes_up("shop");
    wait_until("the second one has all", || scene.in_state("delivered") == 2);
    // Nobody runs in circles while the message waits for its next try, though more is to be told.
    let rests = "SELECT count(*) FROM webmon.jobs j JOIN webmon.messages m ON m.receiver = 'down' AND m.state = 'pending' \
                 WHERE j.kind = 'notify down' AND j.state = 'available' AND j.scheduled_at >= m.next_try_at";
    wait_until("the next look is when the pause is over", || scene.database.number(rests) == 1);
    teller.stop();
    assert_eq!(scene.in_state("pending") + scene.in_state("sending"), 2);
}

#[test]
fn ten_thousand_sites_down_at_once_make_a_handful_of_messages() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let sites = crate::support::scale(1_000, 10_000);
    for site in 0..sites {
        let site = format!("site-{site}");
        scene.append(seen(&site, "here", at(-2), Failure));
        scene.append(seen(&site, "here", at(-1), Failure));
    }
    scene.store();
    assert!(scene.judge() >= sites);
    // However often it is looked at, one job waits.
    scene.judge();
    let jobs = scene.database.number("SELECT count(*) FROM webmon.jobs");
    assert_eq!(jobs, 1);
    let teller = scene.teller();
    wait_until("all are told", || scene.in_state("delivered") == sites as i64);
    teller.stop();
    assert_eq!(hook.told().len(), sites.div_ceil(500));
    let jobs = scene.database.number("SELECT count(*) FROM webmon.jobs");
    assert!(jobs < 20, "{jobs} jobs");
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}

#[test]
fn alerts_within_the_group_wait_are_one_message() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}[[route]]\nreceiver = \"ops\"\ngroup_wait = \"1h\"\n", receiver("ops", &hook));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    for site in ["shop", "blog", "mail"] {
        scene.goes_down(site);
    }
    assert_eq!(scene.database.number("SELECT count(*) FROM webmon.jobs WHERE kind = 'notify ops'"), 1);
    scene.hurry();
    wait_until("all are told", || scene.in_state("delivered") == 3);
    teller.stop();
    assert_eq!(hook.told().len(), 1);
}

#[test]
fn what_happens_outside_of_the_hours_of_a_route_waits_for_them_or_is_superseded() {
    let hook = Hook::new(|_| Answer::Status(204));
    // Hours that are never now: they begin in an hour, and last for a minute.
    let begin = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).strftime("%M %H").to_string();
    let hours = format!("hours = {{ schedule = \"{begin} * * *\", duration = \"1m\" }}");
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", &hours));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    let waits = "SELECT count(*) FROM webmon.notifications \
                 WHERE state = 'pending' AND reason = 'waits for its hours' AND not_before > clock_timestamp() + interval '50 minutes'";
    wait_until("it waits", || scene.database.number(waits) == 1);
    scene.goes_up("shop");
    scene.hurry();
    wait_until("neither is of interest any more", || {
        scene.hurry();
        scene.in_state("superseded") == 2
    });
    teller.stop();
    assert!(hook.told().is_empty());
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}

#[test]
fn an_alert_that_still_fires_is_told_again_as_often_as_its_route_says() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", "repeat = \"1h\""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    for told in 1..=2 {
        wait_until("it is told", || scene.in_state("delivered") == told);
        scene.judge();
        assert_eq!(scene.in_state("pending"), 0);
        scene.minutes_later(61);
        scene.judge();
    }
    wait_until("it is told a third time", || scene.in_state("delivered") == 3);
    scene.goes_up("shop");
    wait_until("the end is told", || scene.in_state("delivered") == 4);
    teller.stop();
    let reminders: Vec<i64> = hook
        .told()
        .iter()
        .map(|told| told.body["data"]["notices"][0]["reminder"].as_i64().unwrap())
        .collect();
    assert_eq!(reminders, [0, 1, 2, 0]);
}

#[test]
fn a_message_that_is_refused_or_too_old_is_dead_and_the_next_one_is_told() {
    let hook = Hook::new(|number| Answer::Status(if number == 0 { 400 } else { 500 }));
    let toml = format!("[alerts]\ngive_up = \"1m\"\n{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    wait_until("it is refused", || scene.in_state("dead") == 1);
    scene.goes_down("blog");
    wait_until("it fails", || hook.told().len() == 2);
    // The time to try it is over.
    let older = "UPDATE webmon.messages SET content = jsonb_set(content, '{created_at}', to_jsonb(now() - interval '2 minutes')) \
                 WHERE state = 'pending' AND answer IS NOT NULL";
    wait_until("the try is recorded", || scene.database.client().execute(older, &[]).unwrap() == 1);
    hook.answer(500);
    scene.hurry();
    wait_until("it is given up", || scene.in_state("dead") == 2);
    hook.answer(200);
    scene.goes_down("mail");
    wait_until("the next one is told", || scene.in_state("delivered") == 1);
    teller.stop();
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}

/// Only the configuration of the process that judges says who is told. A receiver that no process knows is given up.
#[test]
fn what_no_process_delivers_is_given_up_in_the_end() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    scene.goes_down("shop");
    scene.judge();
    assert_eq!(scene.in_state("pending"), 1);
    let earlier = "UPDATE webmon.notifications SET not_before = not_before - interval '5 days'";
    scene.client.execute(earlier, &[]).unwrap();
    scene.judge();
    assert_eq!(scene.in_state("dead"), 1);
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}

#[test]
fn two_sites_on_which_others_depend_do_not_hold_each_other_back() {
    let hook = Hook::new(|_| Answer::Status(204));
    let more = "depends_on = { sites = [\"gateway\", \"resolver\"] }";
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", more));
    let Some(mut scene) = Scene::new(&toml) else { return };
    for site in ["gateway", "resolver", "shop"] {
        for instant in [-2, -1] {
            scene.append(seen(site, "here", at(instant), Failure));
        }
    }
    scene.store();
    scene.judge();
    let teller = scene.teller();
    wait_until("both are told", || scene.in_state("delivered") == 2);
    teller.stop();
    assert_eq!(scene.in_state("pending"), 1);
}

#[test]
fn nobody_is_reminded_of_a_site_under_planned_maintenance_before_it_is_over() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", "repeat = \"1h\""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    for site in ["shop", "blog"] {
        scene.goes_down(site);
    }
    wait_until("both are told", || scene.in_state("delivered") == 2);
    scene.goes_into_maintenance("shop", at(0));
    scene.minutes_later(61);
    scene.judge();
    wait_until("the other one is told again", || scene.in_state("delivered") == 3);
    let waits = "SELECT count(*) FROM webmon.notifications \
                 WHERE state = 'pending' AND reminder = 1 AND reason = 'waits for the end of the maintenance'";
    wait_until("it waits", || scene.database.number(waits) == 1);
    scene.hurry();
    wait_until("it goes on waiting", || {
        scene.database.number(&format!("{waits} AND not_before > clock_timestamp()")) == 1
    });
    // It fails still.
    scene.sees(seen("shop", "here", at(1), Failure));
    scene.hurry();
    wait_until("it is told again after the maintenance", || scene.in_state("delivered") == 4);
    teller.stop();
    let told: Vec<_> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told[2..], ["down firing blog", "down firing shop"]);
}

#[test]
fn a_reminder_of_a_site_that_ended_up_well_after_its_maintenance_is_not_sent() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", "repeat = \"1h\""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let teller = scene.teller();
    scene.goes_down("shop");
    wait_until("it is told", || scene.in_state("delivered") == 1);
    scene.goes_into_maintenance("shop", at(0));
    scene.minutes_later(61);
    scene.judge();
    scene.sees(seen("shop", "here", at(1), Success));
    scene.hurry();
    wait_until("its end is told", || scene.in_state("delivered") == 2);
    wait_until("the reminder is of no interest any more", || {
        scene.hurry();
        scene.in_state("superseded") == 1
    });
    teller.stop();
    let told: Vec<_> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told, ["down firing shop", "down resolved shop"]);
}

/// Alerts that are passed over, because they are silenced or nobody wants to be reminded, may be more than are read at once.
#[test]
fn no_number_of_silenced_alerts_keeps_others_from_being_told_again() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", "repeat = \"1h\""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    scene.silence("blog");
    let teller = scene.teller();
    scene.goes_down("blog");
    wait_until("it is silenced", || scene.in_state("silenced") == 1);
    scene.goes_down("shop");
    wait_until("the other one is told", || scene.in_state("delivered") == 1);
    // Many more, silenced before.
    scene
        .client
        .batch_execute(
            "INSERT INTO webmon.alert_transitions (transition_id, alert_id, kind, level, action, site_id, subject, at, receivers, notice) \
             OVERRIDING SYSTEM VALUE \
             SELECT 1000 + n, 1000 + n, kind, n, action, site_id, subject, at, receivers, notice \
             FROM webmon.alert_transitions, generate_series(1, 5001) AS n WHERE subject = 'blog'; \
             INSERT INTO webmon.alerts (alert_id, kind, level, site_id, subject, severity, began_at, fired_at) \
             SELECT 1000 + n, kind, n, site_id, subject, severity, began_at, fired_at \
             FROM webmon.alerts, generate_series(1, 5001) AS n WHERE subject = 'blog'; \
             INSERT INTO webmon.notifications (transition_id, receiver, state, reason, not_before, finished_at) \
             SELECT 1000 + n, receiver, state, reason, not_before, finished_at - interval '1 hour' \
             FROM webmon.notifications, generate_series(1, 5001) AS n WHERE state = 'silenced'",
        )
        .unwrap();
    scene.minutes_later(61);
    scene.judge();
    wait_until("it is told again", || scene.in_state("delivered") == 2);
    teller.stop();
    assert_eq!(scene.in_state("silenced"), 5_002);
}

/// Who is told is decided by the process that judges.
#[test]
fn a_process_without_receivers_that_judges_has_nobody_told() {
    let hook = Hook::new(|_| Answer::Status(204));
    let toml = format!("{}{}", receiver("ops", &hook), route("ops", ""));
    let Some(mut scene) = Scene::new(&toml) else { return };
    let config = &scene.config;
    let other = Watcher::new(&config.postgres, &config.kafka.topic, &config.alerts, &[]).unwrap();
    for instant in [-2, -1] {
        scene.append(seen("shop", "here", at(instant), Failure));
    }
    scene.store();
    other.judge_all(&mut scene.client).unwrap();
    assert_eq!(scene.transitions(), ["down firing shop"]);
    // The end is told to those who were told of the beginning.
    scene.goes_up("shop");
    assert_eq!(scene.database.number("SELECT count(*) FROM webmon.notifications"), 0);
    // And the other way round: it hears of the end, though whoever judges does not know it.
    scene.goes_down("blog");
    scene.append(seen("blog", "here", at(0), Success));
    scene.store();
    other.judge_all(&mut scene.client).unwrap();
    let teller = scene.teller();
    wait_until("both are told", || scene.in_state("delivered") == 2);
    teller.stop();
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
}
