//! `webmon-check init`: what it writes can be used as it is.

use std::process::Output;

use crate::folder::Folder;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, said: &str) {
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.trim()), (Some(code), said), "{}", text(&output.stdout));
}

#[test]
fn what_it_writes_is_valid_for_both_programs() {
    for options in [&["init"][..], &["init", "--full"]] {
        let folder = Folder::new("");
        std::fs::remove_file(folder.path("config.toml")).unwrap();
        let output = folder.check(options);
        assert_ends(&output, 0, "");
        assert!(text(&output.stdout).starts_with("config.toml is written."), "{output:?}");
        let output = folder.check(&["validate"]);
        assert_ends(&output, 0, "");
        assert_eq!(text(&output.stdout), "config.toml: 1 sites\n");
        let path = folder.path("config.toml");
        webmon::config::Config::load_with(&path, [], webmon::config::Role::Store).unwrap();
    }
}

#[test]
fn every_line_of_the_short_one_is_valid_without_its_mark_too() {
    let folder = Folder::new("");
    assert_ends(&folder.check(&["init", "all.toml"]), 0, "");
    let written = std::fs::read_to_string(folder.path("all.toml")).unwrap();
    let uncommented =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    let all: Vec<String> =
        written.lines().map(|line| uncommented(line).unwrap_or_else(|| line.to_owned())).collect();
    assert_ne!(all.join("\n"), written.trim_end());
    folder.write("config.toml", &all.join("\n"));
    let config = folder.load_with(&[("API_TOKEN", "t")]).unwrap();
    assert_eq!((config.sites.len(), config.disabled.len()), (1, 1));
}

#[test]
fn it_replaces_no_file_unless_it_is_forced() {
    let folder = Folder::new("mine");
    for arguments in [&["init"][..], &["init", "config.toml"], &["--config", "config.toml", "init"]] {
        assert_ends(
            &folder.check(arguments),
            1,
            "webmon-check: config.toml exists already: --force replaces it",
        );
        assert_eq!(std::fs::read_to_string(folder.path("config.toml")).unwrap(), "mine");
    }
    assert_ends(&folder.check(&["init", "--force"]), 0, "");
    assert_ne!(std::fs::read_to_string(folder.path("config.toml")).unwrap(), "mine");
    assert_ends(
        &folder.check(&["init", "no/such/folder.toml"]),
        1,
        "webmon-check: cannot write no/such/folder.toml: No such file or directory (os error 2)",
    );
}

#[test]
fn it_prints_instead_of_writing() {
    let folder = Folder::new("mine");
    let output = folder.check(&["init", "--full", "-"]);
    assert_ends(&output, 0, "");
    assert_eq!(text(&output.stdout), include_str!("../../config.toml.example"));
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 1);
}
