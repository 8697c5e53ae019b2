//! Names to addresses: the trait, the resolver of the system's configuration, and the rules on addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use ipnet::IpNet;
use tokio::runtime::{Builder, Handle, Runtime};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::fault::{Fault, own_trouble};
use super::hop::{Phase, SharedHop, bare_host};
use super::settings::SetupError;
use crate::result::ErrorType;

/// The most addresses of a name that are tried.
pub(super) const MAX_ADDRESSES: usize = 8;

/// Turns a name into addresses. Shared by all threads.
///
/// ```
/// use std::net::IpAddr;
/// use std::time::Duration;
/// use webmon::check::{Resolve, ResolveError};
///
/// /// Knows one name.
/// struct OneName;
///
/// impl Resolve for OneName {
///     fn resolve(&self, host: &str, _timeout: Duration) -> Result<Vec<IpAddr>, ResolveError> {
///         match host {
///             "shop.example" => Ok(vec![[127, 0, 0, 1].into()]),
///             _ => Err(ResolveError::NxDomain),
///         }
///     }
/// }
/// ```
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, in the order in which to try them. Only the first 8 are used.
    ///
    /// `host` is a name as it stands in the URL (lower case, in punycode), never an address. `timeout` is what
    /// is left of the attempt: a call that takes longer makes the check late by as much.
    ///
    /// # Errors
    /// [`ResolveError`] says why there are none. An empty list counts as [`ResolveError::NoAddress`].
    fn resolve(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name does not exist (NXDOMAIN).
    #[error("the name does not exist")]
    NxDomain,
    /// The name exists and has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The name server failed (SERVFAIL).
    #[error("the name server failed")]
    ServFail,
    /// The name server refused to answer (REFUSED).
    #[error("the name server refused to answer")]
    Refused,
    /// No name server answered in time.
    #[error("no name server answered in time")]
    Timeout,
    /// What stands in the URL is not a name that DNS could know.
    #[error("not a valid name")]
    BadName,
    /// The name servers could not be reached.
    #[error("no name server could be reached")]
    Io(#[source] io::Error),
    /// Anything else.
    #[error("the look-up failed: {0}")]
    Other(String),
}

impl ResolveError {
    fn into_fault(self, time_is_over: bool) -> Fault {
        let detail = match &self {
            ResolveError::NxDomain => "nxdomain",
            ResolveError::NoAddress => "no_address",
            ResolveError::ServFail => "servfail",
            ResolveError::Refused => "refused",
            ResolveError::Timeout if time_is_over => return Fault::timeout(Phase::Dns),
            ResolveError::Timeout => "no_answer",
            ResolveError::BadName => "bad_name",
            ResolveError::Io(error) => match own_trouble(error) {
                Some(word) => return Fault::new(ErrorType::Saturated, word, format!("{self}: {error}")),
                None => "no_name_server",
            },
            ResolveError::Other(_) => "other",
        };
        Fault::new(ErrorType::Dns, detail, self.to_string())
    }
}

/// Asks the name servers of the system's configuration (`/etc/resolv.conf`), after `/etc/hosts`.
///
/// Look-ups run on one thread for all checks. Answers are not cached, so that a name that ceases to resolve is
/// seen at once: where that is too many queries, let a caching name server run on the host. IPv4 addresses
/// come before IPv6 ones. `localhost` and names below it are the loopback addresses and `.invalid` names do
/// not exist, both without asking (RFC 6761, sections 6.3 and 6.4).
///
/// Both files are read once, when it is made.
pub struct SystemResolver {
    resolver: TokioResolver,
    lookups: Handle,
    /// What drives the look-ups; taken when it is dropped.
    runtime: Option<Runtime>,
}

impl SystemResolver {
    /// Reads the system's configuration and starts the look-up thread.
    ///
    /// # Errors
    /// [`SetupError::Resolver`] when the configuration cannot be read, [`SetupError::Thread`] when no thread
    /// can be started.
    pub fn new() -> Result<SystemResolver, SetupError> {
        SystemResolver::built(TokioResolver::builder_tokio().map_err(setup_error)?)
    }

    fn built(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<SystemResolver, SetupError> {
        let options = builder.options_mut();
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("check-dns")
            .enable_all()
            .build()
            .map_err(SetupError::Thread)?;
        let resolver = builder.build().map_err(setup_error)?;
        Ok(SystemResolver { resolver, lookups: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for SystemResolver {
    fn drop(&mut self) {
        // Dropping a runtime waits for it, and in async code that is a panic. Nobody waits for a look-up by now.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn setup_error(error: NetError) -> SetupError {
    SetupError::Resolver(error.to_string())
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, ResolveError> {
        let top = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        if top.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if top.eq_ignore_ascii_case("invalid") {
            return Err(ResolveError::NxDomain);
        }
        // The look-up runs on the runtime's thread: its futures are too large for the small stack of a check's.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (resolver, host) = (self.resolver.clone(), host.to_owned());
        self.lookups.spawn(async move {
            let found = match tokio::time::timeout(timeout, resolver.lookup_ip(host)).await {
                Ok(Ok(found)) => Ok(found.iter().collect()),
                Ok(Err(error)) => Err(resolve_error(error)),
                Err(_) => Err(ResolveError::Timeout),
            };
            // Nobody listens any more when the check's time was over first.
            let _ = sender.send(found);
        });
        receiver.recv_timeout(timeout).unwrap_or(Err(ResolveError::Timeout))
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

fn resolve_error(error: NetError) -> ResolveError {
    match error {
        NetError::Timeout => ResolveError::Timeout,
        NetError::NoConnections => ResolveError::Io(io::ErrorKind::NotConnected.into()),
        NetError::Io(error) => ResolveError::Io(match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => error.kind().into(),
        }),
        NetError::Dns(DnsError::NoRecordsFound(none)) => of_code(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => of_code(code),
        // Only the name itself has been encoded or decoded before there is an answer.
        NetError::Proto(_) => ResolveError::BadName,
        error => ResolveError::Other(error.to_string()),
    }
}

fn of_code(code: ResponseCode) -> ResolveError {
    match code {
        ResponseCode::NXDomain => ResolveError::NxDomain,
        ResponseCode::NoError => ResolveError::NoAddress,
        ResponseCode::ServFail => ResolveError::ServFail,
        ResponseCode::Refused => ResolveError::Refused,
        code => ResolveError::Other(code.to_string()),
    }
}

/// What ureq asks for the addresses of every hop: literals, then [`Resolve`], then the rules on addresses.
pub(super) struct HopResolver {
    pub(super) resolve: Arc<dyn Resolve>,
    pub(super) deny: Arc<[IpNet]>,
    pub(super) hop: SharedHop,
}

impl HopResolver {
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Fault> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let Some(timeout) = self.hop.lock().remaining() else {
            return Err(Fault::timeout(Phase::Dns));
        };
        let begun = Instant::now();
        let found = self.resolve.resolve(host, timeout);
        let mut hop = self.hop.lock();
        hop.dns = Some(begun.elapsed());
        match found {
            Ok(found) if found.is_empty() => Err(ResolveError::NoAddress.into_fault(false)),
            Ok(found) => Ok(found),
            Err(error) => Err(error.into_fault(hop.remaining().is_none())),
        }
    }
}

impl Resolver for HopResolver {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let found = self.addresses(bare_host(uri))?;
        let mut allowed = self.empty();
        for address in found.into_iter().filter(|address| !denied(&self.deny, *address)).take(MAX_ADDRESSES) {
            allowed.push(SocketAddr::new(address, port));
        }
        if allowed.is_empty() {
            let message = "the configuration forbids every address of the host";
            return Err(Fault::new(ErrorType::BlockedAddress, "denied", message).into());
        }
        self.hop.lock().phase = Phase::Connect;
        Ok(allowed)
    }
}

impl fmt::Debug for HopResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopResolver").field("deny", &self.deny).finish_non_exhaustive()
    }
}

/// Whether a rule forbids `address`. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is still that address.
fn denied(rules: &[IpNet], address: IpAddr) -> bool {
    let plain = address.to_canonical();
    rules.iter().any(|rule| rule.contains(&address) || rule.contains(&plain))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::thread;

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};

    use super::*;

    #[test]
    fn special_names_are_answered_without_asking_anyone() {
        let resolver = SystemResolver::new().unwrap();
        let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for host in ["localhost", "LOCALHOST", "localhost.", "shop.localhost"] {
            assert_eq!(resolver.resolve(host, Duration::ZERO).unwrap(), loopback, "{host}");
        }
        for host in ["invalid", "no-such-name.invalid", "no-such-name.invalid."] {
            assert!(matches!(resolver.resolve(host, Duration::ZERO), Err(ResolveError::NxDomain)), "{host}");
        }
    }

    #[test]
    fn it_may_be_used_and_dropped_in_async_code() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let resolver = SystemResolver::new().unwrap();
            assert!(resolver.resolve("localhost", Duration::ZERO).is_ok());
        });
    }

    /// A name server on loopback that answers by the name's first label. Returns its port.
    fn name_server() -> u16 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                // RFC 1035, section 4.1: a header of 12 bytes, then the name as labels, type and class.
                let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
                let label = &query[13..13 + usize::from(query[12])];
                let is_a = query[name_end..name_end + 2] == [0, 1];
                let (code, answers) = match label {
                    b"two" if is_a => (0, 2),
                    b"two" | b"none" => (0, 0),
                    b"missing" => (3, 0),
                    b"broken" => (2, 0),
                    b"refusing" => (5, 0),
                    _ => continue,
                };
                let mut answer = query[..2].to_vec();
                answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
                answer.extend(&query[12..name_end + 4]);
                for last in 1..=answers {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last]);
                }
                socket.send_to(&answer, peer).unwrap();
            }
        });
        port
    }

    #[test]
    fn a_name_servers_answers_keep_their_meaning() {
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let resolver = SystemResolver::built(TokioResolver::builder_with_config(config, provider)).unwrap();
        let resolve = |host| resolver.resolve(host, Duration::from_secs(5));

        let two: Vec<IpAddr> = vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        assert_eq!(resolve("two.example").unwrap(), two);
        assert!(matches!(resolve("none.example"), Err(ResolveError::NoAddress)));
        assert!(matches!(resolve("missing.example"), Err(ResolveError::NxDomain)));
        assert!(matches!(resolve("broken.example"), Err(ResolveError::ServFail)));
        assert!(matches!(resolve("refusing.example"), Err(ResolveError::Refused)));
        let long = format!("{}.example", "a".repeat(64));
        assert!(matches!(resolve(&long), Err(ResolveError::BadName)));
        let silent = resolver.resolve("silent.example", Duration::from_millis(200));
        assert!(matches!(silent, Err(ResolveError::Timeout)), "{silent:?}");
    }

    #[test]
    fn a_rule_also_forbids_the_ipv6_form_of_an_ipv4_address() {
        let rules: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()];
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(denied(&rules, address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_name_server_that_is_silent_is_the_time_of_the_check_only_when_that_is_over() {
        assert_eq!(ResolveError::Timeout.into_fault(true).error_type, ErrorType::Timeout);
        let fault = ResolveError::Timeout.into_fault(false);
        assert_eq!((fault.error_type, fault.detail), (ErrorType::Dns, "no_answer"));
        let emfile = ResolveError::Io(io::Error::from_raw_os_error(libc::EMFILE)).into_fault(false);
        assert_eq!(emfile.error_type, ErrorType::Saturated);
    }
}
