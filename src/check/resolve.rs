//! Names to addresses: the trait, and the resolver of the system's configuration.

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver as Hickory, ResolverBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

use super::error::SetupError;
use super::fault::{Fault, own_trouble};
use super::hop::Phase;
use super::sockets::Sockets;
use crate::mutex::lock;
use crate::record::ErrorType;
use crate::site::IpVersion;

/// How long to wait for the other family's addresses once those of one family have come (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How often to look at the system's files.
const LOOK_APART: Duration = Duration::from_secs(1);
/// The largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

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
    /// `host` is a name as in the URL (lower case, in punycode), never an address. `timeout` is the time left of the
    /// attempt. A call that takes longer makes the check exceed its time by as much.
    ///
    /// # Errors
    /// [`ResolveError`] says why there are none. An empty list counts as [`ResolveError::NoAddress`].
    fn resolve(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, ResolveError>;

    /// As [`Resolve::resolve`], where only addresses of one `version` are of use. Others are not used. By default all
    /// are looked up.
    ///
    /// # Errors
    /// As [`Resolve::resolve`].
    fn resolve_version(
        &self,
        host: &str,
        version: IpVersion,
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let _ = version;
        self.resolve(host, timeout)
    }
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name does not exist (NXDOMAIN).
    #[error("the name does not exist")]
    NxDomain,
    /// The name exists but has no address.
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
    /// The host in the URL is not a name that DNS can have.
    #[error("not a valid name")]
    BadName,
    /// The name servers could not be reached.
    #[error("no name server could be reached")]
    Io(#[source] io::Error),
    /// The resolver itself failed, which says nothing about the name.
    #[error("the look-up panicked; see the log")]
    Panicked,
    /// Anything else.
    #[error("the look-up failed: {0}")]
    Other(String),
}

impl ResolveError {
    pub(super) fn into_fault(self, time_is_over: bool) -> Fault {
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
            ResolveError::Panicked => return Fault::new(ErrorType::Cancelled, "panic", self.to_string()),
            ResolveError::Other(_) => "other",
        };
        Fault::new(ErrorType::Dns, detail, self.to_string())
    }
}

/// Looks in `/etc/hosts`, then asks the name servers of the system's configuration (`/etc/resolv.conf`).
///
/// Look-ups run on one thread for all checks. Answers are not cached, so that a name that no longer resolves is noticed
/// at once. If that causes too many queries, run a caching name server on the host. IPv4 addresses come before IPv6
/// ones. `localhost` and names below it are the loopback addresses, and `.invalid` names do not exist; neither is asked
/// for (RFC 6761, sections 6.3 and 6.4).
///
/// A name with a dot is looked up as it is. No search list is applied to it, because a dead name could then be found as
/// another one. Both families are asked for at once; 50 ms after the first answer, what has come is used.
///
/// Both files are looked at once a second, and read again if they have changed. If one cannot be read then, everything
/// stays as it is.
pub struct SystemResolver {
    current: Mutex<Current>,
    /// `/etc/resolv.conf` and `/etc/hosts`; none if the configuration is given.
    files: Option<[PathBuf; 2]>,
    sockets: Sockets,
    lookups: Handle,
    /// What drives the look-ups. It is taken when the resolver is dropped.
    runtime: Option<Runtime>,
}

/// The resolver of the files as they were when last looked at.
struct Current {
    resolver: Hickory<Sockets>,
    read: [Stamp; 2],
    looked_at: Instant,
}

/// Shows whether a file has changed: its time and size, or none if it does not exist.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl SystemResolver {
    /// Reads the system's configuration and starts the look-up thread.
    ///
    /// # Errors
    /// [`SetupError::Resolver`] if the configuration cannot be read, [`SetupError::Thread`] if no thread can be
    /// started.
    pub fn new() -> Result<SystemResolver, SetupError> {
        SystemResolver::of_files(["/etc/resolv.conf", "/etc/hosts"].map(PathBuf::from))
    }

    fn of_files(files: [PathBuf; 2]) -> Result<SystemResolver, SetupError> {
        let read = files.each_ref().map(|file| stamp(file));
        let sockets = Sockets::default();
        SystemResolver::built(builder(&files[0], &sockets)?, sockets, Some(files), read)
    }

    fn built(
        builder: ResolverBuilder<Sockets>,
        sockets: Sockets,
        files: Option<[PathBuf; 2]>,
        read: [Stamp; 2],
    ) -> Result<SystemResolver, SetupError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("check-dns")
            .enable_all()
            .build()
            .map_err(SetupError::Thread)?;
        let current = Current { resolver: build(builder)?, read, looked_at: Instant::now() };
        Ok(SystemResolver {
            current: Mutex::new(current),
            files,
            sockets,
            lookups: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// The resolver of the files as they are now.
    fn resolver(&self) -> Hickory<Sockets> {
        let mut current = lock(&self.current);
        if let Some(files) = &self.files
            && current.looked_at.elapsed() >= LOOK_APART
        {
            current.looked_at = Instant::now();
            let found = files.each_ref().map(|file| stamp(file));
            if found != current.read {
                current.read = found;
                match builder(&files[0], &self.sockets).and_then(build) {
                    Ok(resolver) => {
                        log::info!("the system's resolver configuration has changed");
                        current.resolver = resolver;
                    }
                    Err(error) => {
                        log::warn!(error = error.to_string(); "cannot read the resolver configuration: keeping the previous one");
                    }
                }
            }
        }
        current.resolver.clone()
    }
}

fn builder(resolv_conf: &Path, sockets: &Sockets) -> Result<ResolverBuilder<Sockets>, SetupError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(resolv_conf).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|error| SetupError::Resolver(format!("{}: {error}", resolv_conf.display())))?;
    let (config, options) = parse_resolv_conf(bytes).map_err(setup_error)?;
    Ok(Hickory::builder_with_config(config, sockets.clone()).with_options(options))
}

fn build(mut builder: ResolverBuilder<Sockets>) -> Result<Hickory<Sockets>, SetupError> {
    builder.options_mut().cache_size = 0;
    builder.build().map_err(setup_error)
}

impl Drop for SystemResolver {
    fn drop(&mut self) {
        // Dropping a runtime waits for it, and panics in async code. Nobody waits for a look-up any more.
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
        self.look_up(host, None, timeout)
    }

    fn resolve_version(
        &self,
        host: &str,
        version: IpVersion,
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        self.look_up(host, Some(version), timeout)
    }
}

impl SystemResolver {
    /// The addresses of `host`, of one `version` if that is given.
    fn look_up(
        &self,
        host: &str,
        version: Option<IpVersion>,
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let top = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        if top.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if top.eq_ignore_ascii_case("invalid") {
            return Err(ResolveError::NxDomain);
        }
        // The look-up runs on the runtime's thread, because its futures are too large for the small stack of a check's
        // thread.
        let (sender, receiver) = mpsc::sync_channel(1);
        let refused = self.sockets.refused();
        let resolver = self.resolver();
        let mut host = host.to_owned();
        if host.contains('.') && !host.ends_with('.') {
            host.push('.');
        }
        self.lookups.spawn(async move {
            let looked_up = async {
                match version {
                    None => look_up(&resolver, &host).await,
                    Some(IpVersion::V4) => addresses(resolver.lookup(host, RecordType::A).await),
                    Some(IpVersion::V6) => addresses(resolver.lookup(host, RecordType::AAAA).await),
                }
            };
            let found = tokio::time::timeout(timeout, looked_up).await;
            // Nobody receives it if the check timed out first.
            let _ = sender.send(found.unwrap_or(Err(ResolveError::Timeout)));
        });
        let found = match receiver.recv_timeout(timeout) {
            Ok(found) => found,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(ResolveError::Timeout),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(ResolveError::Panicked),
        };
        found.map_err(|error| match error {
            // If sockets were refused meanwhile, perhaps for this look-up, a missing answer is nobody else's fault.
            ResolveError::Io(_) | ResolveError::Timeout => {
                self.sockets.refused_since(refused).map_or(error, ResolveError::Io)
            }
            error => error,
        })
    }
}

/// Asks for the addresses of both families at once. A family that does not answer holds up the other one's addresses
/// for [`RESOLUTION_DELAY`] only. IPv4 comes first.
async fn look_up(resolver: &Hickory<Sockets>, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let ipv4 = resolver.lookup(host, RecordType::A);
    let ipv6 = resolver.lookup(host, RecordType::AAAA);
    tokio::pin!(ipv4, ipv6);
    let (mut found4, mut found6) = (None, None);
    while found4.is_none() || found6.is_none() {
        let something = matches!(found4.as_ref().or(found6.as_ref()), Some(Ok(_)));
        tokio::select! {
            answer = &mut ipv4, if found4.is_none() => found4 = Some(addresses(answer)),
            answer = &mut ipv6, if found6.is_none() => found6 = Some(addresses(answer)),
            () = tokio::time::sleep(RESOLUTION_DELAY), if something => break,
        }
    }
    match (found4, found6) {
        (Some(Ok(mut found)), Some(Ok(more))) => {
            found.extend(more);
            Ok(found)
        }
        (Some(Ok(found)), _) | (_, Some(Ok(found))) => Ok(found),
        // An existing name may lack addresses of one family. Then the error of the other family says more.
        (Some(Err(ResolveError::NoAddress)), Some(Err(error))) | (Some(Err(error)), _) => Err(error),
        (None, _) => Err(ResolveError::Timeout),
    }
}

/// The addresses of an answer; without any it is [`ResolveError::NoAddress`].
fn addresses(answer: Result<Lookup, NetError>) -> Result<Vec<IpAddr>, ResolveError> {
    let found: Vec<IpAddr> =
        answer.map_err(resolve_error)?.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
    if found.is_empty() { Err(ResolveError::NoAddress) } else { Ok(found) }
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

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::thread;

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use rustix::process::{Resource, Rlimit};

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
        serve_names(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    fn serve_names(socket: UdpSocket) -> u16 {
        let port = socket.local_addr().unwrap().port();
        let (late, answers) = mpsc::channel::<(Instant, Vec<u8>, SocketAddr)>();
        let answering = socket.try_clone().unwrap();
        thread::spawn(move || {
            for (at, answer, peer) in answers {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                answering.send_to(&answer, peer).unwrap();
            }
        });
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
                    // Dead, but for a wildcard below the search domain.
                    b"dead" if query[12..name_end].windows(5).any(|label| label == b"\x04corp") => (0, 1),
                    b"dead" => (3, 0),
                    b"half" | b"late" | b"late6" if is_a => (0, 1),
                    b"late" | b"late6" => (0, 0),
                    b"refusing" => (5, 0),
                    _ => continue,
                };
                let mut answer = query[..2].to_vec();
                answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
                answer.extend(&query[12..name_end + 4]);
                for last in 1..=answers {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last]);
                }
                if label == b"late" {
                    late.send((Instant::now() + Duration::from_secs(2), answer, peer)).unwrap();
                } else if label == b"late6" && !is_a {
                    late.send((Instant::now() + RESOLUTION_DELAY * 4, answer, peer)).unwrap();
                } else {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        port
    }

    fn resolver_of(config: ResolverConfig) -> SystemResolver {
        let sockets = Sockets::default();
        let builder = Hickory::builder_with_config(config, sockets.clone());
        SystemResolver::built(builder, sockets, None, [None; 2]).unwrap()
    }

    #[test]
    fn a_dead_name_is_not_found_below_a_search_domain() {
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let search = vec!["corp.test.".parse().unwrap()];
        let resolver = resolver_of(ResolverConfig::from_parts(None, search, vec![server]));
        let found = resolver.resolve("dead.example", Duration::from_secs(5));
        assert!(matches!(found, Err(ResolveError::NxDomain)), "{found:?}");
        // A bare name is what the search list is for.
        assert_eq!(
            resolver.resolve("dead", Duration::from_secs(5)).unwrap(),
            [[127, 0, 0, 1]].map(IpAddr::from)
        );
    }

    #[test]
    fn an_answer_that_never_comes_for_ipv6_does_not_hold_up_the_one_for_ipv4() {
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let resolver = resolver_of(ResolverConfig::from_parts(None, Vec::new(), vec![server]));
        // Shorter than the name server's own time-out of 5 s.
        let found = resolver.resolve("half.example", Duration::from_secs(4));
        assert_eq!(found.unwrap(), [[127, 0, 0, 1]].map(IpAddr::from));
    }

    #[test]
    fn an_answer_for_the_wanted_version_is_waited_for() {
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let resolver = resolver_of(ResolverConfig::from_parts(None, Vec::new(), vec![server]));
        let resolve = |host, version| resolver.resolve_version(host, version, Duration::from_secs(4));
        // The answer for IPv4 comes long before it.
        assert!(matches!(resolve("late6.example", IpVersion::V6), Err(ResolveError::NoAddress)));
        assert_eq!(resolve("late6.example", IpVersion::V4).unwrap(), [[127, 0, 0, 1]].map(IpAddr::from));
        // One for the other version that never comes is not waited for.
        assert_eq!(resolve("half.example", IpVersion::V4).unwrap(), [[127, 0, 0, 1]].map(IpAddr::from));
    }

    #[test]
    fn a_changed_resolv_conf_is_taken_up() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["resolv.conf", "hosts"].map(|name| directory.path().join(name));
        let [first, second] = [[127, 86, 0, 1], [127, 86, 0, 2]].map(Ipv4Addr::from);
        // Name servers of that file are at port 53, which only root may open.
        let Ok(socket) = UdpSocket::bind((second, 53)) else { return };
        serve_names(socket);
        std::fs::write(&files[0], format!("nameserver {first}\n")).unwrap();
        let resolver = SystemResolver::of_files(files.clone()).unwrap();
        let resolve = || resolver.resolve("two.example", Duration::from_secs(2));
        assert!(resolve().is_err());

        let look_again = || resolver.current.lock().unwrap().looked_at -= LOOK_APART;
        std::fs::write(&files[0], format!("nameserver {second}\n# another\n")).unwrap();
        look_again();
        assert_eq!(resolve().unwrap().len(), 2);
        // Without the file the former one stays in force.
        std::fs::remove_file(&files[0]).unwrap();
        look_again();
        assert_eq!(resolve().unwrap().len(), 2);
    }

    #[test]
    fn a_name_servers_answers_keep_their_meaning() {
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let resolver = resolver_of(ResolverConfig::from_parts(None, Vec::new(), vec![server]));
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

    /// 80 look-ups at once that take 2 s each, of two sockets each, where a process may have 128: in a process of its own.
    #[test]
    fn look_ups_without_a_descriptor_are_the_checkers_own_trouble() {
        const CHILD: &str = "WEBMON_TEST_FEW_FILES";
        if std::env::var_os(CHILD).is_none() {
            let test = "check::resolve::tests::look_ups_without_a_descriptor_are_the_checkers_own_trouble";
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(CHILD, "1")
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = name_server();
        let resolver = resolver_of(ResolverConfig::from_parts(None, Vec::new(), vec![server]));
        let limit = Rlimit { current: Some(128), maximum: Some(128) };
        rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
        let faults: Vec<Fault> = thread::scope(|scope| {
            let look_up = |number: usize| {
                let found = resolver.resolve(&format!("late.{number}.example"), Duration::from_secs(20));
                found.err().map(|error| error.into_fault(false))
            };
            let threads: Vec<_> = (0..80).map(|number| scope.spawn(move || look_up(number))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(!faults.is_empty(), "there were descriptors for all");
        for fault in faults {
            assert_eq!((fault.error_type, fault.detail), (ErrorType::Saturated, "too_many_open_files"));
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
