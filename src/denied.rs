//! The rules on addresses: whether the configuration forbids to connect to one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether a rule forbids `address`, in whatever form it is written.
pub(crate) fn denied(rules: &[IpNet], address: IpAddr) -> bool {
    let forms = [Some(address), embedded(address), embedded(address).and_then(reached), reached(address)];
    rules.iter().any(|rule| forms.iter().flatten().any(|form| rule.contains(form)))
}

/// The IPv4 address that a connection to an IPv6 address reaches, if the IPv6 address embeds one: mapped
/// (`::ffff:10.0.0.1`), compatible (`::10.0.0.1`), NAT64 (RFC 6052, `64:ff9b::/96`; RFC 8215, `64:ff9b:1::/48` as /96)
/// or 6to4 (RFC 3056, `2002::/16`).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff | 0] if (g, h) != (0, 0) && (g, h) != (0, 1) => Some(of(g, h)),
        [0, 0, 0, 0, 0, 0xffff] => Some(of(g, h)),
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => Some(of(g, h)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// The loopback address that a connection to "no address" (`0.0.0.0/8`, `::`) reaches on Linux.
fn reached(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) if address.octets()[0] == 0 => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Ipv6Addr::LOCALHOST.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_also_forbids_the_ipv6_form_of_an_ipv4_address() {
        let rules: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()];
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
            ("::10.1.2.3", true),
            ("64:ff9b::10.1.2.3", true),
            ("64:ff9b::11.1.2.3", false),
            ("64:ff9b:1::10.1.2.3", true),
            ("2002:a01:203::1", true),
            ("2002:b01:203::1", false),
        ] {
            assert_eq!(denied(&rules, address.parse().unwrap()), expected, "{address}");
        }
        let loopback: [IpNet; 2] = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for address in
            ["0.0.0.0", "0.1.2.3", "::", "::1", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "2002:7f00:1::"]
        {
            assert!(denied(&loopback, address.parse().unwrap()), "{address}");
        }
    }
}
