//! Messages to send, and receivers to send them to.

use jiff::{SignedDuration, Timestamp};
use webmon::alerts::{Action, Held, Limits, Message, Notice};
use webmon::config::{AlertKind, Config, Receiver, Role};

pub(crate) fn at(second: i64) -> Timestamp {
    "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

/// A site that went down.
pub(crate) fn notice(id: i64) -> Notice {
    let name = format!("Shop {id}");
    Notice {
        transition_id: id,
        alert_id: id,
        reminder: 0,
        kind: AlertKind::Down,
        action: Action::Firing,
        severity: AlertKind::Down.severity(),
        subject: format!("shop-{id}"),
        url: Some(format!("https://shop-{id}.example/?a=1&b=2")),
        labels: [("team", "web"), ("cost-center", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        began_at: at(0),
        ended_at: None,
        noticed_at: at(4),
        summary: format!("{name} is down: timeout (connect) at 2 of 3 locations"),
        name,
        error_type: Some("timeout".to_owned()),
        error_detail: Some("connect".to_owned()),
        error_message: Some("no connection within 10s".to_owned()),
        locations: vec!["berlin".to_owned(), "paris".to_owned()],
    }
}

/// Its end.
pub(crate) fn end(id: i64) -> Notice {
    Notice {
        transition_id: id + 1_000,
        action: Action::Resolved,
        ended_at: Some(at(300)),
        noticed_at: at(301),
        summary: format!("Shop {id} is up again after 5m"),
        locations: Vec::new(),
        ..notice(id)
    }
}

/// One of webmon itself, with as little as there may be.
pub(crate) fn own() -> Notice {
    Notice {
        kind: AlertKind::DeadLetters,
        severity: AlertKind::DeadLetters.severity(),
        subject: "webmon.results/3".to_owned(),
        name: "webmon.results/3".to_owned(),
        url: None,
        labels: Default::default(),
        summary: "webmon.results/3 has 2 new dead letters".to_owned(),
        error_type: None,
        error_detail: None,
        error_message: None,
        locations: Vec::new(),
        ..notice(9)
    }
}

/// One whose texts try to be more than texts.
pub(crate) fn hostile() -> Notice {
    let labels = [
        ("alertname", "evil"),
        ("__name__", "evil"),
        ("a\"b}\n", "\"} evil"),
        ("größe", "\u{1b}[31m"),
        ("empty", ""),
    ];
    let summary = "Shop is down: <https://evil.example|click> [click](https://evil.example)\r\n.\r\nQUIT\r\n\
                   Bcc: all@example.com \\\" {{ 7 * 7 }} \0 \u{202e}";
    Notice {
        subject: "shop\r\nX-Evil: 1".to_owned(),
        name: "</b><!channel> @everyone {{ id }}\u{202e}".to_owned(),
        url: Some("https://shop.example/?q=%22%3E|<x>".to_owned()),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        summary: summary.to_owned(),
        error_message: Some("<script>alert(1)</script> \u{1b}[31m@here ".to_owned() + &"x".repeat(980)),
        locations: (0..50).map(|n| format!("place-{n} <!here>")).collect(),
        ..notice(13)
    }
}

pub(crate) fn message(notices: Vec<Notice>) -> Message {
    Message { id: "msg_webmon_17".to_owned(), created_at: at(5), notices, held: Vec::new() }
}

/// All kinds of messages, each with its name.
pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let held = [("Gateway", 12), ("DNS", 1)];
    let held = held.map(|(parent, alerts)| Held { parent: parent.to_owned(), alerts }).into();
    let thirty = (1..=30).map(|id| if id % 10 == 0 { end(id) } else { notice(id) }).collect();
    vec![
        ("firing", message(vec![notice(17)])),
        ("resolved", message(vec![end(17)])),
        ("reminder", message(vec![Notice { reminder: 2, ..notice(17) }])),
        ("own", message(vec![own()])),
        ("thirty", Message { held, ..message(thirty) }),
        ("hostile", message(vec![hostile()])),
    ]
}

/// A receiver as `[[receiver]]` of the configuration has it; the name is given.
pub(crate) fn receiver(toml: &str) -> Receiver {
    let first =
        "kafka.brokers = [\"127.0.0.1:1\"]\npostgres.url = \"postgres://h/d\"\n[[receiver]]\nname = \"ops\"";
    let mut config = Config::from_toml(&format!("{first}\n{toml}\n"), Role::Store)
        .unwrap_or_else(|error| panic!("{error}\n{toml}"));
    config.receivers.pop().unwrap()
}

pub(crate) fn limits() -> Limits {
    Limits { deny_addresses: Vec::new(), user_agent: "webmon/test".to_owned() }
}

/// One receiver of each type that is spoken to by HTTP, at this URL.
pub(crate) fn all_by_http(url: &str) -> Vec<(&'static str, Receiver)> {
    let types = [
        ("webhook", ""),
        ("slack", ""),
        ("pagerduty", "routing_key = \"R0123456789\""),
        ("alertmanager", ""),
    ];
    let of = |(kind, more)| (kind, receiver(&format!("type = \"{kind}\"\nurl = \"{url}\"\n{more}")));
    types.map(of).into()
}
