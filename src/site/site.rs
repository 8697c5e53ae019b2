//! A site to check.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::expect::Expect;
use super::incident::Incident;
use super::method::Method;
use super::redact::redacted;
use crate::schedule::{Entry, Schedule};

/// A site to check. [`crate::config`] builds it. An embedder may start from [`Site::new`], and must keep to the ranges
/// given here. `Debug` shows neither credentials nor the values of query and headers.
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
    /// The identity in records and tables: the `id` if one is set, else the name. At most 200 characters.
    pub key: String,
    /// The display name, at most 200 characters.
    pub name: String,
    /// At most 16 labels, keys and values of at most 200 characters.
    pub labels: BTreeMap<String, String>,
    /// An `http` or `https` URL, at most 2,048 bytes.
    pub url: Url,
    /// The request's method.
    pub method: Method,
    /// Request headers in addition to the usual ones, as name and value; at most 32. They are sent only to the site's
    /// own host.
    pub headers: Vec<(String, String)>,
    /// When to check.
    pub schedule: Schedule,
    /// Each check starts after its instant by an offset between 0 and this, which the key decides, so that not all
    /// sites are checked at the same moment. It must be shorter than the schedule's shortest interval; 0 to 30 min.
    pub spread: Duration,
    /// The longest time of one attempt, redirects and body included; 1 ms to 10 min.
    pub timeout: Duration,
    /// How many further attempts must fail too before the check counts as a failure; 0 to 5.
    pub retries: u16,
    /// The pause before each further attempt; 0 to 1 min.
    pub retry_pause: Duration,
    /// The most redirects to follow; 0 to 20. With 0 a 3xx is an answer like any other.
    pub max_redirects: u16,
    /// The most decoded bytes of the body to read; up to 64 MiB.
    pub max_body: usize,
    /// What counts as success.
    pub expect: Expect,
    /// Which failures make an incident.
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
    /// A site with the defaults of `[site_defaults]`: a GET with a timeout of 10 s that expects a 2xx.
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

    /// The longest time that a check may take: `timeout × (1 + retries)` and the pauses between. It should be shorter
    /// than [`Schedule::shortest_interval`], because instants that come while a check still runs are missed.
    pub fn time_budget(&self) -> Duration {
        self.timeout * (1 + u32::from(self.retries)) + self.retry_pause * u32::from(self.retries)
    }

    /// How long after its instant a check of this site starts: always, and on every checker, the same share of
    /// `spread`.
    pub fn start_offset(&self) -> Duration {
        // FNV-1a, then the finalizer of MurmurHash3, because FNV's upper bits hardly depend on the last letter.
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

    /// Returns `url` for a record: without credentials and fragment, and, unless the site keeps them, without the
    /// values of the query.
    pub fn redacted(&self, url: &Url) -> String {
        redacted(url, self.keep_query)
    }
}

impl From<Arc<Site>> for Entry<Site> {
    /// The site under its own key, due when its schedule says.
    fn from(site: Arc<Site>) -> Entry<Site> {
        Entry { key: site.key.clone(), schedule: site.schedule.clone(), item: site }
    }
}
