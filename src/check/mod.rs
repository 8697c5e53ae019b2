//! Checks: one request to one site, measured and judged, and the threads that make them.
//!
//! A check never fails as a function does: whatever a site does is data in a [`CheckResult`], and whatever
//! goes wrong on the checker's own side makes the instant `missed`, never a failure of the site. A process that was
//! stopped, suspended or starved within a check notices: see [`Checker::check`].
//!
//! - [`Checker`] makes one check at a time; one belongs to each thread.
//! - [`Pool`] makes many at a time and sees to it that every instant given to it yields exactly one result.
//! - [`Resolve`] turns names into addresses; [`SystemResolver`] asks the system's name servers.
//!
//! # What is measured
//! `dns_us`, `connect_us`, `tls_us`, `ttfb_us` and `download_us` describe the final hop: the request that was
//! answered, or the one that failed. `total_us` is the whole attempt, redirects and body included, so the phases
//! of a redirected check add up to less. A check with retries reports its last attempt; `started_at` is the
//! start of the first. An address in the URL needs no look-up: `dns_us` is null.
//!
//! # What a redirect takes along
//! Credentials of the site's URL and the site's own headers are secrets of the site's own host: they are sent
//! to the same scheme, host and port and to the `https` of a plain host, and to no one else.
//!
//! [`CheckResult`]: crate::record::CheckResult

mod address;
mod body;
mod checker;
mod connect;
mod date;
mod error;
mod expect;
mod fault;
mod head;
mod hop;
mod pool;
mod request;
mod resolve;
mod sample;
mod settings;
mod sockets;
mod stalls;
mod tls;
mod wire;

pub use checker::Checker;
pub use error::SetupError;
pub use pool::{Pool, PoolOptions, Sink};
pub use resolve::{Resolve, ResolveError, SystemResolver};
pub use settings::{Settings, read_roots};
pub(crate) use stalls::{Stalls, spoils};
