//! Makes one check after another: attempts, redirects, and the result.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ureq::http::header::{self, HeaderMap, HeaderValue};
use ureq::http::{StatusCode, Version};
use ureq::{Agent, Body};
use url::Url;

use super::address::HopResolver;
use super::again::{failed_try, has_time_again, is_silence, now, suspended};
use super::body::{self, ACCEPT_ENCODING, Coding, Content};
use super::charset;
use super::connect::HopConnector;
use super::error::SetupError;
use super::expect::Judged;
use super::fault::Fault;
use super::head::MAX_HEAD;
use super::hop::{Hop, Phase, SharedHop};
use super::observed::{Observed, Seen};
use super::outcome::{judge, set_fault};
use super::proxy::{of_forwarder, proxy_authentication};
use super::request::{body_of, longest_line, method_after, redirected, request, way};
use super::sample::sample;
use super::settings::{Parts, Settings};
use super::stalls::spoils;
use super::token;
use super::way::Way;
use crate::limits::{MAX_HOP_URL, MAX_SAMPLE_BODY};
use crate::panicked::panic_message;
use crate::record::{self, CheckResult, ErrorType, HttpVersion, Outcome};
use crate::schedule::Schedule;
use crate::shutdown::Shutdown;
use crate::site::{Auth, ClientCredentials, Method, Origin, Site};
use crate::text::truncated;

/// How often at most an attempt is repeated because the checker stood still during it.
const MAX_AGAIN: u16 = 3;

/// Makes checks, one at a time. Each thread needs its own checker. A clone shares the resolver and the TLS
/// configuration, nothing else.
///
/// Every check opens its own connections, so that each measures the whole way.
///
/// ```
/// use webmon::check::{Checker, Settings};
/// use webmon::record::Outcome;
/// use webmon::schedule::Schedule;
/// use webmon::site::{Origin, Site};
///
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", server.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut peer, _) = server.accept().unwrap();
/// #     std::io::Read::read(&mut peer, &mut [0; 4096]).unwrap();
/// #     std::io::Write::write_all(&mut peer, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
/// # });
/// let site = Site::new("shop", url.parse()?, Schedule::new("@hourly", "UTC")?);
/// let mut checker = Checker::new(&Settings::new()?)?;
/// let result = checker.check_now(&site, &Origin::new("berlin-1", "host-a"));
/// assert_eq!((result.outcome, result.http_status), (Outcome::Success, Some(200)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Checker {
    parts: Arc<Parts>,
    agent: Agent,
    hop: SharedHop,
    /// The last response of the check under way, if somebody asked for it.
    seen: Option<Seen>,
}

impl Clone for Checker {
    fn clone(&self) -> Checker {
        Checker::from_parts(Arc::clone(&self.parts))
    }
}

/// The last response, as far as it came.
#[derive(Default)]
struct Received {
    /// What was requested.
    url: Option<Url>,
    headers: HeaderMap,
    /// `None` if there can be none, or if it was not read.
    content: Option<Content>,
    /// How many bytes of the body to keep at least.
    wanted: usize,
}

impl Checker {
    /// Builds the TLS configuration, which is costly. Clone the checker for further threads.
    ///
    /// # Errors
    /// [`SetupError`] if the settings cannot be used.
    pub fn new(settings: &Settings) -> Result<Checker, SetupError> {
        Ok(Checker::from_parts(Arc::new(Parts::new(settings)?)))
    }

    pub(super) fn from_parts(parts: Arc<Parts>) -> Checker {
        let hop = SharedHop::new();
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            // We follow redirects ourselves: ureq's errors on the way are not typed, and it does not count them.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .max_response_header_size(MAX_HEAD)
            .user_agent(parts.user_agent.as_str())
            .accept_encoding(ACCEPT_ENCODING)
            .build();
        let resolver = HopResolver {
            resolve: Arc::clone(&parts.resolve),
            deny: Arc::clone(&parts.deny),
            hop: hop.clone(),
        };
        let connector =
            HopConnector { parts: Arc::clone(&parts), tls: parts.tls.for_thread(&hop), hop: hop.clone() };
        Checker { agent: Agent::with_parts(config, connector, resolver), parts, hop, seen: None }
    }

    /// Checks `site` for the instant `scheduled_at`, with the retries that the site configures. Takes up to
    /// [`Site::time_budget`]. A requested `shutdown` ends the pauses between attempts: a failure that was not yet
    /// confirmed is then `missed`, `cancelled`.
    ///
    /// If this process stood still (SIGSTOP, a suspended machine, no CPU) for a quarter of the timeout or 5 s during an
    /// attempt, and the site did not answer in it, that says nothing about the site. The attempt is repeated, up to
    /// three times, if it can end before `next_at`; else the instant is `missed`, `late`, with the detail `suspended`.
    /// If the site did answer, the answer counts. Stalls of less than 0.2 s are not noticed.
    ///
    /// Whatever the site does is in the result. A panic is caught and logged, and the instant is `missed`, `cancelled`,
    /// with the detail `panic`.
    pub fn check(
        &mut self,
        site: &Site,
        origin: &Origin,
        scheduled_at: Timestamp,
        next_at: Option<Timestamp>,
        shutdown: &Shutdown,
    ) -> CheckResult {
        let blank = origin.blank(site, scheduled_at, next_at);
        let started_at = now();
        // A record holds the delay in 32 bits of microseconds, which is 35 minutes. If it is longer, nothing is
        // checked.
        let delay = started_at.as_microsecond() - scheduled_at.as_microsecond();
        if i32::try_from(delay).is_err() {
            let mut result = blank;
            result.set_error(ErrorType::Late, None, Some("the instant is too far off to be checked now"));
            return result;
        }
        let blank = CheckResult { started_at: Some(started_at), ..blank };
        match panic::catch_unwind(AssertUnwindSafe(|| self.attempts(site, &blank, shutdown))) {
            Ok(result) => result,
            Err(payload) => {
                log::error!(site = site.key.as_str(); "a check panicked: {}", panic_message(payload.as_ref()));
                // The state that the panic left behind cannot be trusted.
                *self = self.clone();
                let mut result = CheckResult { attempts: 1, ..blank };
                result.set_error(
                    ErrorType::Cancelled,
                    Some("panic"),
                    Some("the check panicked; see the log"),
                );
                result
            }
        }
    }

    /// Checks `site` now, outside its schedule: `scheduled_at` is the present second, `next_at` the schedule's next
    /// instant after it. Otherwise it works as [`Checker::check`], but it cannot be stopped.
    pub fn check_now(&mut self, site: &Site, origin: &Origin) -> CheckResult {
        self.check_until(site, origin, &Shutdown::new())
    }

    /// Checks `site` as [`Checker::check_now`] does, and also returns the headers and the start of the body of the last
    /// response. A requested `shutdown` ends the pauses between attempts.
    pub fn check_now_observed(&mut self, site: &Site, origin: &Origin, shutdown: &Shutdown) -> Observed {
        self.seen = Some(Seen::default());
        let result = self.check_until(site, origin, shutdown);
        Observed::new(result, self.seen.take().unwrap_or_default())
    }

    fn check_until(&mut self, site: &Site, origin: &Origin, shutdown: &Shutdown) -> CheckResult {
        let now = now();
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        self.check(site, origin, second, site.schedule.next_after(second), shutdown)
    }

    fn attempts(&mut self, site: &Site, blank: &CheckResult, shutdown: &Shutdown) -> CheckResult {
        let (mut attempts, mut again) = (1, 0);
        let mut tries = Vec::new();
        loop {
            let mut result = blank.clone();
            result.attempts = attempts;
            let lost_before = self.parts.stalls.lost();
            self.attempt(site, &mut result);
            let lost = self.parts.stalls.lost().saturating_sub(lost_before);
            if result.outcome == Outcome::Failure && is_silence(&result) && spoils(lost, site.timeout) {
                if again == MAX_AGAIN || !has_time_again(site, result.next_at) {
                    return CheckResult { tries, ..suspended(result, lost) };
                }
                again += 1;
            } else if result.outcome != Outcome::Failure || attempts - again > site.retries {
                return CheckResult { tries, ..result };
            }
            tries.extend(failed_try(result));
            if shutdown.wait(site.retry_pause) {
                let mut result = CheckResult { attempts, tries, ..blank.clone() };
                let message = "the checker was stopped before the failure was confirmed";
                result.set_error(ErrorType::Cancelled, Some("stopped"), Some(message));
                return result;
            }
            attempts += 1;
        }
    }

    fn attempt(&mut self, site: &Site, result: &mut CheckResult) {
        let mut token = match self.token(site) {
            Ok(token) => token,
            Err(fault) => return set_fault(site, &fault, result),
        };
        let before = token.as_ref().map(|_| result.clone());
        // The time to get a token is not the site's.
        let begun = Instant::now();
        let mut received = Received::default();
        let mut done = self.fetch(site, begun + site.timeout, token.as_ref(), result, &mut received);
        if let (Ok(401), Some(refused), Some(before)) = (&done, &token, before)
            && is_renewed(site, refused)
            && let Ok(renewed) = self.token(site)
        {
            *result = before;
            token = renewed;
            done = self.fetch(site, begun + site.timeout, token.as_ref(), result, &mut received);
        }
        let total = begun.elapsed();
        result.total_us = Some(micros(total));
        self.note_hop(result);
        let text = received.content.as_ref().map(|content| charset::text(&content.kept, &received.headers));
        match done {
            // The answer came too late. No wait on the socket ended it, because the work on it took too long.
            Ok(_) if total > site.timeout => {
                set_fault(site, &Fault::timeout(Phase::Body), result);
            }
            Ok(status) => {
                let judged = Judged {
                    url: received.url.as_ref().unwrap_or(&site.url),
                    status,
                    headers: &received.headers,
                    text: text.as_deref(),
                    truncated: result.body_truncated,
                    total,
                    not_after: result.certificate.as_ref().and_then(|seen| seen.chain_not_after),
                };
                judge(site, &judged, result);
            }
            Err(fault) => set_fault(site, &fault, result),
        }
        if let Some(seen) = &mut self.seen {
            let url = received.url.as_ref().unwrap_or(&site.url);
            *seen = Seen::of(site, token.as_ref(), url, &received.headers, text.as_deref());
        }
        if site.sample && result.outcome == Outcome::Failure && result.http_status.is_some() {
            let url = received.url.as_ref().unwrap_or(&site.url);
            let text = text.as_deref().unwrap_or_default();
            result.sample = Some(sample(site, url, &received.headers, text));
        }
    }

    /// The `Authorization` for a site that needs a token.
    fn token(&self, site: &Site) -> Result<Option<HeaderValue>, Fault> {
        let Some(Auth::OAuth2(client)) = &site.auth else { return Ok(None) };
        let deadline = Instant::now() + site.token_budget();
        token::authorization(client, deadline, |until| self.ask_for_token(site, client, until)).map(Some)
    }

    /// Status and body of the answer of the token endpoint.
    fn ask_for_token(
        &self,
        site: &Site,
        client: &ClientCredentials,
        until: Instant,
    ) -> Result<(u16, String), Fault> {
        let schedule =
            Schedule::new("@hourly", "UTC").map_err(|error| Fault::invalid_request(error.to_string()))?;
        let mut endpoint = token::endpoint(client, schedule);
        Way { network: endpoint.network, tls: endpoint.tls } = way(site, &client.token_url);
        let mut result = Origin::new("", "").blank(&endpoint, now(), None);
        let mut received = Received { wanted: token::MAX_ANSWER, ..Received::default() };
        // With a hop of its own: the site's has not begun.
        let status = self.clone().fetch(&endpoint, until, None, &mut result, &mut received)?;
        let body = received.content.map(|content| content.kept).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Requests the site's URL, follows redirects until there is an answer, and reads its body. Returns the answer's
    /// status.
    fn fetch(
        &self,
        site: &Site,
        deadline: Instant,
        token: Option<&HeaderValue>,
        result: &mut CheckResult,
        received: &mut Received,
    ) -> Result<u16, Fault> {
        let mut url = site.url.clone();
        let mut method = site.method.clone();
        loop {
            let request = request(site, &method, &url, token).map_err(|fault| match result.redirects {
                0 => fault,
                _ => Fault::new(ErrorType::Redirect, "invalid_location", "the location cannot be requested"),
            })?;
            let way = way(site, &url);
            let forwarded = way.forwarder(&url).is_some();
            *self.hop.lock() = Hop::new(deadline, longest_line(&request), way);
            let body = body_of(site, &method, &url)?;
            let sent = match body {
                Some(content) => self.agent.run(request.map(|()| content)),
                None => self.agent.run(request),
            };
            let response = sent.map_err(|error| {
                let hop = self.hop.lock();
                let fault = Fault::from_ureq(error, hop.phase, hop.spoke_http);
                if forwarded { of_forwarder(fault, hop.spoke_http) } else { fault }
            })?;
            let head_at = Instant::now();
            if forwarded && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                return Err(proxy_authentication());
            }
            {
                let mut hop = self.hop.lock();
                hop.phase = Phase::Body;
                result.ttfb_us = hop.sent_at.map(|sent_at| micros(head_at - sent_at));
            }
            let (mut head, body) = response.into_parts();
            if let Some(headers) = self.hop.lock().headers.take() {
                head.headers = headers;
            }
            let status = head.status.as_u16();
            result.http_status = Some(status);
            result.http_version = http_version(head.version);
            *received =
                Received { url: Some(url.clone()), headers: head.headers, content: None, ..*received };
            let location = match status {
                301 | 302 | 303 | 307 | 308 if site.max_redirects > 0 => {
                    // An empty location leads nowhere. Browsers ignore it.
                    received.headers.get_all(header::LOCATION).iter().find(|location| !location.is_empty())
                }
                _ => None,
            };
            let Some(location) = location else {
                if method != Method::Head {
                    let content = received.content.insert(Content::default());
                    let done = self.read_body(site, body, &received.headers, content, received.wanted);
                    result.body_bytes = u32::try_from(content.bytes).ok();
                    result.body_truncated = content.truncated;
                    done?;
                    result.download_us = Some(micros(head_at.elapsed()));
                }
                return Ok(status);
            };
            if result.redirects >= site.max_redirects {
                let message = format!("more than {} redirects", site.max_redirects);
                return Err(Fault::new(ErrorType::Redirect, "too_many_redirects", message));
            }
            let next = redirected(&url, location)?;
            result.hops.push(self.taken(site, &url, status, result.ttfb_us));
            url = next;
            method = method_after(status, method);
            result.redirects += 1;
            result.ttfb_us = None;
            result.final_url = Some(site.redacted(&url)).filter(|url| *url != result.url);
        }
    }

    fn read_body(
        &self,
        site: &Site,
        body: Body,
        headers: &HeaderMap,
        content: &mut Content,
        wanted: usize,
    ) -> Result<(), Fault> {
        let is_judged = site.expect.is_of_the_body();
        let keep = match (is_judged, site.sample || self.seen.is_some()) {
            (true, _) => site.max_body,
            (false, true) => MAX_SAMPLE_BODY,
            (false, false) => 0,
        }
        .max(wanted);
        let deadline = self.hop.lock().deadline;
        body::read(body.into_reader(), headers, deadline, site.max_body, keep, content)?;
        if is_judged && content.bytes > 0 && Coding::of(headers) == Coding::Unknown {
            let message =
                format!("the body has a content coding other than those asked for ({ACCEPT_ENCODING})");
            return Err(Fault::new(ErrorType::Body, "unknown_encoding", message));
        }
        Ok(())
    }

    /// The redirect from `url`, which was answered with `status`.
    fn taken(&self, site: &Site, url: &Url, status: u16, ttfb_us: Option<u32>) -> record::Hop {
        let hop = self.hop.lock();
        record::Hop {
            url: truncated(&site.redacted(url), MAX_HOP_URL),
            http_status: status,
            remote_ip: hop.remote_ip,
            dns_us: hop.dns.map(micros),
            connect_us: hop.connect.map(micros),
            tls_us: hop.tls.map(micros),
            ttfb_us,
        }
    }

    /// Copies what resolver, connector and transport noted into the result.
    fn note_hop(&self, result: &mut CheckResult) {
        let hop = self.hop.lock();
        result.dns_us = hop.dns.map(micros);
        result.connect_us = hop.connect.map(micros);
        result.tls_us = hop.tls.map(micros);
        result.remote_ip = hop.remote_ip;
        result.tls_version = hop.tls_version;
        let seen = hop.certificate.as_deref();
        result.cert_not_after = seen.and_then(|seen| seen.valid).map(|(_, to)| to);
        result.certificate = seen.map(|seen| seen.certificate.clone());
    }
}

/// Whether a site has refused its token, and there may be another one.
fn is_renewed(site: &Site, token: &HeaderValue) -> bool {
    match &site.auth {
        Some(Auth::OAuth2(client)) => token::refused(client, token),
        _ => false,
    }
}

fn micros(duration: Duration) -> u32 {
    const MAX: u32 = i32::MAX as u32;
    u32::try_from(duration.as_micros()).unwrap_or(MAX).min(MAX)
}

fn http_version(version: Version) -> Option<HttpVersion> {
    match version {
        Version::HTTP_10 => Some(HttpVersion::Http10),
        Version::HTTP_11 => Some(HttpVersion::Http11),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::thread;

    use jiff::SignedDuration;

    use super::super::resolve::{Resolve, ResolveError};
    use super::super::stalls::Stalls;
    use super::*;
    use crate::schedule::Schedule;

    /// A name server in whose first `stalls` look-ups the machine is suspended for 30 s, which CLOCK_BOOTTIME shows and
    /// CLOCK_MONOTONIC does not. These fail, and so does each one of another name than `shop.test`.
    struct Suspends {
        clock: Arc<AtomicU64>,
        stalls: usize,
        asked: AtomicUsize,
    }

    impl Resolve for Suspends {
        fn resolve(&self, host: &str, _: Duration) -> Result<Vec<IpAddr>, ResolveError> {
            let is_stalled = self.asked.fetch_add(1, Ordering::SeqCst) < self.stalls;
            if is_stalled {
                self.clock.fetch_add(30_000, Ordering::SeqCst);
            }
            match host {
                "shop.test" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
                _ if is_stalled => Err(ResolveError::ServFail),
                _ => Err(ResolveError::NxDomain),
            }
        }
    }

    /// Checks `host` as the machine is suspended in the first `stalls` attempts; `room` is the time to the next instant.
    fn check_suspended(host: &str, stalls: usize, room: Option<i64>) -> CheckResult {
        let clock = Arc::new(AtomicU64::new(0));
        let resolver = Suspends { clock: Arc::clone(&clock), stalls, asked: AtomicUsize::new(0) };
        let mut parts = Parts::new(&Settings::with_resolver(Arc::new(resolver))).unwrap();
        parts.stalls = Arc::new(Stalls::by(move || Duration::from_millis(clock.load(Ordering::SeqCst))));
        let mut site = Site::new(
            "shop",
            format!("http://{host}/").parse().unwrap(),
            Schedule::new("@hourly", "UTC").unwrap(),
        );
        (site.timeout, site.retry_pause) = (Duration::from_secs(20), Duration::from_millis(1));
        let due = Timestamp::from_second(now().as_second()).unwrap();
        let next_at = room.map(|seconds| due + SignedDuration::from_secs(seconds));
        let origin = Origin::new("here", "checker");
        Checker::from_parts(Arc::new(parts)).check(&site, &origin, due, next_at, &Shutdown::new())
    }

    fn seen(result: &CheckResult) -> (ErrorType, &str, u16) {
        (result.error_type.unwrap(), result.error_detail.as_deref().unwrap(), result.attempts)
    }

    #[test]
    fn a_failure_of_a_suspended_machine_is_tried_again_or_missed() {
        // The failure of the attempt after it is the site's own.
        let result = check_suspended("gone.test", 1, Some(3_600));
        assert_eq!(seen(&result), (ErrorType::Dns, "nxdomain", 2));
        for (stalls, room, attempts) in [(1, Some(15), 1), (1, None, 1), (usize::MAX, Some(3_600), 4)] {
            let result = check_suspended("gone.test", stalls, room);
            assert_eq!(seen(&result), (ErrorType::Late, "suspended", attempts), "{result:?}");
            assert_eq!(result.outcome, Outcome::Missed);
            let message = result.error_message.unwrap();
            assert!(message.contains("itself stood still for "), "{message}");
            assert!(message.contains("dns_error servfail"), "{message}");
        }
    }

    #[test]
    fn what_a_site_answered_stands_although_the_machine_was_suspended() {
        for (status, expected) in [("503 Sorry", Outcome::Failure), ("200 OK", Outcome::Success)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let host = format!("shop.test:{}", listener.local_addr().unwrap().port());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let result = check_suspended(&host, usize::MAX, Some(3_600));
            assert_eq!((result.outcome, result.attempts), (expected, 1), "{result:?}");
            server.join().unwrap();
        }
    }
}
