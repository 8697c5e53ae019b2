//! All pages of a program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::error::PageError;
use super::pool::Pool;
use super::reader::Reader;
use super::router::router;
use super::server::{self, Hosts};
use super::serving::Serving;
use crate::config::{Page, Postgres, Web};
use crate::shutdown::Shutdown;

/// Threads that answer. What waits for the database waits on others.
const THREADS: usize = 2;

/// Status pages that listen.
pub struct Pages {
    runtime: Runtime,
    listener: TcpListener,
    hosts: Hosts,
    pool: Arc<Pool>,
    reader: Arc<Reader>,
    clients: usize,
}

impl Pages {
    /// Listens on the address of `web`. Nobody is answered before [`Pages::run`]. The database is connected to when
    /// somebody asks.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn listen(postgres: &Postgres, web: &Web, pages: &[Page]) -> Result<Pages, PageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(web.connections + 1)
            .thread_name("page")
            .enable_all()
            .build()
            .map_err(PageError::Threads)?;
        let pool = Arc::new(Pool::new(postgres, web)?);
        let reader = Arc::new(Reader::new(Arc::clone(&pool), web.fresh));
        let listener = runtime
            .block_on(TcpListener::bind(web.listen))
            .map_err(|cause| PageError::Listen { address: web.listen, cause })?;
        let mut by_host: HashMap<Option<String>, Router> = HashMap::new();
        for page in pages {
            let serving = Serving::new(page, web, Arc::clone(&pool), Arc::clone(&reader));
            let others = by_host.remove(&page.host).unwrap_or_default();
            let router = match page.path.as_str() {
                "/" => others.merge(router(serving)),
                path => {
                    // The page is at its path without a slash at the end.
                    let to = path.to_owned();
                    let away = get(move || std::future::ready(Redirect::permanent(&to)));
                    others.nest(path, router(serving)).route(&format!("{path}/"), away)
                }
            };
            by_host.insert(page.host.clone(), router);
        }
        let others = by_host.remove(&None);
        let named = by_host.into_iter().filter_map(|(host, router)| Some((host?, router))).collect();
        Ok(Pages { runtime, listener, hosts: Hosts { named, others }, pool, reader, clients: web.clients })
    }

    /// The address that it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until a stop is requested.
    pub fn run(self, shutdown: &Shutdown) {
        let Pages { runtime, listener, hosts, pool, reader, clients } = self;
        // So that the first visitor need not wait.
        runtime.spawn(async move { reader.overview().await.map(drop) });
        runtime.block_on(server::serve(listener, hosts, clients, shutdown));
        pool.close();
        // A statement under way is not waited for: it changes nothing.
        runtime.shutdown_background();
    }
}
