//! Checks, each one request to one site that is measured and judged, and the threads that make them.
//!
//! A check never returns an error. Whatever a site does is data in a [`CheckResult`]. Whatever goes wrong on the
//! checker's own side makes the instant `missed`, never a failure of the site. A process notices if it was stopped,
//! suspended or starved during a check: see [`Checker::check`].
//!
//! - [`Checker`] makes one check at a time; each thread has its own.
//! - [`Pool`] makes many at a time, and ensures that every instant given to it yields exactly one result.
//! - [`Resolve`] turns names into addresses; [`SystemResolver`] asks the system's name servers.
//!
//! # What is measured
//! `dns_us`, `connect_us`, `tls_us`, `ttfb_us` and `download_us` describe the final hop: the request that was answered,
//! or the one that failed. `total_us` is the whole attempt, redirects and body included, so the phases of a redirected
//! check add up to less. A check with retries reports its last attempt; `started_at` is the start of the first. An
//! address in the URL needs no look-up, so `dns_us` is null. With a proxy `dns_us` and `remote_ip` are the proxy's, and
//! `connect_us` lasts until the proxy has connected to the site; over plain HTTP until there is a connection to the proxy.
//!
//! # What is sent on after a redirect
//! Credentials in the site's URL and the site's own headers are secrets of the site's own host. They are sent to the
//! same scheme, host and port, and to the `https` of a plain host, and nowhere else. So is what [`Site::tls`] says, its
//! client certificate included. [`Network`] applies everywhere, except that `resolve` is about the site's own host.
//!
//! [`CheckResult`]: crate::record::CheckResult
//! [`Network`]: crate::site::Network
//! [`Site::tls`]: crate::site::Site::tls

mod address;
mod again;
mod body;
mod certificate;
mod charset;
mod checker;
mod connect;
mod date;
mod dial;
mod error;
mod expect;
mod fault;
mod forward;
mod head;
mod hop;
mod json;
mod observed;
mod outcome;
mod pool;
mod proxy;
mod request;
mod resolve;
mod sample;
mod settings;
mod sockets;
mod stalls;
mod tls;
mod token;
mod tunnel;
mod way;
mod wire;

pub use checker::Checker;
pub use dial::has_address;
pub use error::SetupError;
pub use observed::{MAX_OBSERVED_HEADERS, Observed};
pub use pool::{Pool, PoolOptions, Sink};
pub use resolve::{Resolve, ResolveError, SystemResolver};
pub use settings::{Settings, read_roots};
pub(crate) use stalls::{Stalls, spoils};
