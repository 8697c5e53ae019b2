//! What a page shows: which sites, under which names, and how much of each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::overview::{Overview, Reason, SiteNow};
use super::words;
use crate::config::{Page, Show};

/// A site as one page shows it.
pub(super) struct Shown<'a> {
    /// What it is called in addresses: the site's key, or its public name in a form that addresses like.
    pub id: String,
    /// What it is called.
    pub name: &'a str,
    /// What is known of it.
    pub site: &'a SiteNow,
}

/// Why something failed, as far as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct ShownReason {
    /// The class, such as `timeout`.
    pub error_type: String,
    /// The same in words.
    pub words: String,
    /// The reason within the class, such as `nxdomain`. Only on pages that show errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The sites that `page` shows, in the order of their names.
pub(super) fn sites<'a>(page: &'a Page, overview: &'a Overview) -> Vec<Shown<'a>> {
    let shown = |site: &SiteNow| page.of.is_empty() || page.of.contains(&site.facts.key, &site.facts.labels);
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut sites: Vec<Shown> = Vec::new();
    for site in overview.sites.iter().filter(|site| shown(site)) {
        let (mut id, name) = match page.names.get(&site.facts.key) {
            Some(name) => (slug(name), name.as_str()),
            None => (site.facts.key.clone(), site.facts.name.as_str()),
        };
        // Two public names may come to the same.
        let same = taken.entry(id.clone()).or_default();
        *same += 1;
        if *same > 1 {
            id = format!("{id}~{same}");
        }
        sites.push(Shown { id, name, site });
    }
    sites.sort_by(|a, b| (a.name, &a.id).cmp(&(b.name, &b.id)));
    sites
}

/// Why something failed, as far as `page` shows it.
pub(super) fn reason(page: &Page, reason: &Reason) -> ShownReason {
    ShownReason {
        words: words::error(&reason.error_type).to_owned(),
        error_type: reason.error_type.clone(),
        detail: reason.detail.clone().filter(|_| page.show.contains(&Show::Error)),
    }
}

/// A name in lower case, with hyphens for all that is neither a letter nor a digit.
fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_alphanumeric() {
            true => slug.extend(c.to_lowercase()),
            false if slug.ends_with('-') || slug.is_empty() => {}
            false => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "site".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_makes_an_address_that_can_be_read() {
        assert_eq!(slug("Web Shop (EU)"), "web-shop-eu");
        assert_eq!((slug("  Ärzte/Büro "), slug("<>")), ("ärzte-büro".to_owned(), "site".to_owned()));
    }
}
