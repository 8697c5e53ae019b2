//! One try to tell a receiver: the forms that each kind of receiver understands, and what its answer means.

mod addresses;
mod alertmanager;
mod beat;
mod context;
mod email;
mod http;
mod letter;
mod limits;
mod line;
mod outcome;
mod pagerduty;
mod scrub;
mod send;
mod slack;
mod text;
mod webhook;

pub use self::beat::beat;
pub use self::limits::Limits;
pub use self::outcome::Outcome;
pub use self::send::{max_notices, send};
