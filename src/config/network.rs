//! `ip`, `source`, `resolve` and `proxy` of a site: how its requests leave this host.

use std::net::IpAddr;
use std::sync::Arc;

use url::{Host, Url};

use super::entry::Entry;
use super::table::Table;
use crate::limits::{MAX_TEXT, MAX_URL};
use crate::site::{IpChoice, IpVersion, Network, Proxy, Site};

/// The most addresses of `resolve`. No more of a name are tried either.
const MAX_ADDRESSES: usize = 8;

pub(super) fn network(table: &Table) -> Network {
    let ip = table.get("ip").and_then(|entry| ip(&entry)).unwrap_or_default();
    let mut network = Network { ip, ..Network::default() };
    if let Some(entry) = table.get("source") {
        network.source = source(&entry, ip);
    }
    if let Some(entry) = table.get("proxy") {
        network.proxy = proxy(&entry.hidden());
    }
    if let Some(entry) = table.get("resolve") {
        let items = table.texts("resolve", 1, MAX_ADDRESSES).unwrap_or_default();
        network.resolve = items.iter().filter_map(|item| item.parse(address)).collect();
        let usable = network.chosen(network.resolve.clone());
        if usable.is_empty() && !network.resolve.is_empty() {
            let _: Option<()> = entry.refuse("has no address of the IP version that ip or source ask for");
        }
        if network.proxy.is_some() {
            let _: Option<()> = entry
                .refuse("cannot be used with a proxy, which looks names up itself: expected one of them");
        }
    }
    network
}

/// Reports an address in the URL, of the site or its proxy, that may not be used.
pub(super) fn literal_that_fits(table: &Table, site: &Site) {
    let Some(only) = site.network.only() else { return };
    let (key, host) = match &site.network.proxy {
        Some(proxy) => ("proxy", Some(proxy.host().clone())),
        None => ("url", site.url.host().map(|host| host.to_owned())),
    };
    let version = match host {
        Some(Host::Ipv4(_)) => IpVersion::V4,
        Some(Host::Ipv6(_)) => IpVersion::V6,
        _ => return,
    };
    // What `resolve` gives is used instead of the address.
    if version != only && (site.network.resolve.is_empty() || key == "proxy") {
        table.fault(format!(
            "has an {version} address in its {key}, but its ip or source allow only {only}: expected another one"
        ));
    }
}

fn ip(entry: &Entry) -> Option<IpChoice> {
    Some(match entry.text(MAX_TEXT)?.as_str() {
        "any" => IpChoice::Any,
        "4" => IpChoice::Only(IpVersion::V4),
        "6" => IpChoice::Only(IpVersion::V6),
        "prefer-4" => IpChoice::Prefer(IpVersion::V4),
        "prefer-6" => IpChoice::Prefer(IpVersion::V6),
        other => {
            return entry.refuse(format_args!(
                "{other:?} is unknown: expected \"any\", \"4\", \"6\", \"prefer-4\" or \"prefer-6\""
            ));
        }
    })
}

fn source(entry: &Entry, ip: IpChoice) -> Option<IpAddr> {
    let source = match address(&entry.text(MAX_TEXT)?) {
        Ok(source) => source,
        Err(problem) => return entry.refuse(problem),
    };
    match ip {
        IpChoice::Only(version) | IpChoice::Prefer(version) if version != IpVersion::of(source) => {
            entry.refuse(format_args!("\"{source}\" is not {version}, which ip asks for"))
        }
        _ => Some(source),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => Ok(address),
        _ => Err(format!("{text:?} is not an address of a host: expected one such as \"10.0.0.2\"")),
    }
}

/// The text is never quoted: it may hold a password.
fn proxy(entry: &Entry) -> Option<Arc<Proxy>> {
    let text = entry.text(MAX_URL)?;
    if text == "off" {
        return None;
    }
    let url = match Url::parse(&text) {
        Ok(url) => url,
        Err(error) => return entry.refuse(format_args!("is not a URL: {error}")),
    };
    match Proxy::new(url) {
        Ok(proxy) => Some(Arc::new(proxy)),
        Err(error) => entry.refuse(error),
    }
}
