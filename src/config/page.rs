//! `[[page]]`: a status page. What it shows is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use super::credentials::secret;
use super::route::{Selection, selection};
use super::table::Table;
use crate::limits::MAX_TEXT;
use crate::secret::Secret;

/// The most pages.
const MAX_PAGES: usize = 100;
/// The most public names.
const MAX_NAMES: usize = 10_000;
/// What a page has below it.
const TAKEN: [&str; 11] = [
    "sites",
    "incidents",
    "badges",
    "wall",
    "logo",
    "index.json",
    "wall.json",
    "incidents.json",
    "incidents.atom",
    "icon.svg",
    "openapi.json",
];
/// The largest logo, in bytes.
const MAX_LOGO: u64 = 256 * 1024;
/// The longest footer, in characters.
const MAX_FOOTER: usize = 1_000;

/// What a page shows only if it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Show {
    /// The URLs of sites, and those that redirects led to.
    Url,
    /// The addresses of servers.
    Address,
    /// What went wrong in detail and in words. Without it only the class is shown, such as `timeout`.
    Error,
    /// The headers of the samples of failing answers.
    Headers,
    /// The bodies of the samples of failing answers.
    Body,
}

impl Show {
    /// All of them.
    pub const ALL: [Show; 5] = [Show::Url, Show::Address, Show::Error, Show::Headers, Show::Body];

    fn word(self) -> &'static str {
        match self {
            Show::Url => "url",
            Show::Address => "address",
            Show::Error => "error",
            Show::Headers => "headers",
            Show::Body => "body",
        }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Show {
    type Err = String;

    fn from_str(text: &str) -> Result<Show, String> {
        Show::ALL.into_iter().find(|show| show.word() == text).ok_or_else(|| {
            let words = Show::ALL.map(Show::word).join(", ");
            format!("{text:?} is not something to show: expected {words}")
        })
    }
}

/// Who may see a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageAuth {
    /// Whoever knows the name and the password.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Whoever a proxy of `web.proxies` names in this header.
    Header(String),
}

/// A picture that stands beside the title.
#[derive(Clone, PartialEq, Eq)]
pub struct Logo {
    /// `image/svg+xml`, `image/png`, `image/jpeg` or `image/webp`.
    pub media_type: &'static str,
    /// The file's bytes, at most 256 KiB.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logo({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

/// `[[page]]`: a status page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where it begins: `/`, or a path such as `/internal`. Default `/`.
    pub path: String,
    /// The name of the host that it answers to, in lower case and without a port. Default: every name.
    pub host: Option<String>,
    /// The title. Default `Status`.
    pub title: String,
    /// A picture beside the title.
    pub logo: Option<Logo>,
    /// The colour of links and of what has the focus, such as `#0a6`.
    pub accent: Option<String>,
    /// A text at the end of each page.
    pub footer: Option<String>,
    /// The time zone of the times that it shows. Default UTC. Days are always UTC days.
    pub timezone: TimeZone,
    /// The sites that it shows. If it is empty, all sites.
    pub of: Selection,
    /// The label whose values are the groups. Default: no groups.
    pub group_by: Option<String>,
    /// Public names, by the keys of sites. A site with a public name has it in its addresses, too.
    pub names: BTreeMap<String, String>,
    /// What it shows only if it is asked to. Default nothing.
    pub show: BTreeSet<Show>,
    /// Who may see it. Default everybody.
    pub auth: Option<PageAuth>,
}

impl Default for Page {
    fn default() -> Page {
        Page {
            path: "/".to_owned(),
            host: None,
            title: "Status".to_owned(),
            logo: None,
            accent: None,
            footer: None,
            timezone: TimeZone::UTC,
            of: Selection::default(),
            group_by: None,
            names: BTreeMap::new(),
            show: BTreeSet::new(),
            auth: None,
        }
    }
}

/// The pages of the main file. Without any: one of all sites.
pub(super) fn pages(root: &Table) -> Vec<Page> {
    let tables = root.tables("page");
    if tables.len() > MAX_PAGES {
        root.fault(format!("page has {} tables: expected at most {MAX_PAGES}", tables.len()));
        return Vec::new();
    }
    if tables.is_empty() {
        return vec![Page::default()];
    }
    let mut taken = BTreeSet::new();
    let page = |table: &Table| {
        let page = page(table);
        if !taken.insert((page.host.clone(), page.path.clone())) {
            table.fault("has the host and path of an earlier page: expected another path or host".to_owned());
        }
        page
    };
    tables.iter().map(page).collect()
}

fn page(table: &Table) -> Page {
    let default = Page::default();
    let text = |key, max| table.text(key, max);
    let show = table.list("show", 0, Show::ALL.len());
    let page = Page {
        path: path(table).unwrap_or(default.path),
        host: host(table),
        title: text("title", MAX_TEXT).unwrap_or(default.title),
        logo: logo(table),
        accent: accent(table),
        footer: text("footer", MAX_FOOTER),
        timezone: timezone(table).unwrap_or(default.timezone),
        of: selection(table),
        group_by: text("group_by", MAX_TEXT),
        names: names(table),
        show: show.unwrap_or_default().iter().filter_map(|item| item.parse(str::parse)).collect(),
        auth: secret_table(table, "auth").and_then(|table| auth(&table)),
    };
    table.refuse_unknown();
    page
}

fn path(table: &Table) -> Option<String> {
    let entry = table.get("path")?;
    let path = entry.text(MAX_TEXT)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    let segments =
        path.strip_prefix('/').map(|rest| rest.trim_end_matches('/').split('/').collect::<Vec<_>>());
    match segments {
        Some(segments) if segments == [""] => Some("/".to_owned()),
        // Wherever it stands: a page at "/internal" has them below it, too.
        Some(segments) if segments.iter().any(|segment| TAKEN.contains(segment)) => entry.refuse(
            format_args!("{path:?} is where another page has something: expected one such as \"/internal\""),
        ),
        Some(segments)
            if segments.iter().all(|segment| {
                !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(plain)
            }) =>
        {
            Some(format!("/{}", segments.join("/")))
        }
        _ => entry.refuse(format_args!("{path:?} is not a path: expected one such as \"/internal\"")),
    }
}

fn host(table: &Table) -> Option<String> {
    let entry = table.get("host")?;
    let host = entry.text(253)?.to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !host.chars().all(plain) {
        return entry.refuse(format_args!(
            "{host:?} is not the name of a host: expected one such as \"status.example\""
        ));
    }
    Some(host)
}

fn accent(table: &Table) -> Option<String> {
    let entry = table.get("accent")?;
    let colour = entry.text(7)?;
    let digits = colour.strip_prefix('#').filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
    match digits.map(str::len) {
        Some(3 | 6) => Some(colour),
        _ => entry.refuse(format_args!("{colour:?} is not a colour: expected one such as \"#0a6\"")),
    }
}

fn timezone(table: &Table) -> Option<TimeZone> {
    let entry = table.get("timezone")?;
    let name = entry.text(MAX_TEXT)?;
    match TimeZone::get(&name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            entry.refuse(format_args!("{name:?} is not a time zone: expected one such as \"Europe/Berlin\""))
        }
    }
}

fn logo(table: &Table) -> Option<Logo> {
    let entry = table.get("logo")?;
    let path = entry.file()?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let media_type = match ending.as_str() {
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        _ => {
            let path = path.display().to_string();
            return entry.refuse(format_args!(
                "{path:?} is not a picture: expected a file that ends in .svg, .png, .jpg or .webp"
            ));
        }
    };
    let size = std::fs::metadata(&path).map(|file| file.len());
    match size.and_then(|size| if size > MAX_LOGO { Ok(None) } else { std::fs::read(&path).map(Some) }) {
        Ok(Some(bytes)) => Some(Logo { media_type, bytes }),
        Ok(None) => entry.refuse(format_args!("has more than {MAX_LOGO} bytes")),
        Err(error) => entry.refuse(format_args!("{:?} cannot be read: {error}", path.display().to_string())),
    }
}

fn names(table: &Table) -> BTreeMap<String, String> {
    let entries = table.entries("names", MAX_NAMES).unwrap_or_default();
    entries.into_iter().filter_map(|(key, entry)| Some((key.to_owned(), entry.text(MAX_TEXT)?))).collect()
}

/// The table `key`. What stands there instead may be a password.
fn secret_table<'a>(table: &Table<'a>, key: &'static str) -> Option<Table<'a>> {
    Table::of(table.get(key)?.hidden())
}

fn auth(table: &Table) -> Option<PageAuth> {
    let (has_basic, has_header) = (table.raw().contains_key("basic"), table.raw().contains_key("header"));
    let auth = match (secret_table(table, "basic"), table.get("header")) {
        (Some(basic), None) => self::basic(&basic),
        (None, Some(entry)) => entry.text(MAX_TEXT).and_then(|name| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            match name.chars().all(plain) {
                true => Some(PageAuth::Header(name.to_ascii_lowercase())),
                false => entry.refuse(format_args!(
                    "{name:?} is not the name of a header: expected one such as \"X-Forwarded-User\""
                )),
            }
        }),
        _ if has_basic && has_header => {
            table.fault("has both basic and header: expected one of them".to_owned());
            None
        }
        _ if has_basic => None,
        _ => {
            table.fault("has neither basic nor header: expected one of them".to_owned());
            None
        }
    };
    table.refuse_unknown();
    auth
}

fn basic(table: &Table) -> Option<PageAuth> {
    let username = table.get("username").and_then(|entry| match entry.text(MAX_TEXT) {
        // RFC 7617: the first colon ends the name.
        Some(name) if name.contains(':') => entry.refuse("has a colon: expected a name without one"),
        name => name,
    });
    let password = secret(table, "password", "password_file");
    if !table.raw().contains_key("username") {
        table.missing("username", "the user's name");
    }
    if password.is_none() {
        table.missing("password", "the password, or password_file");
    }
    table.refuse_unknown();
    Some(PageAuth::Basic { username: username?, password: password.flatten()? })
}
