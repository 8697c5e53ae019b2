//! A site as checked: the values of its `[[site]]` table, resolved and within their ranges.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use url::{Host, Url};

use crate::schedule::{Entry, Schedule};

/// The most sentinels.
pub const MAX_SENTINELS: usize = 8;

/// A site to check. Built by [`crate::config`]; an embedder may start from [`Site::new`], and keeps to the ranges
/// given here himself. `Debug` shows neither credentials nor the values of query and headers.
///
/// ```
/// use std::time::Duration;
/// use webmon::regex::Regex;
/// use webmon::schedule::Schedule;
/// use webmon::site::{Expect, Site};
///
/// let schedule = Schedule::new("*/30 * * * * *", "UTC")?;
/// let mut site = Site::new("shop", "https://shop.example/".parse()?, schedule);
/// site.retries = 1;
/// site.expect = Expect {
///     status: vec!["2xx".parse()?, "304".parse()?],
///     body: Some(Regex::new("in stock")?.into()),
///     certificate: Some(Duration::from_secs(14 * 86_400)),
///     ..Expect::default()
/// };
/// // 10 s, a pause of 1 s, and 10 s again.
/// assert_eq!(site.time_budget(), Duration::from_secs(21));
/// assert!(site.time_budget() < site.schedule.shortest_interval());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Site {
    /// The identity in records and tables: `id` where one is set, else the name. At most 200 characters.
    pub key: String,
    /// The display name, at most 200 characters.
    pub name: String,
    /// At most 16 labels, keys and values of at most 200 characters.
    pub labels: BTreeMap<String, String>,
    /// An `http` or `https` URL, at most 2,048 bytes.
    pub url: Url,
    /// The request's method.
    pub method: Method,
    /// Request headers beside the usual ones, as name and value; at most 32. Sent to the site's own host only.
    pub headers: Vec<(String, String)>,
    /// When to check.
    pub schedule: Schedule,
    /// Delays the start of each check after its instant, by an offset between 0 and this that the key decides, so
    /// that not all sites are checked at the same moment; shorter than the schedule's shortest interval, 0 to 30 min.
    pub spread: Duration,
    /// The longest time of one attempt, redirects and body included; 1 ms to 10 min.
    pub timeout: Duration,
    /// Further attempts that must fail too before a failure is believed; 0 to 5.
    pub retries: u16,
    /// The pause before each further attempt; 0 to 1 min.
    pub retry_pause: Duration,
    /// Redirects followed at most; 0 to 20. With 0 a 3xx is an answer like any other.
    pub max_redirects: u16,
    /// Decoded bytes of the body read at most; up to 64 MiB.
    pub max_body: usize,
    /// What counts as success.
    pub expect: Expect,
    /// What makes an incident.
    pub incident: Incident,
    /// Whether records keep the values of the URL's query.
    pub keep_query: bool,
    /// Whether a failing response is sampled (headers and the start of the body).
    pub sample: bool,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header_names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Site")
            .field("key", &self.key)
            .field("name", &self.name)
            .field("labels", &self.labels)
            .field("url", &redacted(&self.url, false))
            .field("method", &self.method)
            .field("headers", &header_names)
            .field("schedule", &self.schedule)
            .field("spread", &self.spread)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("retry_pause", &self.retry_pause)
            .field("max_redirects", &self.max_redirects)
            .field("max_body", &self.max_body)
            .field("expect", &self.expect)
            .field("incident", &self.incident)
            .field("keep_query", &self.keep_query)
            .field("sample", &self.sample)
            .finish()
    }
}

impl Site {
    /// A site with the defaults of `[site_defaults]`: a GET with a timeout of 10 s, expecting a 2xx.
    pub fn new(name: &str, url: Url, schedule: Schedule) -> Site {
        Site {
            key: name.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            url,
            method: Method::Get,
            headers: Vec::new(),
            schedule,
            spread: Duration::ZERO,
            timeout: Duration::from_secs(10),
            retries: 0,
            retry_pause: Duration::from_secs(1),
            max_redirects: 5,
            max_body: 1 << 20,
            expect: Expect::default(),
            incident: Incident::default(),
            keep_query: false,
            sample: false,
        }
    }

    /// The longest time a check may take: `timeout × (1 + retries)` and the pauses between. It should be shorter
    /// than [`Schedule::shortest_interval`]: instants that come while a check still runs are missed.
    pub fn time_budget(&self) -> Duration {
        self.timeout * (1 + u32::from(self.retries)) + self.retry_pause * u32::from(self.retries)
    }

    /// How long after its instant a check of this site starts: the same share of `spread` always, and anywhere.
    pub fn start_offset(&self) -> Duration {
        // FNV-1a, and the finalizer of MurmurHash3, as FNV's upper bits hardly depend on the last letter.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.key.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
        }
        let micros = (u128::from(hash ^ (hash >> 33)) * self.spread.as_micros()) >> 64;
        Duration::from_micros(micros as u64)
    }

    /// `url` fit for a record: no credentials, no fragment, and, unless the site keeps them, `…` for the
    /// values of the query.
    pub fn redacted(&self, url: &Url) -> String {
        redacted(url, self.keep_query)
    }
}

/// `url` without credentials and fragment and, unless `keep_query`, without the values of its query.
pub fn redacted(url: &Url, keep_query: bool) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have credentials, which then have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if !keep_query && let Some(query) = url.query() {
        let hidden: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key, _)) => format!("{key}=..."),
                // Without `=` there's no telling a key from a token.
                None => "...".to_owned(),
            })
            .collect();
        url.set_query(Some(&hidden.join("&")));
    }
    crate::result::truncated(url.as_str(), crate::result::MAX_URL)
}

impl From<Arc<Site>> for Entry<Site> {
    /// The site under its own key, due when its schedule says.
    fn from(site: Arc<Site>) -> Entry<Site> {
        Entry { key: site.key.clone(), schedule: site.schedule.clone(), item: site }
    }
}

/// A request method without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: no body, so no expectation on it.
    Head,
    /// OPTIONS
    Options,
}

impl Method {
    /// The method's name in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
        }
    }
}

/// What a response must be like to count as a success. Every expectation is evaluated, also after one failed.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The status codes accepted; with none, no response is a success.
    pub status: Vec<StatusRange>,
    /// A pattern that the decoded body must contain.
    pub body: Option<Arc<Regex>>,
    /// A pattern that the decoded body must not contain.
    pub not_body: Option<Arc<Regex>>,
    /// Headers that must be there with a value that matches, by lower-case name.
    pub headers: Vec<(String, Arc<Regex>)>,
    /// The longest total time that still counts as success; 1 ms to 10 min.
    pub max_time: Option<Duration>,
    /// How long the certificate must still be valid, at least; up to 3,650 days. Over plain HTTP it always fails.
    pub certificate: Option<Duration>,
}

impl Default for Expect {
    fn default() -> Self {
        Expect {
            status: vec![StatusRange { from: 200, to: 299 }],
            body: None,
            not_body: None,
            headers: Vec::new(),
            max_time: None,
            certificate: None,
        }
    }
}

/// What makes an incident of a site's failures. Each record carries it; the site's newest decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Failures on end that make the site down, seen from one location. 1 to 100, default 2.
    pub failures: u16,
    /// Locations from which it must be down. 1 to 100, default 1.
    pub locations: u16,
}

impl Default for Incident {
    fn default() -> Self {
        Incident { failures: 2, locations: 1 }
    }
}

/// Status codes `from` to `to`, both included: `200`, `2xx` or `200-204`, within 100 to 599.
///
/// ```
/// use webmon::site::StatusRange;
///
/// let range: StatusRange = "2xx".parse()?;
/// assert_eq!((range.contains(204), range.contains(301)), (true, false));
/// assert!("2xx-".parse::<StatusRange>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest code accepted.
    pub from: u16,
    /// The highest code accepted.
    pub to: u16,
}

impl StatusRange {
    /// Whether `status` lies in the range.
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl std::str::FromStr for StatusRange {
    type Err = String;

    /// Reads `200`, `2xx` or `200-204`.
    ///
    /// # Errors
    /// What is wrong, and what would be right, for people.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let from = u16::from(class - b'0') * 100;
                Some(StatusRange { from, to: from + 99 })
            }
            _ => match text.split_once('-') {
                Some((from, to)) => code(from).zip(code(to)).map(|(from, to)| StatusRange { from, to }),
                None => code(text).map(|code| StatusRange { from: code, to: code }),
            },
        };
        range
            .filter(|range| range.from <= range.to)
            .ok_or_else(|| format!("{text:?} is not a status: expected \"200\", \"2xx\" or \"200-204\""))
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

/// Who checks: the location and the instance, in every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where the checks are made from, such as `berlin-1`; part of a result's identity. 1 to 200 characters.
    pub location: String,
    /// The host or instance. 1 to 200 characters.
    pub checker: String,
}

impl Origin {
    /// Who checks, in these words.
    pub fn new(location: impl Into<String>, checker: impl Into<String>) -> Origin {
        Origin { location: location.into(), checker: checker.into() }
    }
}

/// A host, other than the sites', that answers as long as the checker's own network works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentinel {
    /// Answers an HTTP request, whatever the answer is.
    Http(Url),
    /// Accepts TCP connections at this host and port.
    Tcp(Host, u16),
}

impl std::str::FromStr for Sentinel {
    type Err = String;

    /// Reads `https://host/`, `http://host/` or `tcp://host:port`.
    fn from_str(text: &str) -> Result<Sentinel, String> {
        let expected = "expected \"https://host/\" or \"tcp://host:port\"";
        let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}: {expected}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Sentinel::Http(url)),
            "tcp" => match (url.host_str().map(Host::parse), url.port()) {
                (Some(Ok(host)), Some(port)) if matches!(url.path(), "" | "/") => {
                    Ok(Sentinel::Tcp(host, port))
                }
                _ => Err(format!("{text:?} is not a sentinel: {expected}")),
            },
            _ => Err(format!("{text:?} is not a sentinel: {expected}")),
        }
    }
}

impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sentinel::Http(url) => write!(f, "{url}"),
            Sentinel::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
        }
    }
}
