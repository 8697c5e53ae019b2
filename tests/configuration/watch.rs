//! Every file that a configuration is read from is watched.

use webmon::config::{Role, Watch};

use crate::folder::{Folder, KAFKA, site};

/// A watch of a folder whose files are `config.toml` with includes, `a.d/1.toml` and `targets/a.json`.
fn watched() -> (Folder, Watch) {
    let folder = Folder::new(&format!(
        "include = [\"a.d/*.toml\"]\n{KAFKA}site_defaults.schedule = \"@hourly\"\n[[discover]]\nfile = \"targets/*.json\"\n"
    ));
    folder.write("a.d/1.toml", &site("one"));
    folder.write("targets/a.json", "[]");
    let mut watch = Watch::new(&folder.path("config.toml"));
    watch.load(Role::Check).unwrap();
    (folder, watch)
}

/// One change is seen once, at the second look.
#[track_caller]
fn assert_changed(watch: &mut Watch, what: &str) {
    let looks: Vec<bool> = (0..5).map(|_| watch.has_changed()).collect();
    assert_eq!(looks, [false, true, false, false, false], "{what}");
}

#[test]
fn a_file_that_comes_goes_or_changes_is_noticed() {
    let (folder, mut watch) = watched();
    assert!(!watch.has_changed() && !watch.has_changed());
    folder.write("a.d/1.toml", &site("changed"));
    assert_changed(&mut watch, "a changed file");
    folder.write("a.d/2.toml", &site("two"));
    assert_changed(&mut watch, "a new file");
    std::fs::remove_file(folder.path("a.d/1.toml")).unwrap();
    assert_changed(&mut watch, "a file that is gone");
    std::fs::rename(folder.path("a.d/2.toml"), folder.path("a.d/3.toml")).unwrap();
    assert_changed(&mut watch, "a file with another name");
    folder.write("targets/a.json", "[ ]");
    assert_changed(&mut watch, "a changed file of targets");
    folder.write("targets/b.json", "[]");
    assert_changed(&mut watch, "a new file of targets");
    folder.write("a.d/not-included.txt", "");
    folder.write("other.toml", "");
    assert!(!watch.has_changed() && !watch.has_changed());
}

#[test]
fn a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed() {
    let (folder, mut watch) = watched();
    let time = std::fs::metadata(folder.path("a.d/1.toml")).unwrap().modified().unwrap();
    folder.write("new", &site("eno"));
    std::fs::File::options().write(true).open(folder.path("new")).unwrap().set_modified(time).unwrap();
    std::fs::rename(folder.path("new"), folder.path("a.d/1.toml")).unwrap();
    assert_changed(&mut watch, "a file of the same size and time");
}

#[test]
fn a_folder_behind_a_link_that_is_replaced_is_noticed() {
    let (folder, _) = watched();
    for (name, site_name) in [("v1", "one"), ("v2", "two")] {
        folder.write(&format!("{name}/1.toml"), &site(site_name));
    }
    std::fs::remove_dir_all(folder.path("a.d")).unwrap();
    std::os::unix::fs::symlink("v1", folder.path("a.d")).unwrap();
    let mut watch = Watch::new(&folder.path("config.toml"));
    watch.load(Role::Check).unwrap();
    // As orchestrators do it.
    std::os::unix::fs::symlink("v2", folder.path("new")).unwrap();
    std::fs::rename(folder.path("new"), folder.path("a.d")).unwrap();
    assert_changed(&mut watch, "another folder");
}

#[test]
fn a_file_with_faults_is_watched_until_it_is_mended() {
    let (folder, mut watch) = watched();
    for broken in ["[[site]]\nname = \"half", "[[site]]\nname = 5\n"] {
        folder.replace("a.d/1.toml", broken);
        assert_changed(&mut watch, "a broken file");
        watch.load(Role::Check).unwrap_err();
        assert!(!watch.has_changed() && !watch.has_changed(), "it is read once");
        folder.replace("a.d/1.toml", &site("one"));
        assert_changed(&mut watch, "a mended file");
        watch.load(Role::Check).unwrap();
    }
}

#[test]
fn files_that_only_a_refused_configuration_names_are_watched() {
    let (folder, mut watch) = watched();
    folder.write("b.toml", "broken");
    folder.replace("config.toml", &format!("include = [\"b.toml\", \"c.toml\"]\n{KAFKA}"));
    assert_changed(&mut watch, "the main file");
    assert_eq!(watch.load(Role::Check).unwrap_err().faults().len(), 2);
    assert!(!watch.has_changed() && !watch.has_changed());
    folder.write("b.toml", &site("b"));
    assert_changed(&mut watch, "one of two");
    assert_eq!(watch.load(Role::Check).unwrap_err().faults().len(), 1);
    assert!(!watch.has_changed() && !watch.has_changed());
    folder.write("c.toml", &site("c"));
    assert_changed(&mut watch, "the other one");
    assert_eq!(watch.load(Role::Check).unwrap().sites.len(), 2);
}

#[test]
fn a_main_file_that_was_broken_or_gone_is_noticed_with_all_that_it_names() {
    let (folder, mut watch) = watched();
    let good = std::fs::read_to_string(folder.path("config.toml")).unwrap();
    folder.replace("config.toml", "broken");
    assert_changed(&mut watch, "a broken file");
    watch.load(Role::Check).unwrap_err();
    assert!(!watch.has_changed() && !watch.has_changed());
    std::fs::remove_file(folder.path("config.toml")).unwrap();
    assert!(!watch.has_changed() && !watch.has_changed(), "a file that is gone has not changed");
    watch.load(Role::Check).unwrap_err();
    folder.write("config.toml", &good);
    assert_changed(&mut watch, "a file that came back");
    watch.load(Role::Check).unwrap();
    folder.write("a.d/2.toml", &site("two"));
    assert_changed(&mut watch, "a new file");
}

#[test]
fn one_file_alone_is_watched_as_ever() {
    let folder = Folder::new("one");
    let mut watch = Watch::new(&folder.path("config.toml"));
    folder.write("config.toml", "another");
    assert_changed(&mut watch, "the file");
}
