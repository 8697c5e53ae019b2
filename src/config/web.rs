//! `[web]`: where `webmon-page` listens, and how much it takes upon itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::table::Table;
use super::units::{MILLISECOND, MINUTE, SECOND};

/// The most networks of proxies.
const MAX_PROXIES: usize = 100;

/// `[web]`: where `webmon-page` listens, and how much it takes upon itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// The address and port. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// How often the database is read while somebody looks. 1 s to 5 min, default 5 s.
    pub fresh: Duration,
    /// The most connections to PostgreSQL. 1 to 64, default 4.
    pub connections: usize,
    /// The longest time that a statement may run. 100 ms to 1 min, default 10 s.
    pub statement_timeout: Duration,
    /// The most clients that are connected at the same time. 1 to 10,000, default 512.
    pub clients: usize,
    /// The networks of the proxies whose headers are believed. Default none.
    pub proxies: Vec<IpNet>,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_080),
            fresh: SECOND * 5,
            connections: 4,
            statement_timeout: SECOND * 10,
            clients: 512,
            proxies: Vec::new(),
        }
    }
}

impl Web {
    /// Whether the headers of a client at `address` are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

pub(super) fn web(table: &Table) -> Web {
    let default = Web::default();
    let listen = table.get("listen").and_then(|entry| {
        let text = entry.text(100)?;
        text.parse().ok().or_else(|| {
            entry.refuse(format_args!(
                "{text:?} is not an address with a port: expected one such as \"127.0.0.1:8080\""
            ))
        })
    });
    let network = |text: &str| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>());
        network.map_err(|_| {
            format!("{text:?} is not an address or a network: expected one such as \"10.0.0.0/8\"")
        })
    };
    let proxies = table.list("proxies", 0, MAX_PROXIES);
    let web = Web {
        listen: listen.unwrap_or(default.listen),
        fresh: table.duration("fresh", SECOND, MINUTE * 5).unwrap_or(default.fresh),
        connections: table.integer("connections", 1, 64u32).map_or(default.connections, |n| n as usize),
        statement_timeout: table
            .duration("statement_timeout", MILLISECOND * 100, MINUTE)
            .unwrap_or(default.statement_timeout),
        clients: table.integer("clients", 1, 10_000u32).map_or(default.clients, |n| n as usize),
        proxies: proxies.unwrap_or_default().iter().filter_map(|item| item.parse(network)).collect(),
    };
    table.refuse_unknown();
    web
}
