//! Debian's own Alertmanager takes what it is sent, keeps it, and ends it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use webmon::alerts::{Message, Outcome, send};
use webmon::config::Receiver;

use crate::messages::{end, limits, message, messages, notice, own, receiver};
use crate::program::Running;
use crate::support::{find, wait_within};

struct Alertmanager {
    running: Running,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    /// One that ends an alert without an end of its own after a second.
    fn start() -> Option<Alertmanager> {
        let program = find("prometheus-alertmanager", "prometheus-alertmanager")?;
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yml");
        let yaml = "global: {resolve_timeout: 1s}\nroute: {receiver: none}\nreceivers: [{name: none}]\n";
        std::fs::write(&config, yaml).unwrap();
        let port = webmon_dev::port::free(&[]).unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=");
        Some(Alertmanager { running: Running::start(&mut command, port), _directory: directory })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.running.port)
    }

    fn receiver(&self) -> Receiver {
        receiver(&format!("type = \"alertmanager\"\nurl = \"{}/\"", self.url()))
    }

    /// The alerts that it has and that have not ended.
    fn alerts(&self) -> Vec<Value> {
        let mut answer = ureq::get(format!("{}/api/v2/alerts?active=true", self.url())).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Waits until it has so many.
    fn wait_for(&self, count: usize) -> Vec<Value> {
        let mut alerts = Vec::new();
        wait_within(Duration::from_secs(20), "it has so many alerts", || {
            alerts = self.alerts();
            alerts.len() == count
        });
        alerts
    }
}

fn deliver(receiver: &Receiver, message: &Message) {
    let outcome = send(receiver, message, &limits());
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
}

#[test]
fn an_alertmanager_keeps_an_alert_until_it_ends() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let receiver = alertmanager.receiver();
    deliver(&receiver, &message(vec![notice(1), notice(2), own()]));
    // Sent again, it is the same alert.
    deliver(&receiver, &message(vec![notice(1), notice(2), own()]));
    let alerts = alertmanager.wait_for(3);
    let first = alerts.iter().find(|alert| alert["labels"]["site"] == "shop-1").unwrap();
    let expected = json!({
        "alertname": "WebmonDown", "kind": "down", "severity": "critical", "site": "shop-1", "team": "web",
        "cost_center": "7",
    });
    assert_eq!(first["labels"], expected);
    assert_eq!(first["startsAt"], "2026-03-01T12:00:00.000Z");
    assert_eq!(first["generatorURL"], "https://shop-1.example/?a=1&b=2");
    assert_eq!(first["annotations"]["summary"], "Shop 1 is down: timeout (connect) at 2 of 3 locations");

    // An alert without an end of its own comes and goes meanwhile.
    let control = r#"[{"labels": {"alertname": "control"}}]"#;
    let control = ureq::post(format!("{}/api/v2/alerts", alertmanager.url()))
        .header("content-type", "application/json")
        .send(control);
    control.unwrap();
    alertmanager.wait_for(4);
    alertmanager.wait_for(3);

    deliver(&receiver, &message(vec![end(1), notice(2)]));
    let left = alertmanager.wait_for(2);
    assert!(left.iter().all(|alert| alert["labels"]["site"] != "shop-1"), "{left:#?}");
}

#[test]
fn an_alertmanager_takes_every_message() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    for (_, message) in messages() {
        deliver(&alertmanager.receiver(), &message);
    }
    let alerts = alertmanager.alerts();
    let evil = alerts.iter().find(|alert| alert["labels"]["label_alertname"] == "evil").unwrap();
    assert_eq!(evil["labels"]["alertname"], "WebmonDown");
}
