//! Sites whose certificate nobody verifies.

use std::sync::Arc;

use webmon::site::Site;

/// The most sites that are named.
const MAX_NAMED: usize = 10;

/// Says which sites have `tls.verify = false`, if any has.
pub fn unverified(sites: &[Arc<Site>]) -> Option<String> {
    let mut unverified = sites.iter().filter(|site| site.tls.as_ref().is_some_and(|tls| !tls.verifies()));
    let named: Vec<String> =
        unverified.by_ref().take(MAX_NAMED).map(|site| format!("{:?}", site.key)).collect();
    if named.is_empty() {
        return None;
    }
    let more = match unverified.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "tls.verify is false for {}{more}: whoever answers for them may be anybody, also to their credentials",
        named.join(", ")
    ))
}

pub fn warn_of_unverified(sites: &[Arc<Site>]) {
    if let Some(warning) = unverified(sites) {
        log::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use webmon::config::{Config, Role};

    use super::*;

    #[test]
    fn sites_that_nobody_verifies_are_named_up_to_a_limit() {
        let sites = |count: usize| {
            let mut toml = "kafka.brokers = [\"h:1\"]\nsite_defaults.schedule = \"@hourly\"\n".to_owned();
            for i in 0..count {
                let tls = "tls = { verify = false }";
                toml += &format!("[[site]]\nname = \"s{i}\"\nurl = \"https://s/\"\n{tls}\n");
            }
            toml += "[[site]]\nname = \"verified\"\nurl = \"https://s/\"\ntls = { verify = true }\n";
            unverified(&Config::from_toml(&toml, Role::Check).unwrap().sites)
        };
        assert_eq!(sites(0), None);
        assert!(sites(2).unwrap().starts_with("tls.verify is false for \"s0\", \"s1\": whoever answers"));
        assert!(sites(13).unwrap().contains("\"s9\" and 3 more: "));
    }
}
