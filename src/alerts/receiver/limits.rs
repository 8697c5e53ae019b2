//! What holds for all requests to receivers.

use ipnet::IpNet;

use crate::config::Check;

/// What holds for all requests to receivers, and is the same as for checks.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Networks that nobody is told in: `check.deny_addresses`.
    pub deny_addresses: Vec<IpNet>,
    /// The `User-Agent` of the requests.
    pub user_agent: String,
}

impl Limits {
    /// Those of `[check]`.
    pub fn of(check: &Check) -> Limits {
        Limits { deny_addresses: check.deny_addresses.clone(), user_agent: check.user_agent.clone() }
    }
}
