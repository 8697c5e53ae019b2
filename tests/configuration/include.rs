//! `include`: further files, and faults that name their file and line.

use webmon::config::{Config, Role};

use crate::folder::{Folder, KAFKA, keys, named, site};

fn including(patterns: &str, more: &str) -> Folder {
    Folder::new(&format!("include = {patterns}\n{KAFKA}{more}"))
}

#[test]
fn included_files_add_their_sites_windows_and_templates_in_the_order_of_their_names() {
    let folder = including(
        "[\"sites.d/*.toml\", \"one more.toml\", \"sites.d/b*\", \"*.toml\", \"teams/*/sites-?.toml\"]",
        &format!("[site_defaults]\ntimeout = \"3s\"\n{}", site("main")),
    );
    folder.write("sites.d/b.toml", &format!("{}use = \"api\"\n{}", site("b1"), site("b2")));
    folder.write(
        "sites.d/a.toml",
        &format!(
            "[template.api]\nretries = 2\n{}[[maintenance]]\nschedule = \"@daily\"\nduration = \"1h\"\nsites = [\"b2\"]\n",
            site("a")
        ),
    );
    folder.write("sites.d/c.toml.disabled", "= no TOML");
    folder.write("sites.d/.hidden.toml", "= no TOML");
    folder.write("sites.d/folder.toml/x", "");
    folder.write("one more.toml", &site("more"));
    folder.write("teams/web/sites-1.toml", &site("web"));
    folder.write("teams/sites-1.toml", &site("not this one"));
    let config = folder.load();
    assert_eq!(keys(&config), ["main", "more", "a", "b1", "b2", "web"]);
    assert_eq!((named(&config, "b1").retries, named(&config, "b2").retries), (2, 0));
    assert!(config.sites.iter().all(|site| site.timeout.as_secs() == 3));
    assert_eq!(named(&config, "b2").maintenance.len(), 1);
    assert!(named(&config, "a").maintenance.is_empty());
}

#[test]
fn a_pattern_may_match_no_file_and_a_name_may_not() {
    let folder = including("[\"sites.d/*.toml\", \"absent/*.toml\"]", "");
    assert!(folder.load().sites.is_empty());
    let folder =
        including("[\"sites.d/*.toml\",\n\"more.toml\", \"sites.d\", \"**/*.toml\", 5, \"{a,b}\"]", "");
    folder.write("sites.d/a.toml", &site("a"));
    assert_eq!(
        folder.faults(),
        [
            "config.toml:2: include[1] \"more.toml\" cannot be read: No such file or directory (os error 2)",
            "config.toml:2: include[2] \"sites.d\" is not a file",
            "config.toml:2: include[3] \"**/*.toml\" has \"**\": expected no wildcards but \"*\" and \"?\"",
            "config.toml:2: include[4] 5 is not a text",
            "config.toml:2: include[5] \"{a,b}\" has \"{\": expected no wildcards but \"*\" and \"?\"",
        ]
    );
}

#[test]
fn faults_of_all_files_are_told_at_once_each_with_its_file_and_line() {
    let folder =
        including("[\"*.d/*.toml\"]", &format!("[template.api]\n{}\n\n\ntimeout = \"0s\"\n", site("main")));
    folder.write("a.d/1.toml", &format!("# no fault\n{}", site("fine")));
    folder.write(
        "a.d/2.toml",
        &format!(
            "{}\nexpect.header.\"x y\" = 5\n# {}\n[[site]]\nname = \"b\"\nurl = \"https://b/\"\n[[site]]\n# twice\nname = \"fine\"\n\
             url = \"https://b/\"\nschedule = \"@hourly\"\n[template.api]\n",
            site("a"),
            "x".repeat(1_000)
        ),
    );
    folder.write("a.d/3.toml", "[[site]]\nname = \"half\nurl = \"https://secret@h/\"\n");
    folder.write(
        "b.d/1.toml",
        "include = [\"x.toml\"]\n[kafka]\nbrokers = []\n[[discover]]\nfile = \"x\"\n[zzz]\n",
    );
    std::fs::write(folder.path("b.d/2.toml"), b"[[site]]\n# \xff\n").unwrap();
    folder.write("b.d/3.toml", "site = 5\ntemplate = 5\n[[maintenance]]\nschedule = \"@daily\"\n");
    let only = "cannot be in an included file: expected one of maintenance, site, template";
    assert_eq!(
        folder.faults(),
        [
            "a.d/3.toml:2: is not TOML: line 2, column 13: invalid basic string".to_owned(),
            "b.d/2.toml:2: is not TOML: line 2 is not UTF-8".to_owned(),
            "a.d/2.toml:16: template.api is in config.toml already: expected another name".to_owned(),
            "b.d/3.toml:2: template 5 is not a table".to_owned(),
            "b.d/3.toml:1: site 5 is not an array of tables".to_owned(),
            "config.toml:11: site[0] \"main\": timeout \"0s\" is out of range: expected 1ms to 10m".to_owned(),
            "a.d/2.toml:6: site[0] \"a\": expect.header.\"x y\" is not a header's name: expected letters, digits or \"-\""
                .to_owned(),
            "a.d/2.toml:8: site[1] \"b\": schedule is missing: expected a cron expression, here or in site_defaults"
                .to_owned(),
            "a.d/2.toml:11: site[2] \"fine\": has the key \"fine\" of site[0] in a.d/1.toml: expected another name, or an id"
                .to_owned(),
            "b.d/3.toml:3: maintenance[0]: duration is missing: expected how long it lasts, such as \"2h\"".to_owned(),
            format!("b.d/1.toml:4: discover {only}"),
            format!("b.d/1.toml:1: include {only}"),
            format!("b.d/1.toml:2: kafka {only}"),
            format!("b.d/1.toml:6: zzz {only}"),
        ]
    );
}

#[test]
fn a_fault_in_a_template_of_another_file_names_that_file() {
    let folder = including("[\"*.d/*.toml\"]", &format!("{}use = \"api\"\n", site("main")));
    folder.write("a.d/1.toml", "# comment\n[template.api]\nexpect.body = \"(\"\nexpect.zzz = 1\n");
    let faults = folder.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("a.d/1.toml:3: template.api.expect.body "), "{faults:?}");
    assert!(faults[1].starts_with("a.d/1.toml:4: template.api.expect.zzz is unknown"), "{faults:?}");
}

#[test]
fn variables_are_filled_in_in_included_files_as_well() {
    let folder = including("[\"*.d/*.toml\"]", "");
    folder.write("a.d/1.toml", &format!("{}headers.X = \"${{A}} ${{B}}\"\n", site("a")));
    let config = folder.load_with(&[("A", "1"), ("B", "2")]).unwrap();
    assert_eq!(config.sites[0].headers[0].1, "1 2");
    let faults = folder.faults_with(&[("A", "1")]);
    assert!(
        faults[0].starts_with("a.d/1.toml:5: site[0] \"a\": headers.X names the variable B, "),
        "{faults:?}"
    );
}

#[test]
fn files_are_bounded_in_number_and_in_bytes_together() {
    let folder = including("[\"sites.d/*.toml\"]", "");
    for n in 0..4_097 {
        folder.write(&format!("sites.d/{n}.toml"), "");
    }
    assert_eq!(
        folder.faults(),
        [
            "config.toml:1: include[0] \"sites.d/*.toml\" is one too many: there are 4097 files, expected at most 4096"
        ]
    );
    std::fs::remove_file(folder.path("sites.d/0.toml")).unwrap();
    assert!(folder.load().sites.is_empty());

    let folder = including("[\"sites.d/*.toml\"]", "");
    // Holes take no room on the disk.
    for n in 0..3 {
        folder.write(&format!("sites.d/{n}.toml"), "");
        std::fs::File::create(folder.path(&format!("sites.d/{n}.toml"))).unwrap().set_len(100 << 20).unwrap();
    }
    let faults = folder.faults();
    let large = "sites.d/2.toml: cannot be read: all files together are larger than 268435456 bytes";
    assert!(faults.contains(&large.to_owned()), "{faults:?}");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let folder = including("[\"sites.d/*.toml\", \"pipe\"]", "");
    folder.write("sites.d/a.toml", &site("a"));
    for name in ["sites.d/pipe.toml", "pipe"] {
        assert!(std::process::Command::new("mkfifo").arg(folder.path(name)).status().unwrap().success());
    }
    assert_eq!(folder.faults(), ["config.toml:1: include[1] \"pipe\" is not a file"]);
}

#[test]
fn a_file_that_must_not_be_read_is_a_fault_and_no_empty_file() {
    let folder = including("[\"a.toml\"]", "");
    std::os::unix::fs::symlink("/proc/self/mem", folder.path("a.toml")).unwrap();
    let faults = folder.faults();
    assert!(faults[0].starts_with("a.toml: cannot be read: "), "{faults:?}");
}

#[test]
fn the_other_program_reads_the_same_files() {
    let folder = including("[\"*.d/*.toml\"]", "postgres.url = \"postgres://h/d\"\n");
    folder.write("a.d/1.toml", &site("a"));
    let config = Config::load_with(&folder.path("config.toml"), [], Role::Store).unwrap();
    assert_eq!(keys(&config), ["a"]);
}
