//! `webmon-store alerts` and `silence`, as people and programs see them.

use serde_json::Value;
use webmon::record::Outcome::Failure;

use crate::hook::{Answer, Hook};
use crate::scene::{Scene, at, seen};
use crate::support::{config_toml, program, wait_until};

fn run(scene: &Scene, more: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let toml = config_toml("127.0.0.1:1", "log", &scene.database.url, more);
    program(env!("CARGO_BIN_EXE_webmon-store"), &toml, arguments).finish()
}

#[test]
fn alerts_are_listed_and_shown_with_who_was_told() {
    let hook = Hook::new(|_| Answer::Status(204));
    let more = format!(
        "[[receiver]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"{}\"\n[[route]]\nreceiver = \"ops\"\ngroup_wait = \"0s\"\n",
        hook.url()
    );
    let Some(mut scene) = Scene::new(&more) else { return };
    let (code, said, _) = run(&scene, &more, &["alerts", "list"]);
    assert_eq!((code, said.as_str()), (Some(0), "no alert fires\n"));
    scene.append(seen("shop", "here", at(-2), Failure));
    scene.sees(seen("shop", "here", at(-1), Failure));
    let teller = scene.teller();
    wait_until("it is told", || {
        scene.database.number("SELECT count(*) FROM webmon.notifications WHERE state = 'delivered'") == 1
    });
    teller.stop();
    let (code, said, _) = run(&scene, &more, &["alerts", "list"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("shop") && said.contains("1 told") && said.contains("critical"), "{said}");
    let (_, said, _) = run(&scene, &more, &["alerts", "list", "--json", "--kind", "down"]);
    let listed: Value = serde_json::from_str(&said).unwrap();
    let id = listed[0]["alert_id"].to_string();
    let (_, said, _) = run(&scene, &more, &["alerts", "show", &id]);
    assert!(said.contains("the site shop is down: timeout at here") && said.contains("HTTP 204"), "{said}");
    let (_, said, _) = run(&scene, &more, &["alerts", "show", &id, "--json"]);
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(shown["notifications"][0]["state"], "delivered");
    assert_eq!(run(&scene, &more, &["alerts", "show", "9999"]).0, Some(1));
}

#[test]
fn a_test_message_arrives_and_a_failure_of_it_is_the_exit_code() {
    let hook = Hook::new(|_| Answer::Status(200));
    let more = format!("[[receiver]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let Some(scene) = Scene::new(&more) else { return };
    let (code, said, _) = run(&scene, &more, &["alerts", "test", "ops"]);
    assert_eq!(code, Some(0), "{said}");
    let told: Vec<String> = hook.told().iter().flat_map(crate::hook::Told::alerts).collect();
    assert_eq!(told, ["down firing webmon-test", "down resolved webmon-test"]);
    hook.answer(404);
    let (code, _, why) = run(&scene, &more, &["alerts", "test", "ops"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("404"), "{why}");
    let (code, _, why) = run(&scene, &more, &["alerts", "test", "nobody"]);
    assert!(code == Some(1) && why.contains("expected one of ops"), "{why}");
}

#[test]
fn silences_are_added_listed_and_ended() {
    let Some(scene) = Scene::new("") else { return };
    let add = |arguments: &[&str]| {
        let all = [&["silence", "add", "--by", "ann", "--reason", "a new disk"], arguments].concat();
        run(&scene, "", &all)
    };
    assert_eq!(add(&["--for", "1h"]).0, Some(2), "of what is missing");
    assert_eq!(add(&["shop"]).0, Some(2), "until when is missing");
    assert_eq!(add(&["shop", "--until", "2020-01-01T00:00:00Z"]).0, Some(1), "it is over already");
    let (code, said, _) = add(&["shop", "--label", "team=web", "--kind", "down", "--for", "2h"]);
    assert!(code == Some(0) && said.starts_with("silence 1 holds until "), "{said}");
    let (_, said, _) = run(&scene, "", &["silence", "list", "--json"]);
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(listed[0]["sites"][0], "shop");
    assert_eq!((&listed[0]["labels"]["team"], &listed[0]["kinds"][0]), (&"web".into(), &"down".into()));
    assert_eq!((&listed[0]["created_by"], &listed[0]["reason"]), (&"ann".into(), &"a new disk".into()));
    assert_eq!(run(&scene, "", &["silence", "end", "1"]).0, Some(0));
    assert_eq!(run(&scene, "", &["silence", "end", "1"]).0, Some(1));
    assert_eq!(run(&scene, "", &["silence", "list"]).1, "there is no silence\n");
    assert!(run(&scene, "", &["silence", "list", "--all"]).1.contains("a new disk"));
}
