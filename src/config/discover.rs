//! `[[discover]]`: sites from files of targets, as Prometheus' `file_sd` has them in JSON:
//! `[{"targets": ["https://shop.example/"], "labels": {"team": "web"}}]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Tag, Value};
use serde_json::Value as Json;
use url::Url;

use super::context::Faults;
use super::fault::Fault;
use super::files::{Reader, text};
use super::source::Sources;
use super::table::Table;
use crate::site::redacted;
use crate::text::quoted;

/// The most tables.
const MAX_DISCOVER: usize = 1_000;
/// The most patterns of one table.
const MAX_PATTERNS: usize = 1_000;

/// A site that was found in a file.
pub(super) struct Target {
    /// `[0].targets[2]`, counted within the file.
    pub(super) path: String,
    /// Of the file.
    pub(super) tag: Tag,
    /// The site's table, as if it were written in the configuration.
    pub(super) site: Dict,
}

/// The files that each `[[discover]]` table names.
pub(super) fn files(root: &Table, folder: &Path, reader: &mut Reader) -> Vec<Vec<PathBuf>> {
    let tables = root.tables("discover");
    if tables.len() > MAX_DISCOVER {
        root.fault(format!("discover has {} tables: expected at most {MAX_DISCOVER}", tables.len()));
        return Vec::new();
    }
    let mut all = Vec::with_capacity(tables.len());
    for table in tables {
        if table.get("file").is_none() {
            table.missing("file", "a path such as \"targets/*.json\"");
        }
        let items = table.texts("file", 1, MAX_PATTERNS).unwrap_or_default();
        let files = items.iter().filter_map(|item| item.parse(|text| reader.files(folder, text)));
        // Each once, if two patterns match it.
        let files: BTreeSet<PathBuf> = files.flatten().collect();
        all.push(files.into_iter().collect());
        // Of its templates, that of the list of sites tells.
        let _ = table.get("use");
        table.refuse_unknown();
    }
    all
}

/// The targets in a file, up to `max` and one more.
pub(super) fn targets(
    path: &Path,
    max: usize,
    reader: &mut Reader,
    sources: &mut Sources,
    faults: &mut Faults,
) -> Vec<Target> {
    let shown = path.display().to_string();
    let mut refuse = |line: Option<usize>, path: String, problem: String| {
        faults.push(Fault { line, ..Fault::new(shown.clone(), path, problem) });
    };
    let groups = match reader.read(path).map(text) {
        Err(error) => Err((None, format!("cannot be read: {error}"))),
        Ok(Err(line)) => Err((Some(line), format!("line {line} is not UTF-8"))),
        Ok(Ok(text)) => {
            serde_json::from_str(&text).map_err(|error| (Some(error.line()), format!("is not JSON: {error}")))
        }
    };
    let groups: Vec<Json> = match groups {
        Ok(Json::Array(groups)) => groups,
        Ok(_) => {
            refuse(None, String::new(), format!("is not a list of targets: expected {EXPECTED}"));
            return Vec::new();
        }
        Err((line, problem)) => {
            refuse(line, String::new(), problem);
            return Vec::new();
        }
    };
    let tag = sources.add(path, &shown, None);
    let mut found = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let Json::Object(group) = group else {
            refuse(None, format!("[{i}]"), format!("is not an object: expected {EXPECTED}"));
            continue;
        };
        if let Some(unknown) = group.keys().find(|key| !matches!(key.as_str(), "targets" | "labels")) {
            let unknown = quoted(unknown);
            refuse(
                None,
                format!("[{i}]"),
                format!("has {unknown}: expected only \"targets\" and \"labels\""),
            );
        }
        let labels = labels(group.get("labels")).unwrap_or_else(|problem| {
            refuse(None, format!("[{i}].labels"), problem);
            Dict::new()
        });
        let Some(Json::Array(targets)) = group.get("targets") else {
            refuse(None, format!("[{i}].targets"), "is not a list: expected one of texts".to_owned());
            continue;
        };
        for (j, target) in targets.iter().enumerate() {
            let path = format!("[{i}].targets[{j}]");
            match target.as_str().map(|target| site(target, &labels)) {
                Some(Ok(site)) => found.push(Target { path, tag, site: tagged(site, tag) }),
                // The target is not quoted: it may hold a password.
                Some(Err(problem)) => refuse(None, path, problem),
                None => refuse(None, path, "is not a text: expected a URL".to_owned()),
            }
            if found.len() > max {
                return found;
            }
        }
    }
    found
}

const EXPECTED: &str = "[{\"targets\": [\"https://host/\"], \"labels\": {}}]";

fn labels(labels: Option<&Json>) -> Result<Dict, String> {
    let labels = match labels {
        None | Some(Json::Null) => return Ok(Dict::new()),
        Some(Json::Object(labels)) => labels,
        Some(_) => return Err("is not an object of texts".to_owned()),
    };
    let text = |(key, value): (&String, &Json)| match value {
        Json::String(value) => Ok((key.clone(), value.as_str().into())),
        _ => Err(format!("has {}, which is not a text", quoted(key))),
    };
    labels.iter().map(text).collect()
}

fn site(target: &str, labels: &Dict) -> Result<Dict, String> {
    // As the blackbox exporter has it.
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let has_scheme = target.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme));
    let url = if has_scheme { target.to_owned() } else { format!("http://{target}") };
    let parsed = Url::parse(&url).map_err(|error| format!("is not a URL: {error}"))?;
    let name = ["__name__", "name"].iter().find_map(|key| labels.get(*key));
    let name = name.cloned().unwrap_or_else(|| without_query(parsed).into());
    let kept = labels.iter().filter(|(key, _)| !key.starts_with("__"));
    let kept: Dict = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut site = Dict::from([("name".to_owned(), name), ("url".to_owned(), url.into())]);
    if !kept.is_empty() {
        site.insert("labels".to_owned(), kept.into());
    }
    Ok(site)
}

fn without_query(mut url: Url) -> String {
    url.set_query(None);
    redacted(&url, false)
}

fn tagged(site: Dict, tag: Tag) -> Dict {
    let tagged = |value: Value| match value {
        Value::String(_, text) => Value::String(tag, text),
        Value::Dict(_, dict) => Value::Dict(tag, tagged(dict, tag)),
        value => value,
    };
    site.into_iter().map(|(key, value)| (key, tagged(value))).collect()
}
