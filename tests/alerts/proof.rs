//! The proof that everybody was told.

use webmon::alerts::{self, AlertProof};
use webmon::record::Outcome::Failure;

use crate::hook::{Answer, Hook};
use crate::scene::{Scene, at, seen};
use crate::support::wait_until;

/// What the proof says after `damage`, done to an alert that was told.
fn after(damage: &str) -> Option<AlertProof> {
    let hook = Hook::new(|_| Answer::Status(204));
    let receiver = format!("[[receiver]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let mut scene = Scene::new(&format!("{receiver}[[route]]\nreceiver = \"ops\"\ngroup_wait = \"0s\"\n"))?;
    scene.append(seen("shop", "here", at(-2), Failure));
    scene.sees(seen("shop", "here", at(-1), Failure));
    let teller = scene.teller();
    let told = "SELECT count(*) FROM webmon.notifications WHERE state = 'delivered'";
    wait_until("it is told", || scene.database.number(told) == 1);
    teller.stop();
    assert!(alerts::prove(&mut scene.client).unwrap().holds());
    scene.client.batch_execute(damage).unwrap();
    let proof = alerts::prove(&mut scene.client).unwrap();
    assert!(!proof.holds(), "{proof:?}");
    Some(proof)
}

#[test]
fn a_notification_that_is_missing_is_found() {
    let Some(proof) = after("DELETE FROM webmon.notifications") else { return };
    assert_eq!(proof.unaccounted, 1);
}

#[test]
fn a_notification_that_no_route_asked_for_is_found() {
    let damage = "INSERT INTO webmon.notifications (transition_id, receiver, not_before) \
                  SELECT transition_id, 'somebody', now() FROM webmon.alert_transitions";
    let Some(proof) = after(damage) else { return };
    assert_eq!(proof.unaccounted, 1);
}

#[test]
fn an_outcome_that_is_not_that_of_the_message_is_found() {
    let damage = "UPDATE webmon.messages SET state = 'dead'";
    let Some(proof) = after(damage) else { return };
    assert_eq!(proof.contradictions, 1);
}

#[test]
fn an_alert_that_began_twice_in_a_row_is_found() {
    let damage = "INSERT INTO webmon.alert_transitions (transition_id, alert_id, kind, action, site_id, subject, at, receivers, notice) \
                  OVERRIDING SYSTEM VALUE \
                  SELECT 1000, 1000, kind, action, site_id, subject, at, '{}', notice FROM webmon.alert_transitions";
    let Some(proof) = after(damage) else { return };
    assert_eq!(proof.repeated, 1);
}
