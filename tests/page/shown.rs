//! What the pages show, and what they do not.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use webmon::record::{Certificate, ErrorType, Hop, Outcome, Sample};

use crate::common::{Served, ago, store};
use crate::support::database;

#[test]
fn a_site_is_what_its_locations_say_and_every_figure_of_uptime_stands_beside_its_coverage() {
    let Some(database) = database() else { return };
    let failing = (0..5).map(|n| ago("shop", n * 10, Outcome::Failure));
    let well = (0..8).map(|n| ago("docs", n * 10, Outcome::Success));
    let missed = (8..10).map(|n| ago("docs", n * 10, Outcome::Missed));
    store(&database, failing.chain(well).chain(missed));
    let served = Served::start(&database.url, "");

    let front = served.get("/index.json").json();
    assert_eq!((&front["state"], &front["sites_total"]), (&"down".into(), &2.into()), "{front}");
    assert_eq!(front["counts"], serde_json::json!({ "down": 1, "up": 1 }));
    let row = |name: &str| {
        let rows = front["sites"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == name).unwrap().clone()
    };
    let (shop, docs) = (row("shop"), row("docs"));
    assert_eq!((&shop["state"], &shop["uptime_percent"]), (&"down".into(), &0.0.into()));
    assert_eq!(shop["reason"]["error_type"], "timeout");
    assert_eq!((&docs["uptime_percent"], &docs["coverage_percent"]), (&100.0.into(), &80.0.into()));
    let today = docs["days"].as_array().unwrap();
    let sum = |name: &str| today.iter().map(|day| day[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((today.len(), sum("success"), sum("unchecked")), (90, 8, 2));

    // People read the same.
    let html = served.get("/").text();
    assert!(html.contains("1 down of 2 sites"), "{html}");
    assert!(html.contains("80.00\u{a0}%") && html.contains(" checked</small>"), "{html}");
    let page = served.get("/sites/shop").text();
    assert!(page.contains("<h1>the site shop</h1>") && page.contains("no answer in time"), "{page}");
    let site = served.get("/sites/shop.json").json();
    assert_eq!(site["results"].as_array().unwrap().len(), 5);
    let incident = site["incident_id"].as_i64().unwrap();
    let one = served.get(&format!("/incidents/{incident}.json")).json();
    assert_eq!((&one["incident"]["site"], &one["incident"]["to_at"]), (&"the site shop".into(), &().into()));
    assert_eq!(served.get("/incidents.json").json()["incidents"][0]["incident_id"], incident);
    assert!(served.get(&format!("/incidents/{incident}")).text().contains("is down"));
    assert_eq!(served.get("/wall.json").json()["tiles"][0]["id"], "shop");
}

/// Everything that is not for everybody, in a result with all of it.
const PRIVATE: [&str; 9] = [
    "certified.example",
    "0a0a0a0a",
    "shop-secret.example",
    "elsewhere.example",
    "192.0.2.7",
    "192.0.2.8",
    "words of the server",
    "x-inner",
    "the body",
];

fn telling() -> webmon::record::CheckResult {
    let mut result = ago("shop", 5, Outcome::Failure);
    result.set_error(ErrorType::ExpectationFailed, Some("detail-of-it"), Some("words of the server"));
    result.url = "https://shop-secret.example/".to_owned();
    result.final_url = Some("https://elsewhere.example/".to_owned());
    result.remote_ip = Some("192.0.2.7".parse().unwrap());
    result.redirects = 1;
    result.hops = vec![Hop {
        url: "https://shop-secret.example/old".to_owned(),
        http_status: 301,
        remote_ip: Some("192.0.2.8".parse().unwrap()),
        dns_us: None,
        connect_us: None,
        tls_us: None,
        ttfb_us: Some(900),
    }];
    result.cert_not_after = Some(result.scheduled_at + SignedDuration::from_hours(48));
    result.certificate = Some(Certificate {
        sha256: "0a".repeat(32),
        issuer: "CN=Issuing CA".to_owned(),
        subject_names: vec!["certified.example".to_owned()],
        chain_not_after: result.cert_not_after,
    });
    result.sample = Some(Sample {
        headers: vec![("x-inner".to_owned(), "host-17".to_owned())],
        body: "the body".to_owned(),
    });
    result
}

#[test]
fn by_default_no_url_address_header_error_text_or_sample_is_shown() {
    let Some(database) = database() else { return };
    store(&database, [telling()]);
    let served = Served::start(&database.url, "");
    let paths = [
        "/",
        "/index.json",
        "/sites/shop",
        "/sites/shop.json",
        "/incidents",
        "/incidents.json",
        "/incidents.atom",
        "/wall",
        "/wall.json",
    ];
    for path in paths {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        for private in PRIVATE.into_iter().chain(["detail-of-it"]) {
            assert!(!answer.text().contains(private), "{path} shows {private}");
        }
    }
    // A page that is asked to shows each.
    let all = Served::start(
        &database.url,
        "[[page]]\nshow = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\n",
    );
    for path in ["/sites/shop", "/sites/shop.json"] {
        let text = all.get(path).text();
        // People are not shown fingerprints.
        let private = PRIVATE.into_iter().filter(|private| path.ends_with(".json") || *private != "0a0a0a0a");
        let unseen: Vec<&str> = private.filter(|private| !text.contains(private)).collect();
        assert!(unseen.is_empty(), "{path} does not show {unseen:?}");
    }
}

#[test]
fn a_public_name_takes_the_place_of_the_key_everywhere() {
    let Some(database) = database() else { return };
    let mut results =
        vec![ago("db-7-internal", 5, Outcome::Failure), ago("db-7-internal", 15, Outcome::Failure)];
    results.iter_mut().for_each(|result| result.name = "inner name".to_owned());
    store(&database, results);
    let served = Served::start(&database.url, "[[page]]\nnames = { db-7-internal = \"Web Shop\" }\n");
    for path in [
        "/",
        "/index.json",
        "/sites/web-shop",
        "/sites/web-shop.json",
        "/incidents",
        "/incidents.atom",
        "/wall",
        "/badges/web-shop/state.svg",
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        assert!(!text.contains("db-7") && !text.contains("inner name"), "{path}: {text}");
    }
    assert_eq!(served.get("/sites/db-7-internal").status, 404);
}

#[test]
fn pages_show_the_sites_that_were_chosen_each_at_its_own_path_or_host() {
    let Some(database) = database() else { return };
    let labelled = |site: &str, team: &str| {
        let mut result = ago(site, 5, Outcome::Success);
        result.labels = [("team".to_owned(), team.to_owned())].into();
        result
    };
    store(&database, [labelled("shop", "web"), labelled("ledger", "money"), labelled("vault", "money")]);
    let served = Served::start(
        &database.url,
        "[[page]]\nlabels = { team = \"web\" }\n\
         [[page]]\npath = \"/money\"\nlabels = { team = \"money\" }\nsites = [\"shop\"]\n\
         [[page]]\nhost = \"ledger.example\"\nsites = [\"ledger\"]\n",
    );
    let shown = |answer: crate::common::Answer| -> BTreeSet<String> {
        let rows = answer.json()["sites"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(shown(served.get("/index.json")), set(&["shop"]));
    assert_eq!(shown(served.get("/money/index.json")), set(&["shop", "ledger", "vault"]));
    assert_eq!(shown(served.ask("GET", "/index.json", &["host: LEDGER.example:8080"])), set(&["ledger"]));
    for (path, status) in
        [("/sites/ledger", 404), ("/money/sites/ledger", 200), ("/money", 200), ("/money/", 308)]
    {
        assert_eq!(served.get(path).status, status, "{path}");
    }
    // Links stay within the page.
    let html = served.get("/money").text();
    assert!(html.contains("href=\"/money/sites/ledger\"") && !html.contains("href=\"/sites/"), "{html}");
}

#[test]
fn sites_are_found_by_name_group_and_state_and_the_list_has_pages() {
    let Some(database) = database() else { return };
    let site = |n: i64| {
        let mut result =
            ago(&format!("site-{n:03}"), 5, if n % 10 == 0 { Outcome::Failure } else { Outcome::Success });
        result.labels = [("team".to_owned(), format!("team {}", n % 2))].into();
        result.incident_failures = Some(1);
        result
    };
    store(&database, (0..250).map(site));
    let served = Served::start(&database.url, "[[page]]\ngroup_by = \"team\"\n");
    let of = |query: &str| served.get(&format!("/index.json?{query}")).json();
    let all = of("");
    assert_eq!((&all["matched"], &all["pages"]), (&250.into(), &3.into()));
    assert_eq!(all["sites"].as_array().unwrap().len(), 100);
    assert_eq!(all["groups"], serde_json::json!(["team 0", "team 1"]));
    assert_eq!(of("page=3")["sites"].as_array().unwrap().len(), 50);
    assert_eq!(of("page=99")["page"], 3);
    assert_eq!(of("state=down")["matched"], 25);
    assert_eq!(of("q=SITE-00")["matched"], 10);
    assert_eq!(of("q=site-00&group=team%201&state=up")["matched"], 5);
    assert_eq!(of("q=nothing")["matched"], 0);
    // What cannot be understood selects all.
    assert_eq!(of("page=x&state=up")["matched"], 250);
    let html = served.get("/?state=down&q=site").text();
    assert!(html.contains("value=\"site\"") && html.contains("<option value=\"down\" selected>"), "{html}");
}

#[test]
fn planned_maintenance_and_unchecked_sites_are_neither_up_nor_down() {
    let Some(database) = database() else { return };
    let mut planned = ago("planned", 5, Outcome::Missed);
    planned.set_error(ErrorType::Maintenance, None, None);
    let mut silent = ago("silent", 7_200, Outcome::Success);
    silent.next_at = Some(silent.scheduled_at + SignedDuration::from_secs(60));
    let mut slow = ago("slow", 5, Outcome::Success);
    slow.degraded = true;
    let mut gone = ago("gone", 5, Outcome::Success);
    gone.next_at = None;
    let mut there = ago("partly", 5, Outcome::Failure);
    there.location = "there".to_owned();
    let mut there_before = ago("partly", 15, Outcome::Failure);
    there_before.location = "there".to_owned();
    let mut both = vec![there_before, there, ago("partly", 5, Outcome::Success)];
    both.iter_mut().for_each(|result| result.incident_locations = Some(2));
    store(&database, [planned, silent, slow, gone].into_iter().chain(both));
    let served = Served::start(&database.url, "");
    let front = served.get("/index.json").json();
    let states: Vec<(String, String)> = front["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row["state"].as_str().unwrap().to_owned()))
        .collect();
    let wanted = [("partly", "partial"), ("planned", "planned"), ("silent", "unchecked"), ("slow", "slow")];
    assert_eq!(states, wanted.map(|(id, state)| (id.to_owned(), state.to_owned())), "{front}");
    let together = served.get("/sites/partly.json").json()["together"].clone();
    assert_eq!(together["instants"], 1, "{together}");
}

#[test]
fn what_a_site_says_is_escaped_wherever_it_is_shown() {
    let Some(database) = database() else { return };
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let mut result = telling();
    result.name = hostile.to_owned();
    result.location = hostile.to_owned();
    result.error_detail = Some(hostile.to_owned());
    result.error_message = Some(hostile.to_owned());
    result.url = format!("https://a.example/{hostile}");
    result.labels = [("team".to_owned(), hostile.to_owned())].into();
    result.sample =
        Some(Sample { headers: vec![(hostile.to_owned(), hostile.to_owned())], body: hostile.to_owned() });
    result.incident_failures = Some(1);
    store(&database, [result]);
    let all = "group_by = \"team\"\nshow = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\n";
    let served = Served::start(
        &database.url,
        &format!("[[page]]\ntitle = '''{hostile}'''\nfooter = '''{hostile}'''\n{all}"),
    );
    let incident = served.get("/sites/shop.json").json()["incident_id"].as_i64().unwrap();
    let paths = [
        "/",
        "/sites/shop",
        "/incidents",
        "/wall",
        "/incidents.atom",
        "/badges/shop/state.svg",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/nothing<script>alert(1)",
    ];
    for path in paths.map(str::to_owned).into_iter().chain([format!("/incidents/{incident}")]) {
        let text = served.get(&path).text();
        assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{path}: {text}");
    }
}

#[test]
fn the_feed_keeps_the_ids_of_its_entries() {
    let Some(database) = database() else { return };
    let failing = (0..5).map(|n| ago("shop", 40 - n * 10, Outcome::Failure));
    store(&database, failing);
    database
        .client()
        .batch_execute(
            "INSERT INTO webmon.alert_transitions (transition_id, alert_id, kind, action, site_id, subject, at, receivers, notice)
             OVERRIDING SYSTEM VALUE SELECT 7, 7, 'down', 'firing', site_id, 'shop', '2026-10-01T12:00:00Z', '{}',
                 '{\"error_type\": \"timeout\"}' FROM webmon.sites;
             INSERT INTO webmon.alerts (alert_id, kind, level, site_id, subject, severity, began_at, fired_at)
             SELECT 7, 'down', 0, site_id, 'shop', 'critical', '2026-10-01T12:00:00Z', '2026-10-01T12:00:01Z' FROM webmon.sites",
        )
        .unwrap();
    let served = Served::start(&database.url, "");
    let entry = |text: &str| {
        let from = text.find("<entry><id>").unwrap() + 11;
        text[from..].split("</id>").next().unwrap().to_owned()
    };
    let before = served.get("/incidents.atom");
    assert_eq!(before.header("content-type"), Some("application/atom+xml; charset=utf-8"));
    assert!(before.text().contains("the site shop is down"), "{}", before.text());
    assert!(before.text().contains("href=\"http://status.example/incidents.atom\""), "{}", before.text());
    // The alert ends, and history derives the incident anew.
    database
        .client()
        .batch_execute(
            "UPDATE webmon.alerts SET ended_at = '2026-10-01T13:00:00Z', resolved_at = '2026-10-01T13:00:02Z';
             DELETE FROM webmon.site_incidents",
        )
        .unwrap();
    let served = Served::start(&database.url, "");
    let after = served.get("/incidents.atom").text();
    assert_eq!(entry(&after), entry(&before.text()));
    assert!(after.contains("was down for 1 h") && after.contains("2026-10-01T13:00:02Z"), "{after}");
}

#[test]
fn badges_say_state_uptime_and_p95_and_uptime_says_when_little_was_checked() {
    let Some(database) = database() else { return };
    let well = (0..8).map(|n| ago("docs", n * 10, Outcome::Success));
    let missed = (8..10).map(|n| ago("docs", n * 10, Outcome::Missed));
    store(&database, well.chain(missed));
    let served = Served::start(&database.url, "");
    let svg = served.get("/badges/docs/uptime.svg");
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml; charset=utf-8")));
    assert!(svg.text().contains("uptime 90d: 100\u{a0}% of 80.00\u{a0}% checked"), "{}", svg.text());
    assert_eq!(served.get("/badges/docs/state.json").json()["value"], "up");
    assert_eq!(served.get("/badges/docs/p95.json").json()["value"], "1.3 ms");
    for nothing in ["/badges/docs/uptime.png", "/badges/docs/else.svg", "/badges/none/uptime.svg"] {
        assert_eq!(served.get(nothing).status, 404, "{nothing}");
    }
}

#[test]
fn a_target_of_uptime_is_an_interval_and_maintenance_is_announced() {
    let Some(database) = database() else { return };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let results = (0..100).map(|n| {
        let outcome = match n {
            50 => Outcome::Failure,
            60..70 => Outcome::Missed,
            _ => Outcome::Success,
        };
        let mut result = ago("docs", n, outcome);
        // The clock goes on meanwhile, and two results would have the same instant.
        result.scheduled_at = now - SignedDuration::from_secs(n);
        (result.slo_uptime_ppm, result.slo_window_days) = (Some(950_000), Some(7));
        result.maintenance = vec![webmon::record::MaintenanceWindow {
            schedule: "0 3 * * *".to_owned(),
            timezone: "UTC".to_owned(),
            duration_s: 3_600,
        }];
        result
    });
    store(&database, results);
    let served = Served::start(&database.url, "");
    let site = served.get("/sites/docs.json").json();
    let budget = &site["budget"];
    assert_eq!((&budget["target_percent"], &budget["allowed"]), (&95.0.into(), &5.0.into()), "{budget}");
    assert_eq!(
        (&budget["left_best"], &budget["failure"], &budget["unchecked"]),
        (&0.8.into(), &1.into(), &10.into())
    );
    assert!(budget["left_worst"].as_f64().unwrap() < -1.0, "{budget}");
    assert!(
        served
            .get("/sites/docs")
            .text()
            .contains("at worst, 80.0\u{a0}% left at best</b>, of the 5 failures")
    );
    let ahead = served.get("/index.json").json()["ahead"][0].clone();
    let from: Timestamp = ahead["from_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((from.as_second() % 86_400, &ahead["sites"][0]), (3 * 3_600, &"the site docs".into()));
    assert!(served.get("/").text().contains("Planned maintenance"));
}
