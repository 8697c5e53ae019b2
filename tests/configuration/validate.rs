//! What `validate` says, for people and for programs; and what needs no Kafka.

use serde_json::{Value, json};

use crate::folder::{Folder, KAFKA, site};
use crate::sites::{Server, response};

#[track_caller]
fn json_of(folder: &Folder, code: i32) -> Value {
    let output = folder.check(&["validate", "--json"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(code), 0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const NO_KAFKA: &str = "webmon-check: kafka.brokers is missing: \"run\" needs it\n";

#[test]
fn only_run_needs_kafka() {
    let server = Server::answering(response("200 OK", &["connection: close"], b"fine"));
    let folder = Folder::new(&format!(
        "check.location = \"here\"\n[[site]]\nname = \"shop\"\nurl = {:?}\nschedule = \"@every 1m\"\n",
        server.url("/")
    ));
    std::fs::create_dir(folder.path("webmon-spool")).unwrap();
    for (arguments, said) in [
        (&["validate"][..], NO_KAFKA),
        (&["once"], ""),
        (&["schedule", "shop"], ""),
        (&["spool", "status"], ""),
        (&["spool", "dump"], ""),
    ] {
        let output = folder.check(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.as_str()), (Some(0), said), "{arguments:?}");
    }
    assert_eq!(server.accepted(), 1);
    let output = folder.check(&["run"]);
    let error = String::from_utf8(output.stderr).unwrap();
    let missing = "config.toml: kafka.brokers is missing: expected an array such as [\"127.0.0.1:9092\"]";
    assert_eq!((output.status.code(), error.trim()), (Some(2), format!("webmon-check: {missing}").as_str()));
    // What is there must be right all the same.
    folder.write("config.toml", &format!("kafka.brokers = [\"h\"]\n{}", site("shop")));
    assert_eq!(folder.check(&["validate"]).status.code(), Some(2));
}

#[test]
fn disabled_sites_are_counted_and_not_checked() {
    let server = Server::answering(response("200 OK", &["connection: close"], b"fine"));
    let one = |name: &str| {
        format!("[[site]]\nname = {name:?}\nurl = {:?}\nschedule = \"@every 1m\"\n", server.url("/"))
    };
    let folder = Folder::new(&format!("{KAFKA}{}{}enabled = false\n", one("on"), one("off")));
    let output = folder.check(&["validate"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "config.toml: 2 sites, 1 of them disabled\n");
    assert_eq!(folder.check(&["once"]).status.code(), Some(0));
    assert_eq!(server.accepted(), 1);
    let output = folder.check(&["schedule", "off"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.trim()), (Some(1), "webmon-check: site \"off\" is disabled"));
}

#[test]
fn a_valid_configuration_is_told_to_programs() {
    let folder = Folder::new(&format!("{KAFKA}{}{}enabled = false\n", site("a"), site("b")));
    let expected = json!({
        "valid": true, "file": "config.toml", "sites": 2, "disabled": 1, "warnings": [], "faults": []
    });
    assert_eq!(json_of(&folder, 0), expected);
    folder.write(
        "config.toml",
        &format!(
            "check.spool = false\ncheck.threads = 1\nsite_defaults.timeout = \"59s\"\n{}{}",
            site("a"),
            site("b")
        ),
    );
    let told = json_of(&folder, 0);
    let warnings: Vec<&str> =
        told["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 3, "{told}");
    for (warning, start) in
        warnings.iter().zip(["kafka.brokers is missing", "check.spool is off", "check.threads are too few"])
    {
        assert!(warning.starts_with(start), "{warning}");
    }
    folder.write("config.toml", &format!("{KAFKA}site_defaults.enabled = false\n{}", site("a")));
    assert_eq!(json_of(&folder, 0)["warnings"], json!(["no site is checked"]));
}

#[test]
fn every_fault_is_told_to_programs_with_file_line_and_key() {
    let folder = Folder::new(&format!("include = [\"*.d/*.toml\"]\n{KAFKA}{}timeout = 5\n", site("a")));
    folder.write("a.d/1.toml", "\n= broken");
    folder.write("a.d/2.toml", "\n[[site]]\nname = \"b\"\nschedule = \"@hourly\"\n");
    let expected = json!({
        "valid": false, "file": "config.toml", "sites": null, "disabled": null, "warnings": [],
        "faults": [
            {"file": "a.d/1.toml", "line": 2, "key": null, "problem": "is not TOML: line 2, column 1: invalid key"},
            {"file": "config.toml", "line": 7, "key": "site[0] \"a\": timeout",
             "problem": "5 is not a duration: expected one such as \"10s\", 1ms to 10m"},
            {"file": "a.d/2.toml", "line": 2, "key": "site[0] \"b\": url",
             "problem": "is missing: expected an http or https URL"},
        ]
    });
    assert_eq!(json_of(&folder, 2), expected);
}

#[test]
fn what_is_no_configuration_at_all_is_told_to_programs_too() {
    let folder = Folder::new("a = \n");
    let told = json_of(&folder, 2);
    assert_eq!((&told["faults"][0]["line"], &told["faults"][0]["key"]), (&json!(1), &Value::Null));
    std::fs::remove_file(folder.path("config.toml")).unwrap();
    let expected = json!([{
        "file": "config.toml", "line": null, "key": null, "problem": "cannot be read: No such file or directory (os error 2)"
    }]);
    assert_eq!(json_of(&folder, 2)["faults"], expected);
    // What only setting up shows.
    folder.write("config.toml", &format!("check.ca = \"ca.pem\"\n{KAFKA}{}", site("a")));
    folder.write("ca.pem", "no certificate");
    let told = json_of(&folder, 2);
    let problem = told["faults"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("ca.pem"), "{problem}");
}

#[test]
fn no_variable_is_told_by_a_program() {
    let folder = Folder::new(&format!(
        "{KAFKA}{}timeout = \"${{T}}\"\nexpect.body = \"(${{T}}\"\nexpect.status = [\"${{T}}\"]\n{}",
        site("a").replace("\"@every 1m\"", "\"${T}\""),
        site("a${T}"),
    ));
    for arguments in [&["validate", "--json"][..], &["validate"], &["once"], &["run"]] {
        let output = std::process::Command::new(crate::CHECK)
            .args(arguments)
            .args(["--log-format", "json", "--log-level", "trace"])
            .current_dir(folder.0.path())
            .env_clear()
            .env("T", "hunter2")
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.code() == Some(2) && said.matches("(hidden)").count() == 4, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
