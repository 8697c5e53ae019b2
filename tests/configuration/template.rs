//! `[template.NAME]`: defaults by name.

use std::time::Duration;

use crate::folder::{Folder, KAFKA, named, site};

#[test]
fn a_site_takes_its_templates_the_later_one_first_and_then_the_defaults() {
    let folder = Folder::new(&format!(
        "{KAFKA}[site_defaults]\ntimeout = \"1s\"\nretries = 1\nretry_pause = \"1ms\"\nmax_redirects = 1\n\
         labels = {{ a = \"defaults\" }}\n\
         [template.api]\nretries = 2\nretry_pause = \"2ms\"\nmax_redirects = 2\nlabels = {{ b = \"api\" }}\n\
         [template.\"very slow\"]\nretry_pause = \"3ms\"\nmax_redirects = 3\n\
         {}use = \"api\"\n{}use = [\"api\", \"very slow\"]\n{}use = [\"very slow\", \"api\"]\n{}use = [\"api\", \"very slow\"]\n\
         max_redirects = 4\n",
        site("one"),
        site("two"),
        site("turned"),
        site("own"),
    ));
    let config = folder.load();
    for (name, pause, redirects) in [("one", 2, 2), ("two", 3, 3), ("turned", 2, 2), ("own", 3, 4)] {
        let site = named(&config, name);
        assert_eq!(
            (site.timeout.as_secs(), site.retries, site.retry_pause, site.max_redirects),
            (1, 2, Duration::from_millis(pause), redirects),
            "{name}"
        );
        // A table is replaced as a whole.
        assert_eq!(site.labels, [("b".to_owned(), "api".to_owned())].into());
    }
}

#[test]
fn a_template_that_is_not_there_is_a_fault_that_lists_those_that_are() {
    let folder = Folder::new(&format!(
        "{KAFKA}[template.api]\n[template.slow]\n{}use = [\"slow\", \"apy\"]\n{}use = 5\n{}use = []\n",
        site("shop"),
        site("blog"),
        site("wiki"),
    ));
    assert_eq!(
        folder.faults(),
        [
            "config.toml:8: site[0] \"shop\": use[1] \"apy\" is not a template: expected one of api, slow",
            "config.toml:13: site[1] \"blog\": use 5 is not an array: expected 1 to 16 texts",
            "config.toml:18: site[2] \"wiki\": use has 0 entries: expected 1 to 16",
        ]
    );
    let none = Folder::new(&format!("{KAFKA}{}use = \"api\"\n", site("shop")));
    assert_eq!(
        none.faults(),
        ["config.toml:6: site[0] \"shop\": use \"api\" is not a template: there is no [template.api]"]
    );
    let many: String = (0..30).map(|n| format!("[template.t{n:02}]\n")).collect();
    let many = Folder::new(&format!("{KAFKA}{many}{}use = \"api\"\n", site("shop")));
    let faults = many.faults();
    assert!(
        faults[0].contains("expected one of t00, t01, ") && faults[0].ends_with(", t19, …"),
        "{faults:?}"
    );
}

#[test]
fn a_template_must_be_right_even_if_no_site_uses_it() {
    let folder = Folder::new(&format!(
        "{KAFKA}[template.api]\ntimeout = 5\nname = \"x\"\nschedule = \"61 * * * *\"\nenabled = 1\n[template.api.expect]\n\
         body = \"(\"\n{}",
        site("shop")
    ));
    assert_eq!(
        folder.faults(),
        [
            "config.toml:5: template.api.schedule \"61 * * * *\": minute \"61\" is not valid: expected 0-59 with * , - /",
            "config.toml:3: template.api.timeout 5 is not a duration: expected one such as \"10s\", 1ms to 10m",
            "config.toml:8: template.api.expect.body \"(\" is not a regular expression: unclosed group",
            "config.toml:6: template.api.enabled 1 is not a truth value: expected true or false",
            "config.toml:4: template.api.name is unknown: expected one of auth, body, body_file, content_type, degraded, \
             enabled, expect, headers, host, incident, ip, json, keep_query, labels, max_body, max_redirects, method, proxy, resolve, retries, retry_pause, sample, schedule, slo, source, spread, timeout, timezone, tls",
        ]
    );
}

#[test]
fn a_fault_of_a_template_is_told_once_however_many_sites_use_it() {
    let sites: String = (0..100).map(|n| format!("{}use = \"api\"\n", site(&format!("s{n}")))).collect();
    let folder = Folder::new(&format!("{KAFKA}[template.api]\ntimeout = \"0s\"\n{sites}"));
    assert_eq!(
        folder.faults(),
        ["config.toml:3: template.api.timeout \"0s\" is out of range: expected 1ms to 10m"]
    );
}
