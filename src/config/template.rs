//! `[template.NAME]`: defaults by name, which a site takes with `use`.

use std::collections::BTreeMap;

use figment::value::Dict;

use super::key::show_key;
use super::sites::{options, schedule};
use super::table::Table;
use crate::schedule::Schedules;

/// The most templates.
const MAX_TEMPLATES: usize = 10_000;
/// The most templates of one site.
const MAX_USED: usize = 16;
/// How many names a message lists.
const LISTED: usize = 20;

/// What a table takes from defaults: the path of each table of defaults, and the table. The first that has a key counts.
pub(super) type Defaults<'a> = Vec<(&'a str, &'a Dict)>;

/// The templates of all files.
pub(super) struct Templates<'a>(BTreeMap<&'a str, Template<'a>>);

struct Template<'a> {
    path: String,
    dict: &'a Dict,
    file: &'a str,
}

impl<'a> Templates<'a> {
    /// Takes the templates of every file. Each must be right, even if no site uses it.
    pub(super) fn new(roots: &[Table<'a>], schedules: &mut Schedules) -> Templates<'a> {
        let mut templates: BTreeMap<&str, Template> = BTreeMap::new();
        for root in roots {
            for (name, entry) in root.entries("template", MAX_TEMPLATES).unwrap_or_default() {
                let Some(table) = Table::of(entry) else { continue };
                check_defaults(&table, schedules);
                if let Some(first) = templates.get(name) {
                    table.fault(format!("is in {} already: expected another name", first.file));
                } else if templates.len() == MAX_TEMPLATES {
                    table.fault(format!("is one template too many: expected at most {MAX_TEMPLATES}"));
                    break;
                } else {
                    let path = format!("template.{}", show_key(name));
                    templates.insert(name, Template { path, dict: table.raw(), file: table.file_name() });
                }
            }
        }
        Templates(templates)
    }

    /// The templates that the key `use` of `table` names: the last one first, because it wins.
    pub(super) fn used<'t>(&'t self, table: &Table<'a>) -> Defaults<'t> {
        let items = table.texts("use", 1, MAX_USED).unwrap_or_default();
        let named = items.iter().rev().filter_map(|item| item.parse(|name| self.named(name)));
        named.map(|template| (template.path.as_str(), template.dict)).collect()
    }

    fn named(&self, name: &str) -> Result<&Template<'a>, String> {
        self.0.get(name).ok_or_else(|| {
            let mut names: Vec<&str> = self.0.keys().copied().take(LISTED + 1).collect();
            match names.as_slice() {
                [] => {
                    return format!("{name:?} is not a template: there is no [template.{}]", show_key(name));
                }
                [..] if names.len() > LISTED => {
                    names.truncate(LISTED);
                    names.push("…");
                }
                _ => {}
            }
            format!("{name:?} is not a template: expected one of {}", names.join(", "))
        })
    }
}

/// Reads defaults for their faults alone.
pub(super) fn check_defaults(defaults: &Table, schedules: &mut Schedules) {
    let _ = (
        schedule(defaults, None, |expression, timezone| schedules.get(expression, timezone)),
        options(defaults),
        defaults.bool("enabled"),
    );
    defaults.refuse_unknown();
}
