//! Listens, and gives each connection a limit in everything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::serving::Peer;
use crate::shutdown::Shutdown;

/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// After so long a connection takes no further request. Clients connect again.
const CONNECTION: Duration = Duration::from_secs(120);
/// How much longer a response under way may take.
const REST: Duration = Duration::from_secs(30);
/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// The pages by host, and those that answer to every name.
pub(super) struct Hosts {
    pub(super) named: HashMap<String, Router>,
    pub(super) others: Option<Router>,
}

impl Hosts {
    fn router(&self, request: &Request<Incoming>) -> Option<Router> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.named.get(&name.to_ascii_lowercase()).or(self.others.as_ref()).cloned()
    }
}

/// Serves until a stop is requested. `clients` is the most connections at the same time.
pub(super) async fn serve(listener: TcpListener, hosts: Hosts, clients: usize, shutdown: &Shutdown) {
    let (hosts, free) = (Arc::new(hosts), Arc::new(Semaphore::new(clients)));
    while !shutdown.is_requested() {
        // More clients wait in the queue of the system.
        let Ok(Ok(permit)) = tokio::time::timeout(LOOK, Arc::clone(&free).acquire_owned()).await else {
            continue;
        };
        match tokio::time::timeout(LOOK, listener.accept()).await {
            Ok(Ok((stream, peer))) => {
                let hosts = Arc::clone(&hosts);
                tokio::spawn(async move {
                    let _permit = permit;
                    connection(stream, peer, hosts).await;
                });
            }
            Ok(Err(error)) => {
                // Such as too many open files.
                log::warn!(error = error.to_string(); "cannot accept a connection");
                tokio::time::sleep(LOOK).await;
            }
            Err(_) => {}
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, hosts: Arc<Hosts>) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        let router = hosts.router(&request);
        async move {
            match router {
                Some(mut router) => router.call(request).await,
                None => {
                    let mut response = Response::new(Body::from("no page answers to this name"));
                    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
                    Ok(response)
                }
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What goes wrong on a connection is the client's, who has gone or speaks no HTTP.
    if tokio::time::timeout(CONNECTION, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(REST, connection).await;
    }
}
