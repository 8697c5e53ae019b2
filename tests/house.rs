//! The plan of the house: files import in one direction, none is large, and the folders are those of ARCHITECTURE.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// The most lines of a file in src/, without its unit tests.
const MAX_LINES: usize = 400;

/// `src/store/ingest/writer.rs` as `store::ingest::writer`, `src/store/mod.rs` as `store`.
fn module(file: &Path) -> String {
    let names: Vec<&str> = file.iter().filter_map(|name| name.to_str()).collect();
    let path = names.join("::");
    let path = path.strip_suffix(".rs").unwrap_or(&path);
    path.strip_suffix("::mod").unwrap_or(path).to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The text of each module of the library, without comments and unit tests.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let code = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        lines.join("\n")
    };
    files.iter().map(|file| (module(file.strip_prefix(&root).unwrap()), code(file))).collect()
}

/// Every path that `text`, the code of `module`, names within the library, as written out from its root.
fn paths(module: &str, text: &str) -> Vec<String> {
    let path = Regex::new(r"\b((?:crate|super|self)\b(?:::\w+)*)(?:::\{([^{}]*)\})?").unwrap();
    let mut found = Vec::new();
    for part in path.captures_iter(text) {
        let mut names: Vec<&str> = module.split("::").collect();
        for name in part[1].split("::") {
            match name {
                "crate" => names.clear(),
                "super" => drop(names.pop()),
                "self" => {}
                name => names.push(name),
            }
        }
        let base = names.join("::");
        match part.get(2) {
            Some(items) => found.extend(items.as_str().split(',').map(|item| {
                let item = item.split_whitespace().next().unwrap_or_default();
                if item == "self" { base.clone() } else { format!("{base}::{item}") }
            })),
            None => found.push(base),
        }
    }
    found
}

/// What each module re-exports of modules below it: the name, and the path behind it.
fn exports(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeMap<String, String>> {
    let export = Regex::new(r"pub(?:\([\w ]+\))? use (?:self::)?((?:\w+::)*)(?:(\w+)|\{([^}]*)\});").unwrap();
    let of = |module: &String, text: &String| {
        let mut names = BTreeMap::new();
        for found in export.captures_iter(text) {
            let items = found.get(2).or(found.get(3)).map_or("", |items| items.as_str());
            for item in items.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                names.insert(item.to_owned(), format!("{module}::{}{item}", &found[1]));
            }
        }
        (module.clone(), names)
    };
    modules.iter().map(|(module, text)| of(module, text)).collect()
}

/// The module in which what `path` names stands: re-exports are followed.
fn home(path: &str, exports: &BTreeMap<String, BTreeMap<String, String>>) -> Option<String> {
    let mut path = path.trim_start_matches("::").to_owned();
    for _ in 0..8 {
        if exports.contains_key(&path) {
            return Some(path);
        }
        let mut module = path.as_str();
        let item = loop {
            let (rest, item) = module.rsplit_once("::")?;
            module = rest;
            if exports.contains_key(module) {
                break item;
            }
        };
        match exports[module].get(item) {
            Some(behind) if *behind != path => path = behind.clone(),
            _ => return Some(module.to_owned()),
        }
    }
    None
}

fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let own = Regex::new(r"(?m)^\s*pub(?:\([\w ]+\))? use [^;]*;").unwrap();
    let visibility = Regex::new(r"pub\([^)]*\)").unwrap();
    let exports = exports(modules);
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in modules {
        // What a room's door re-exports is behind it, not before it; and a visibility imports nothing.
        let text = own.replace_all(text, "");
        let all = paths(module, &visibility.replace_all(&text, "pub "));
        let all = all.into_iter().filter_map(|path| home(&path, &exports));
        imports.entry(module.clone()).or_default().extend(all.filter(|home| home != module));
    }
    imports
}

/// A way from `from` back to itself.
fn circle(from: &str, imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in &imports[way.last()?] {
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push(way.iter().cloned().chain([next.clone()]).collect());
            }
        }
    }
    None
}

#[test]
fn no_two_files_import_each_other() {
    let modules = modules();
    let imports = imports(&modules);
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 300, "the test is blind");
    assert!(imports["site::sentinel"].is_empty() && imports["store"].is_empty(), "doors import nothing");
    let circles: Vec<String> =
        imports.keys().filter_map(|module| circle(module, &imports)).map(|way| way.join(" -> ")).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn the_checking_and_the_storing_side_know_nothing_of_each_other() {
    let checking = ["check", "monitor", "outbox"];
    let storing = ["alerts", "database", "jobs", "page", "store", "upkeep"];
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    for (module, homes) in imports(&modules()) {
        for home in homes {
            let (from, to) = (room(&module), room(&home));
            let across = checking.contains(&from.as_str()) && storing.contains(&to.as_str())
                || storing.contains(&from.as_str()) && checking.contains(&to.as_str());
            assert!(!across, "{module} imports {home}");
            let upwards = match from.as_str() {
                "database" => ["jobs", "store", "upkeep", "kafka", "record"].contains(&to.as_str()),
                "jobs" => ["store", "upkeep", "kafka", "record"].contains(&to.as_str()),
                "store" => ["jobs", "upkeep"].contains(&to.as_str()),
                "page" => ["alerts", "jobs", "kafka", "store", "upkeep"].contains(&to.as_str()),
                "record" => !["record", "limits", "text"].contains(&to.as_str()),
                _ => false,
            };
            assert!(!upwards, "{module} imports {home}");
            assert!(to != "page" || from == "page", "{module} imports {home}");
        }
    }
}

#[test]
fn a_file_is_small_enough_to_be_read_at_once() {
    let large: Vec<String> = modules()
        .into_iter()
        .map(|(module, text)| (text.lines().count(), module))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, module)| format!("{module}: {lines} lines"))
        .collect();
    assert!(large.is_empty(), "{}", large.join("\n"));
}

#[test]
fn the_architecture_names_every_folder_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let named = Regex::new(r"`src/([\w/]+)(?:/|\.rs)`").unwrap();
    let named: BTreeSet<String> = named.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    let rooms: BTreeSet<String> = std::fs::read_dir(root.join("src"))
        .unwrap()
        .map(|entry| module(Path::new(&entry.unwrap().file_name())))
        .filter(|name| name != "lib")
        .collect();
    let missing: Vec<&String> = rooms.difference(&named).collect();
    assert!(missing.is_empty(), "not in ARCHITECTURE: {missing:?}");
    for name in named {
        let path = root.join("src").join(&name);
        assert!(path.is_dir() || path.with_extension("rs").is_file(), "ARCHITECTURE names {name}");
    }
}
