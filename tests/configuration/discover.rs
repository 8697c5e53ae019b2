//! `[[discover]]`: sites from files of targets in Prometheus' JSON.

use webmon::config::MAX_SITES;

use crate::folder::{Folder, KAFKA, keys, named};

fn discovering(more: &str) -> Folder {
    Folder::new(&format!(
        "{KAFKA}[site_defaults]\nschedule = \"@every 1m\"\n[template.api]\nretries = 2\nlabels = {{ from = \"template\" }}\n\
         [[discover]]\nfile = \"targets/*.json\"\nuse = \"api\"\n{more}"
    ))
}

#[test]
fn each_target_becomes_a_site_with_its_labels_and_templates() {
    let folder = discovering("[[discover]]\nfile = [\"more.json\", \"absent/*\"]\n");
    folder.write(
        "targets/a.json",
        r#"[
            {"targets": ["https://u:p@shop.example/x?token=1#f", "b.example", "http://b.example:8080/y", "HTTPS://C.example",
             "d.example/?from=http://x"],
             "labels": {"team": "web", "__meta_x": "dropped", "__param_y": "dropped"}},
            {"targets": ["[::1]:9115"], "labels": {"name": "by name"}},
            {"targets": ["localhost:3000"]},
            {"targets": []}
        ]"#,
    );
    folder.write("targets/b.json", "[]");
    folder.write(
        "more.json",
        r#"[{"targets": ["https://d.example/"], "labels": {"__name__": "d", "name": "not this"}}]"#,
    );
    let config = folder.load();
    let expected = [
        ("https://shop.example/x", "https://u:p@shop.example/x?token=1#f", 2, "team=web"),
        ("http://b.example/", "http://b.example/", 2, "team=web"),
        ("http://b.example:8080/y", "http://b.example:8080/y", 2, "team=web"),
        ("https://c.example/", "https://c.example/", 2, "team=web"),
        ("http://d.example/", "http://d.example/?from=http://x", 2, "team=web"),
        ("by name", "http://[::1]:9115/", 2, "name=by name"),
        ("http://localhost:3000/", "http://localhost:3000/", 2, "from=template"),
        ("d", "https://d.example/", 0, "name=not this"),
    ];
    for (key, url, retries, labels) in expected {
        let site = named(&config, key);
        let shown: Vec<String> = site.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            (site.url.as_str(), site.retries, shown.join(" ").as_str()),
            (url, retries, labels),
            "{key}"
        );
    }
    assert_eq!(config.sites.len(), expected.len(), "{:?}", keys(&config));
}

#[test]
fn a_variable_in_a_target_is_not_filled_in() {
    let folder = discovering("");
    folder.write(
        "targets/a.json",
        r#"[{"targets": ["https://a.example/${HOME}"], "labels": {"x": "${HOME}"}}]"#,
    );
    let config = folder.load_with(&[("HOME", "secret")]).unwrap();
    assert_eq!(config.sites[0].labels["x"], "${HOME}");
    assert_eq!(config.sites[0].url.as_str(), "https://a.example/$%7BHOME%7D");
}

#[test]
fn a_fault_names_the_file_and_the_index_and_shows_no_target() {
    let folder = discovering("[[discover]]\nfile = \"more.json\"\nuse = \"none\"\nzzz = 1\n[[discover]]\n");
    folder.write(
        "targets/a.json",
        r#"[
            {"targets": ["https://a.example/", "https://user:secret@b:999999/", 7], "labels": {"team": 7}},
            {"targets": "https://user:secret@h/", "labels": "secret"},
            "secret",
            {"target": ["secret"]},
            {"targets": ["https://a.example/?x=1", "ftp://a.example"]},
            {"targets": ["http://long"], "labels": {"__name__": "LONG"}}
        ]"#
        .replace("LONG", &"n".repeat(201))
        .as_str(),
    );
    folder.write("targets/b.json", r#"{"targets": ["https://user:secret@h/"]}"#);
    folder.write("targets/c.json", "[\n{\"targets\": [\"https://user:secret@h/\",\n");
    folder.write("targets/d.json", r#"[{"targets": ["https://a.example/"]}]"#);
    folder.write("more.json", r#"[{"targets": ["https://e.example/"]}]"#);
    let faults = folder.faults();
    let n: String = "n".repeat(200);
    assert_eq!(
        faults,
        [
            "config.toml:13: discover[1]: zzz is unknown: expected one of file, use".to_owned(),
            "config.toml:14: discover[2]: file is missing: expected a path such as \"targets/*.json\"".to_owned(),
            "targets/a.json: [0].labels has \"team\", which is not a text".to_owned(),
            "targets/a.json: [0].targets[1] is not a URL: invalid port number".to_owned(),
            "targets/a.json: [0].targets[2] is not a text: expected a URL".to_owned(),
            "targets/a.json: [1].labels is not an object of texts".to_owned(),
            "targets/a.json: [1].targets is not a list: expected one of texts".to_owned(),
            "targets/a.json: [2] is not an object: expected [{\"targets\": [\"https://host/\"], \"labels\": {}}]".to_owned(),
            "targets/a.json: [3] has \"target\": expected only \"targets\" and \"labels\"".to_owned(),
            "targets/a.json: [3].targets is not a list: expected one of texts".to_owned(),
            "targets/b.json: is not a list of targets: expected [{\"targets\": [\"https://host/\"], \"labels\": {}}]".to_owned(),
            "targets/c.json:3: is not JSON: EOF while parsing a value at line 3 column 0".to_owned(),
            "config.toml:12: discover[1]: use \"none\" is not a template: expected one of api".to_owned(),
            "targets/a.json: [4].targets[0] \"https://a.example/\": has the key \"https://a.example/\" of [0].targets[0]: expected \
             another name, or an id"
                .to_owned(),
            "targets/a.json: [4].targets[1] \"ftp://a.example/\": url has the scheme \"ftp\": expected http or https".to_owned(),
            format!("targets/a.json: [5].targets[0] \"{n}\"…: name \"{n}\"… is out of range: expected 1 to 200 characters"),
            "targets/d.json: [0].targets[0] \"https://a.example/\": has the key \"https://a.example/\" of [0].targets[0] in \
             targets/a.json: expected another name, or an id"
                .to_owned(),
        ]
    );
}

#[test]
fn targets_are_bounded_as_sites_are() {
    let folder = discovering("");
    let target = "\"a:1\",".repeat(MAX_SITES + 100);
    folder.write("targets/a.json", &format!("[{{\"targets\": [{}]}}]", target.trim_end_matches(',')));
    assert_eq!(folder.faults(), ["config.toml: there are 200001 sites: expected at most 200000"]);
}
