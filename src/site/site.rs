//! A site to check.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::auth::Auth;
use super::body::RequestBody;
use super::expect::Expect;
use super::hidden::Hidden;
use super::incident::Incident;
use super::maintenance::Maintenance;
use super::method::Method;
use super::network::Network;
use super::redact;
use super::slo::Slo;
#[cfg(feature = "check")]
use super::tls::Tls;
use crate::limits::MAX_URL;
use crate::schedule::{Entry, Schedule};
use crate::text::truncated;

/// The longest that asking for a token takes.
const MAX_ASKING: Duration = Duration::from_secs(10);

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
///     body: vec![Regex::new("in stock")?.into()],
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
    /// The request's body. GET and HEAD have none.
    pub body: Option<RequestBody>,
    /// The value of `Host`, if it is not the URL's own host and port.
    pub host: Option<String>,
    /// The credentials, if they are not in the URL.
    pub auth: Option<Auth>,
    /// Request headers in addition to the usual ones, as name and value; at most 32. They are sent only to the site's
    /// own host.
    pub headers: Vec<(String, String)>,
    /// How the requests leave this host.
    pub network: Network,
    /// Whom to trust, and what to show, in TLS: on the site's own host, not where it redirects. Elsewhere, and without
    /// it, the checker's own settings apply.
    #[cfg(feature = "check")]
    pub tls: Option<Arc<Tls>>,
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
    /// A success that took longer than this is recorded as degraded; 1 ms to 10 min, and shorter than `timeout` and
    /// `expect.max_time`.
    pub degraded: Option<Duration>,
    /// The most redirects to follow; 0 to 20. With 0 a 3xx is an answer like any other.
    pub max_redirects: u16,
    /// The most decoded bytes of the body to read; up to 64 MiB.
    pub max_body: usize,
    /// What counts as success.
    pub expect: Expect,
    /// Which failures make an incident.
    pub incident: Incident,
    /// How much uptime it is to have. None: there is no target.
    pub slo: Option<Slo>,
    /// When it is under maintenance. Sites with the same windows may share them.
    pub maintenance: Arc<[Maintenance]>,
    /// Whether records keep the values of the URL's query.
    pub keep_query: bool,
    /// Whether a failing response is sampled (headers and the start of the body).
    pub sample: bool,
    /// What records and logs do not show, because it stands for variables of the configuration.
    pub hidden: Hidden,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "check")]
        let tls = &self.tls;
        #[cfg(not(feature = "check"))]
        let tls = ();
        let shown = |value: &dyn fmt::Debug| self.hidden.in_text(&format!("{value:?}")).into_owned();
        let header_names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Site")
            .field("key", &self.key)
            .field("name", &self.name)
            .field("labels", &self.labels)
            .field("url", &self.shown(&self.url, false))
            .field("method", &self.method)
            .field("body", &self.body)
            .field("host", &format_args!("{}", shown(&self.host)))
            .field("auth", &self.auth)
            .field("headers", &header_names)
            .field("network", &self.network)
            .field("tls", &format_args!("{}", shown(&tls)))
            .field("schedule", &self.schedule)
            .field("spread", &self.spread)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("retry_pause", &self.retry_pause)
            .field("degraded", &self.degraded)
            .field("max_redirects", &self.max_redirects)
            .field("max_body", &self.max_body)
            .field("expect", &format_args!("{}", shown(&self.expect)))
            .field("incident", &self.incident)
            .field("slo", &self.slo)
            .field("maintenance", &self.maintenance)
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
            body: None,
            host: None,
            auth: None,
            headers: Vec::new(),
            network: Network::default(),
            #[cfg(feature = "check")]
            tls: None,
            schedule,
            spread: Duration::ZERO,
            timeout: Duration::from_secs(10),
            retries: 0,
            retry_pause: Duration::from_secs(1),
            degraded: None,
            max_redirects: 5,
            max_body: 1 << 20,
            expect: Expect::default(),
            incident: Incident::default(),
            slo: None,
            maintenance: Arc::default(),
            keep_query: false,
            sample: false,
            hidden: Hidden::default(),
        }
    }

    /// The longest time that a check may take: `timeout × (1 + retries)` and the pauses between, and the time to get
    /// tokens. It should be shorter
    /// than [`Schedule::shortest_interval`], because instants that come while a check still runs are missed.
    pub fn time_budget(&self) -> Duration {
        let attempt = self.token_budget() + self.timeout;
        attempt * (1 + u32::from(self.retries)) + self.retry_pause * u32::from(self.retries)
    }

    /// The longest time that getting a token before an attempt may take: 0 unless the site needs one, else its timeout,
    /// at most 10 s.
    pub fn token_budget(&self) -> Duration {
        match &self.auth {
            Some(Auth::OAuth2(_)) => self.timeout.min(MAX_ASKING),
            _ => Duration::ZERO,
        }
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
    /// values of the query; and without what variables of the configuration stand for behind its host.
    pub fn redacted(&self, url: &Url) -> String {
        self.shown(url, self.keep_query)
    }

    fn shown(&self, url: &Url, keep_query: bool) -> String {
        // Hidden first: a cut could leave a part of what is hidden.
        truncated(&self.hidden.in_url(redact::whole(url, keep_query)), MAX_URL)
    }
}

impl From<Arc<Site>> for Entry<Site> {
    /// The site under its own key, due when its schedule says.
    fn from(site: Arc<Site>) -> Entry<Site> {
        Entry { key: site.key.clone(), schedule: site.schedule.clone(), item: site }
    }
}
