//! All sites: those of every file, and those that are discovered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use figment::value::{Dict, Value};

use super::context::Context;
use super::discover::Target;
use super::role::Role;
use super::site_defaults::SiteDefaults;
use super::sites::{MAX_SITES, options, site};
use super::table::Table;
use super::template::{Defaults, Templates, check_defaults};
use crate::schedule::Schedules;
use crate::site::{Hidden, Site};

/// All sites of a configuration.
#[derive(Default)]
pub(super) struct SiteList {
    pub(super) enabled: Vec<Arc<Site>>,
    pub(super) disabled: Vec<Arc<Site>>,
    /// The keys of all, as written, also of sites with faults.
    pub(super) keys: HashSet<String>,
}

/// What the sites are made of.
pub(super) struct SiteSources<'a> {
    pub(super) context: &'a Context<'a>,
    /// The main file first.
    pub(super) roots: &'a [Table<'a>],
    /// `[site_defaults]`
    pub(super) defaults: Table<'a>,
    /// What each `[[discover]]` table found.
    pub(super) discovered: &'a [Vec<Target>],
    /// What the variables in a text stand for, by the text with them filled in.
    pub(super) variables: HashMap<String, Vec<String>>,
}

/// A site's table with its defaults, and the place that faults name.
struct Listed<'a> {
    table: Table<'a>,
    place: String,
}

impl SiteSources<'_> {
    pub(super) fn list(&self, role: Role) -> SiteList {
        let mut schedules = Schedules::default();
        // The defaults must be known and right even if every site overrides them.
        check_defaults(&self.defaults, &mut schedules);
        let templates = Templates::new(self.roots, &mut schedules);
        let Some(root) = self.roots.first() else { return SiteList::default() };
        let tables = self.tables(root, &templates);
        // Of a file or a folder of sites there may be none today.
        let has_others = ["include", "discover"].iter().any(|key| root.raw().contains_key(*key));
        let is_empty = root
            .raw()
            .get("site")
            .is_none_or(|site| matches!(site, Value::Array(_, sites) if sites.is_empty()));
        if is_empty && !has_others && matches!(role, Role::Check | Role::Inspect) {
            root.missing("site", "at least one [[site]] table");
        }
        if tables.len() > MAX_SITES {
            root.fault(format!("there are {} sites: expected at most {MAX_SITES}", tables.len()));
            return SiteList::default();
        }
        let mut list = SiteList::default();
        let mut first_of_key: BTreeMap<String, (String, &str)> = BTreeMap::new();
        for Listed { table, place } in tables {
            let written = ["id", "name"].into_iter().find_map(|key| table.raw().get(key));
            list.keys.extend(written.and_then(Value::as_str).map(str::to_owned));
            let site = site(&table, &mut schedules);
            let enabled = table.bool("enabled").unwrap_or(true);
            table.refuse_unknown();
            let Some(mut site) = site else { continue };
            site.hidden = self.hidden(&site, &table);
            match first_of_key.get(&site.key) {
                Some((first, file)) => {
                    let key = if table.raw().contains_key("id") { "id" } else { "name" };
                    let key = table.shown(key, &site.key);
                    let of = if *file == table.file_name() { String::new() } else { format!(" in {file}") };
                    table.fault(format!("has the key {key} of {first}{of}: expected another name, or an id"));
                }
                None => drop(first_of_key.insert(site.key.clone(), (place, table.file_name()))),
            }
            if enabled { &mut list.enabled } else { &mut list.disabled }.push(Arc::new(site));
        }
        list
    }

    /// What a URL is checked with that no table lists.
    pub(super) fn site_defaults(&self) -> SiteDefaults {
        let texts = self.texts_of(self.defaults.raw());
        SiteDefaults::new(options(&self.defaults), texts)
    }

    fn tables<'t>(&'t self, root: &Table<'t>, templates: &'t Templates<'t>) -> Vec<Listed<'t>> {
        let beneath = ("site_defaults", self.defaults.raw());
        let all = |mut defaults: Defaults<'t>| {
            defaults.push(beneath);
            defaults
        };
        let mut listed = Vec::new();
        for table in self.roots.iter().flat_map(|root| root.tables("site")) {
            let mut site = self.listed(table);
            let defaults = templates.used(&site.table);
            site.table = site.table.with_defaults(all(defaults));
            listed.push(site);
        }
        for (table, targets) in root.tables("discover").iter().zip(self.discovered) {
            let defaults = all(templates.used(table));
            for Target { path, tag, site } in targets {
                let mut site = self.listed(Table::entry(self.context, path.clone(), *tag, site));
                site.table = site.table.with_defaults(defaults.clone());
                listed.push(site);
            }
        }
        listed
    }

    fn listed<'t>(&self, table: Table<'t>) -> Listed<'t> {
        let place = table.path().to_owned();
        let name = table.raw().get("name").filter(|name| !self.context.is_filled(name.tag()));
        let table = match name.and_then(Value::as_str) {
            Some(name) => table.named(name),
            None => table,
        };
        Listed { table, place }
    }

    /// What no record of the site shows.
    fn hidden(&self, site: &Site, table: &Table) -> Hidden {
        if self.variables.is_empty() {
            return Hidden::default();
        }
        let values = table.raw().get("url").and_then(Value::as_str).and_then(|url| self.variables.get(url));
        let texts = std::iter::once(table.raw()).chain(table.defaults()).flat_map(|dict| self.texts_of(dict));
        Hidden::new(&site.url, values.map_or(&[], Vec::as_slice), texts.collect())
    }

    /// The texts of a table into which variables were filled.
    fn texts_of(&self, dict: &Dict) -> Vec<String> {
        let mut texts = Vec::new();
        for (key, value) in dict {
            // These name the site, and are there to be shown.
            if !matches!(key.as_str(), "name" | "id" | "labels" | "url") {
                self.texts(value, &mut texts);
            }
        }
        texts
    }

    fn texts(&self, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(tag, text) if self.context.is_filled(*tag) => found.push(text.clone()),
            Value::Dict(_, dict) => dict.values().for_each(|value| self.texts(value, found)),
            Value::Array(_, values) => values.iter().for_each(|value| self.texts(value, found)),
            _ => {}
        }
    }
}
