//! What programs are told of the JSON is true.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::Value;
use webmon::page;
use webmon::record::{Certificate, ErrorType, Hop, MaintenanceWindow, Outcome, Sample, Try};

use crate::common::{Answer, Served, ago, store};
use crate::support::{Database, database};

const JSON: &str = "accept: application/json";
const ALL: &str =
    "[[page]]\nshow = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\ngroup_by = \"team\"\n";

#[test]
fn the_description_in_the_repository_is_the_types_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let description = format!("{:#}\n", page::open_api("/"));
    if std::env::var("WEBMON_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&path, &description).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == description,
        "docs/openapi.json is out of date: run WEBMON_BLESS=1 cargo test --test page"
    );
}

/// Every value below `value`, itself included.
fn all<'a>(value: &'a Value, each: &mut impl FnMut(&'a Value)) {
    each(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| all(value, each)),
        Value::Array(values) => values.iter().for_each(|value| all(value, each)),
        _ => {}
    }
}

#[test]
fn the_description_leads_nowhere_but_into_itself_and_explains_every_field() {
    let description = page::open_api("/internal");
    assert_eq!(
        (&description["openapi"], &description["servers"][0]["url"]),
        (&"3.1.0".into(), &"/internal".into())
    );
    let mut names = BTreeSet::new();
    all(&description, &mut |value| {
        if let Some(to) = value.get("$ref").and_then(Value::as_str) {
            let found = description.pointer(to.strip_prefix('#').unwrap());
            assert!(found.is_some(), "{to}");
        }
        if let Some(name) = value.get("operationId") {
            assert!(names.insert(name.as_str().unwrap()), "{name} twice");
        }
    });
    for (path, address) in description["paths"].as_object().unwrap() {
        let parameters = address["get"]["parameters"].as_array().unwrap();
        let of_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let named: BTreeSet<String> =
            of_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        let wanted: BTreeSet<String> =
            path.split('/').filter_map(|part| Some(part[..=part.find('}')?].to_owned())).collect();
        assert_eq!(named, wanted, "{path}");
    }
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let text = schema["description"].as_str().unwrap_or_default();
            // Links of rustdoc lead nowhere here.
            assert!(!text.is_empty() && !text.contains("[`"), "{name}.{field}: {schema}");
        }
    }
}

/// What the description says of an answer. What it does not name is no part of it.
struct Described(Value);

impl Described {
    fn of(served: &Served) -> Described {
        let mut description = served.get("/openapi.json").json();
        close(&mut description["components"]["schemas"]);
        Described(description)
    }

    /// The answer to `path` meets what is said of `address`, one of the addresses of the description.
    #[track_caller]
    fn check(&self, address: &str, path: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let mut response = &self.0["paths"][address]["get"]["responses"][&status];
        if let Some(to) = response.get("$ref").and_then(Value::as_str) {
            response = self.0.pointer(&to[1..]).unwrap();
        }
        let media_type = answer.header("content-type").unwrap().split(';').next().unwrap();
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{path}: {status} {media_type} is not described");
        for (header, _) in response["headers"].as_object().into_iter().flatten() {
            assert!(answer.header(&header.to_lowercase()).is_some(), "{path}: {status} lacks {header}");
        }
        if media_type == "application/json" {
            let mut schema = content["schema"].clone();
            schema["components"] = self.0["components"].clone();
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let value = answer.json();
            let faults: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{path}: {faults:#?}\n{value:#}");
        }
    }
}

/// Forbids what is not named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// Sites with all that there can be: failures with hops, tries and samples, two locations, a certificate, a target,
/// maintenance, and changes.
fn fill(database: &Database) {
    let shop = |ago: i64, outcome| {
        let mut result = crate::common::ago("shop", ago, outcome);
        result.labels = [("team".to_owned(), "web".to_owned())].into();
        (result.slo_uptime_ppm, result.slo_window_days) = (Some(999_000), Some(30));
        result.certificate = Some(Certificate {
            sha256: "0a".repeat(32),
            issuer: "CN=Issuing CA".to_owned(),
            subject_names: vec!["shop.example".to_owned()],
            chain_not_after: Some(result.scheduled_at + SignedDuration::from_hours(48)),
        });
        result.cert_not_after = Some(result.scheduled_at + SignedDuration::from_hours(72));
        result.maintenance = vec![MaintenanceWindow {
            schedule: "0 2 * * *".to_owned(),
            timezone: "UTC".to_owned(),
            duration_s: 3_600,
        }];
        result
    };
    let mut results = vec![
        shop(3_000, Outcome::Success),
        ago("docs", 5, Outcome::Success),
        ago("lone", 5, Outcome::Missed),
    ];
    for n in 0..5 {
        let mut here = shop(n * 10, Outcome::Failure);
        here.set_error(ErrorType::ExpectationFailed, Some("status"), Some("words of the server"));
        here.url = "https://shop.example/changed".to_owned();
        here.final_url = Some("https://elsewhere.example/".to_owned());
        here.remote_ip = Some("192.0.2.7".parse().unwrap());
        (here.redirects, here.attempts) = (1, 2);
        here.hops = vec![Hop {
            url: "https://shop.example/old".to_owned(),
            http_status: 301,
            remote_ip: Some("192.0.2.8".parse().unwrap()),
            dns_us: None,
            connect_us: Some(20),
            tls_us: None,
            ttfb_us: Some(900),
        }];
        here.tries = vec![Try {
            outcome: Outcome::Failure,
            error_type: ErrorType::Timeout,
            error_detail: Some("response".to_owned()),
            total_us: Some(7_000),
        }];
        here.sample = Some(Sample {
            headers: vec![("server".to_owned(), "x".to_owned())],
            body: "the body".to_owned(),
        });
        let mut there = here.clone();
        there.location = "there".to_owned();
        results.extend([here, there]);
    }
    store(database, results);
}

#[test]
fn every_answer_is_as_the_description_says_whatever_is_shown() {
    let Some(database) = database() else { return };
    fill(&database);
    for toml in ["", ALL] {
        let served = Served::start(&database.url, toml);
        let described = Described::of(&served);
        let incident = served.get("/sites/shop.json").json()["incident_id"].as_i64().unwrap();
        let mut untried: BTreeSet<&str> =
            described.0["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        for (address, paths) in [
            (
                "/index.json",
                vec!["/index.json".to_owned(), "/index.json?state=down&q=shop&page=7".to_owned()],
            ),
            ("/sites/{id}.json", ["shop", "docs", "lone"].map(|id| format!("/sites/{id}.json")).into()),
            (
                "/incidents.json",
                vec!["/incidents.json".to_owned(), "/incidents.json?before=1764086400000000-17".to_owned()],
            ),
            ("/incidents/{id}.json", vec![format!("/incidents/{incident}.json")]),
            ("/wall.json", vec!["/wall.json".to_owned()]),
            (
                "/badges/{id}/{kind}.json",
                ["state", "uptime", "p95"].map(|kind| format!("/badges/shop/{kind}.json")).into(),
            ),
            ("/openapi.json", vec!["/openapi.json".to_owned()]),
        ] {
            for path in paths {
                let answer = served.get(&path);
                assert_eq!(answer.status, 200, "{path}");
                described.check(address, &path, &answer);
                // The same at the address for people, if JSON is asked for.
                let bare = path.replace("/index.json", "/").replace(".json", "");
                if !address.starts_with("/badges/") && address != "/openapi.json" {
                    let same = served.ask("GET", &bare, &[JSON]);
                    assert_eq!(
                        (same.status, same.header("content-type")),
                        (200, Some("application/json")),
                        "{bare}"
                    );
                    described.check(address, &bare, &same);
                }
                let unchanged = served.ask(
                    "GET",
                    &path,
                    &[&format!("if-none-match: {}", served.get(&path).header("etag").unwrap())],
                );
                assert!(described.0["paths"][address]["get"]["responses"]["304"].is_object());
                assert!([200, 304].contains(&unchanged.status), "{path}");
            }
            untried.remove(address);
        }
        assert!(untried.is_empty(), "not tried: {untried:?}");
    }
    // What is shown of all is really there, so the schemas were tried.
    let site = Served::start(&database.url, ALL).get("/sites/shop.json").json();
    for pointer in [
        "/request",
        "/budget/left_worst",
        "/together/locations/1/outcomes/0",
        "/certificate/names/0",
        "/changes/0/what/0",
        "/results/0/hops/0/url",
        "/results/0/tries/0/reason/detail",
        "/results/0/headers",
        "/results/0/body",
        "/results/0/address",
        "/results/0/message",
        "/incidents/0/to_at",
    ] {
        assert!(site.pointer(pointer).is_some(), "{pointer} is not there: {site:#}");
    }
}

#[test]
fn refusals_are_as_the_description_says() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "");
    let described = Described::of(&served);
    for (address, path) in [
        ("/sites/{id}.json", "/sites/none.json"),
        ("/incidents.json", "/incidents.json?before=x"),
        ("/incidents/{id}.json", "/incidents/7.json"),
        ("/incidents/{id}.json", "/incidents/x.json"),
        ("/badges/{id}/{kind}.json", "/badges/none/state.json"),
        ("/badges/{id}/{kind}.json", "/badges/shop/none.json"),
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 404, "{path}");
        described.check(address, path, &answer);
    }
    let closed = Served::start(
        &database.url,
        "[[page]]\nauth.basic = { username = \"team\", password = \"s3cret\" }\n\
         [[page]]\npath = \"/proxied\"\nauth.header = \"x-user\"\n",
    );
    for path in ["/index.json", "/proxied/index.json"] {
        described.check("/index.json", path, &closed.get(path));
    }
    // Nobody listens there.
    let silent = Served::start("postgres://127.0.0.1:1/webmon?connect_timeout=1", "");
    let answer = silent.get("/index.json");
    assert_eq!(answer.status, 503);
    described.check("/index.json", "/index.json", &answer);
}

#[test]
fn a_page_describes_itself_at_its_own_path() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "[[page]]\npath = \"/a/b\"\n[[page]]\npath = \"/a/b/c\"\n");
    for path in ["/a/b", "/a/b/c"] {
        let description = served.get(&format!("{path}/openapi.json")).json();
        assert_eq!(description, page::open_api(path));
        let server = description["servers"][0]["url"].as_str().unwrap();
        assert_eq!(served.get(&format!("{server}/sites/shop.json")).json()["id"], "shop");
    }
}
