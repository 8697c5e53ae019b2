//! Sites on loopback for tests and the demo: small hand-made servers, well-behaved or not, and certificates.

#![allow(dead_code)] // Each program that includes it uses a part.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The longest that a handler waits for its peer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most connections a server handles at a time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 256;

/// A server on a port of loopback that hands every connection to a function, on a thread each. Stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// On a port that is free.
    pub fn start(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        Server::on(0, handler).unwrap()
    }

    /// On `port`, or on a free one when that is 0.
    pub fn on(port: u16, handler: impl Fn(TcpStream) + Send + Sync + 'static) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        let handler = Arc::new(handler);
        let thread = thread::spawn(move || {
            let open = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                    open.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_write_timeout(Some(PATIENCE));
                let (handler, open) = (Arc::clone(&handler), Arc::clone(&open));
                thread::spawn(move || {
                    handler(stream);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Server { address, stop, accepted, thread: Some(thread) })
    }

    /// Answers every request with `response`, then closes.
    pub fn answering(response: impl Into<Vec<u8>>) -> Server {
        let response = response.into();
        Server::start(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(&response);
        })
    }

    /// Answers every request with `response` over TLS, then closes.
    pub fn https(port: u16, config: Arc<ServerConfig>, response: impl Into<Vec<u8>>) -> io::Result<Server> {
        let response = response.into();
        Server::on(port, move |stream| {
            let Ok(session) = ServerConnection::new(Arc::clone(&config)) else { return };
            let mut stream = StreamOwned::new(session, stream);
            // Nothing more to say to a peer that broke off the handshake.
            if read_head(&mut stream).is_empty() {
                return;
            }
            let _ = stream.write_all(&response);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request's head, or what came of it before the peer closed; at most 64 KiB.
pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 * 1024 {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Holds the connection until the peer closes it.
pub fn hold(stream: &mut impl Read) {
    let _ = io::copy(stream, &mut io::sink());
}

/// Closes the connection with a reset.
pub fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// A whole response with `body`; `headers` as `name: value` lines.
pub fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        response.push_str(header);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    let mut response = response.into_bytes();
    response.extend_from_slice(body);
    response
}

/// A port of loopback on which nobody listens. The socket is bound for as long as this lives.
pub struct ClosedPort {
    _socket: socket2::Socket,
    pub address: SocketAddr,
}

impl ClosedPort {
    pub fn new() -> ClosedPort {
        ClosedPort::on(0).unwrap()
    }

    /// `port`, or a free one when that is 0.
    pub fn on(port: u16) -> io::Result<ClosedPort> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok(ClosedPort { _socket: socket, address })
    }
}

/// An address of loopback whose queue of connections is full: the kernel drops further ones silently.
pub struct BlackHole {
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
    pub address: SocketAddr,
}

impl BlackHole {
    pub fn new(address: Ipv4Addr, port: u16) -> BlackHole {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((address, port)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue does not fill");
        }
        BlackHole { _listener: listener, _queued: queued, address }
    }
}

/// A certificate authority of one's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates between a server's and the root, as a server sends them.
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority_params(name), key).unwrap();
        Authority { issuer, chain: Vec::new() }
    }

    /// An authority that this one vouches for.
    pub fn intermediate(&self, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(authority_params(name), key, &self.issuer).unwrap();
        let mut chain = vec![issuer.der().clone()];
        chain.extend_from_slice(&self.chain);
        Authority { issuer, chain }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for `names`, valid from the start of one year to the start of another.
    pub fn server(&self, names: &[&str], from_year: i32, to_year: i32) -> Arc<ServerConfig> {
        self.server_with(params(names, from_year, to_year))
    }

    /// One that is valid until `not_after`.
    pub fn server_until(&self, names: &[&str], not_after: SystemTime) -> Arc<ServerConfig> {
        let mut params = params(names, 2020, 2040);
        params.not_after = not_after.into();
        self.server_with(params)
    }

    fn server_with(&self, params: CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        server_config(chain, &key)
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A server's certificate signed by its own key.
pub fn self_signed(names: &[&str]) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = params(names, 2020, 2040).self_signed(&key).unwrap();
    server_config(vec![certificate.der().clone()], &key)
}

/// The same, but the certificate calls itself an authority; and the certificate.
pub fn self_signed_authority(names: &[&str], to_year: i32) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names, 2020, to_year);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    (server_config(vec![certificate.clone()], &key), certificate)
}

fn params(names: &[&str], from_year: i32, to_year: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a test site");
    params.not_before = date_time_ymd(from_year, 1, 1);
    params.not_after = date_time_ymd(to_year, 1, 1);
    params
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// What servers were sent, in order.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub fn push(&self, head: String) {
        self.0.lock().unwrap().push(head);
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
