//! `enabled = false`: a site that is read and not checked.

use crate::folder::{Folder, KAFKA, keys, site};

#[test]
fn a_disabled_site_is_read_and_not_among_those_that_are_checked() {
    let folder = Folder::new(&format!(
        "{KAFKA}[template.off]\nenabled = false\n{}enabled = false\n{}{}use = \"off\"\n{}use = \"off\"\nenabled = true\n\
         [[maintenance]]\nschedule = \"@daily\"\nduration = \"1h\"\nsites = [\"one\"]\n",
        site("one"),
        site("two"),
        site("three"),
        site("four"),
    ));
    let config = folder.load();
    assert_eq!(keys(&config), ["two", "four"]);
    let disabled: Vec<&str> = config.disabled.iter().map(|site| site.key.as_str()).collect();
    assert_eq!(disabled, ["one", "three"]);
}

#[test]
fn all_sites_may_be_disabled_by_default() {
    let folder = Folder::new(&format!("{KAFKA}site_defaults.enabled = false\n{}", site("one")));
    assert!(folder.load().sites.is_empty());
}

#[test]
fn the_faults_of_a_disabled_site_are_told_like_those_of_any() {
    let folder = Folder::new(&format!(
        "{KAFKA}{}enabled = false\ntimeout = 5\n{}{}enabled = \"no\"\n",
        site("one"),
        site("one"),
        site("two")
    ));
    assert_eq!(
        folder.faults(),
        [
            "config.toml:7: site[0] \"one\": timeout 5 is not a duration: expected one such as \"10s\", 1ms to 10m",
            "config.toml:8: site[1] \"one\": has the key \"one\" of site[0]: expected another name, or an id",
            "config.toml:16: site[2] \"two\": enabled \"no\" is not a truth value: expected true or false",
        ]
    );
}
