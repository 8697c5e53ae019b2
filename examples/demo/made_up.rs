//! Sites of the demo that have a past. All that is told of them is made up: what they are, how they answered, and what
//! went wrong. It depends on nothing but the site, the place, the time and [`SEED`].

#![allow(dead_code, reason = "each program that includes it uses a part")]

use webmon::record::ErrorType;

/// Another seed makes other times, and the same troubles.
const SEED: u64 = 42;

/// Where the sites are checked from: the first is where the demo's other sites are, too.
pub const LOCATIONS: [&str; 3] = ["demo", "demo-oslo", "demo-lima"];
/// How much longer the network takes from there.
const DISTANCE: [f64; 3] = [1.0, 1.7, 3.6];

/// The label of all of them.
pub const LABEL: (&str, &str) = ("demo", "made up");

/// A made-up site.
pub struct MadeUp {
    /// Its name and key.
    pub name: &'static str,
    pub team: &'static str,
    /// From how many of [`LOCATIONS`] it is checked.
    pub places: usize,
    /// What the phases typically take in a quiet hour at the first location, in microseconds.
    typical: Phases,
    /// How many times as long the server takes in the busiest hour.
    rush: f64,
    /// A success that takes longer is degraded, in milliseconds.
    pub degraded_ms: u32,
    /// How many days its certificate is still valid.
    pub certificate_days: i64,
    troubles: &'static [Trouble],
}

/// How long the phases of a check take, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    pub dns: u32,
    pub connect: u32,
    pub tls: u32,
    pub wait: u32,
    pub download: u32,
}

impl Phases {
    pub fn total(&self) -> u32 {
        self.dns + self.connect + self.tls + self.wait + self.download
    }
}

/// What went wrong for a while.
struct Trouble {
    /// How long before now it began and ended, in minutes. One that ends at 0 goes on.
    minutes: (i64, i64),
    /// At which of the locations; at all if none is named.
    location: Option<&'static str>,
    /// How many of 100 instants it hits.
    share: u64,
    what: Seen,
}

/// What became of an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    Up,
    /// It answers, but takes so many times as long.
    Slow(f64),
    Failed(Fault),
    /// Not checked, for this reason.
    Missed(ErrorType),
    /// The checker did not run.
    Nothing,
}

/// How a site fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub error: ErrorType,
    pub detail: &'static str,
    pub message: &'static str,
    pub status: Option<u16>,
}

const fn fault(error: ErrorType, detail: &'static str, message: &'static str, status: Option<u16>) -> Seen {
    Seen::Failed(Fault { error, detail, message, status })
}

const UNAVAILABLE: Seen =
    fault(ErrorType::ExpectationFailed, "status", "status 503: expected 200-299", Some(503));
const BROKEN: Seen = fault(ErrorType::ExpectationFailed, "status", "status 500: expected 200-299", Some(500));
const WRONG_JSON: Seen =
    fault(ErrorType::ExpectationFailed, "json", "$.status is \"degraded\": expected \"ok\"", Some(200));
const SILENT: Seen = fault(ErrorType::Timeout, "response", "timed out waiting for the response", None);
const REFUSED: Seen = fault(ErrorType::Connect, "refused", "connection refused", None);
const NO_NAME: Seen = fault(ErrorType::Dns, "nxdomain", "the name does not exist", None);
const EXPIRED: Seen = fault(ErrorType::Tls, "certificate_expired", "the certificate has expired", None);

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// Everywhere, at all instants.
const fn trouble(minutes: (i64, i64), what: Seen) -> Trouble {
    Trouble { minutes, location: None, share: 100, what }
}

const fn trouble_at(location: &'static str, minutes: (i64, i64), share: u64, what: Seen) -> Trouble {
    Trouble { minutes, location: Some(location), share, what }
}

/// The demo's machine was off for a while.
const OFF: Trouble = trouble_at("demo", (3 * DAY + 2 * HOUR, 3 * DAY + 25), 100, Seen::Nothing);

/// All of them.
pub const SITES: [MadeUp; 6] = [
    MadeUp {
        name: "shop",
        team: "storefront",
        places: 3,
        typical: Phases { dns: 6_000, connect: 14_000, tls: 31_000, wait: 84_000, download: 19_000 },
        rush: 2.1,
        degraded_ms: 900,
        certificate_days: 58,
        troubles: &[
            OFF,
            trouble((4 * DAY + 6 * HOUR, 4 * DAY + 5 * HOUR + 13), UNAVAILABLE),
            trouble_at(
                "demo-oslo",
                (2 * DAY + 9 * HOUR, 2 * DAY + 8 * HOUR),
                100,
                Seen::Missed(ErrorType::NetworkDown),
            ),
            trouble_at("demo-lima", (DAY + 3 * HOUR, DAY + 2 * HOUR + 30), 80, SILENT),
        ],
    },
    MadeUp {
        name: "api",
        team: "platform",
        places: 3,
        typical: Phases { dns: 4_000, connect: 11_000, tls: 27_000, wait: 22_000, download: 2_000 },
        rush: 1.4,
        degraded_ms: 400,
        certificate_days: 71,
        troubles: &[
            OFF,
            trouble((2 * DAY + HOUR, 2 * DAY - 50), WRONG_JSON),
            trouble((DAY - 2 * HOUR, DAY - 5 * HOUR), Seen::Slow(7.0)),
            trouble((5 * DAY + 40, 5 * DAY + 20), BROKEN),
        ],
    },
    MadeUp {
        name: "docs",
        team: "platform",
        places: 1,
        typical: Phases { dns: 3_000, connect: 9_000, tls: 24_000, wait: 12_000, download: 8_000 },
        rush: 1.2,
        degraded_ms: 800,
        certificate_days: 6,
        troubles: &[OFF, trouble((6 * DAY - HOUR, 6 * DAY - 3 * HOUR), Seen::Missed(ErrorType::Maintenance))],
    },
    MadeUp {
        name: "login",
        team: "identity",
        places: 1,
        typical: Phases { dns: 5_000, connect: 12_000, tls: 29_000, wait: 46_000, download: 3_000 },
        rush: 1.8,
        degraded_ms: 800,
        certificate_days: 33,
        troubles: &[
            OFF,
            trouble((25, 0), UNAVAILABLE),
            trouble((5 * DAY + 7 * HOUR, 5 * DAY + 6 * HOUR + 35), NO_NAME),
            trouble((2 * DAY + 16 * HOUR, 2 * DAY + 15 * HOUR + 48), REFUSED),
        ],
    },
    MadeUp {
        name: "blog",
        team: "marketing",
        places: 1,
        typical: Phases { dns: 9_000, connect: 21_000, tls: 44_000, wait: 130_000, download: 41_000 },
        rush: 1.3,
        degraded_ms: 1_500,
        certificate_days: 84,
        troubles: &[OFF, trouble((6 * DAY + 5 * HOUR, 6 * DAY + 2 * HOUR), EXPIRED)],
    },
    MadeUp {
        name: "search",
        team: "platform",
        places: 1,
        typical: Phases { dns: 4_000, connect: 10_000, tls: 25_000, wait: 180_000, download: 12_000 },
        rush: 2.6,
        degraded_ms: 700,
        certificate_days: 47,
        troubles: &[
            OFF,
            Trouble { minutes: (7 * DAY, 0), location: None, share: 2, what: SILENT },
            trouble((10 * HOUR, 7 * HOUR), Seen::Slow(3.0)),
        ],
    },
];

impl MadeUp {
    pub fn named(name: &str) -> Option<&'static MadeUp> {
        SITES.iter().find(|site| site.name == name)
    }

    /// What became of the instant `at` at a place, seen from `now`. Both are seconds since 1970.
    pub fn seen(&self, place: usize, at: i64, now: i64) -> Seen {
        let ago = (now - at).div_euclid(60);
        let is_hit = |trouble: &&Trouble| {
            let (began, ended) = trouble.minutes;
            let is_then = ago <= began && (ago >= ended || ended == 0);
            let is_there = trouble.location.is_none_or(|location| location == LOCATIONS[place]);
            is_then && is_there && self.chance(place, at, 0) * 100.0 < trouble.share as f64
        };
        self.troubles.iter().find(is_hit).map_or(Seen::Up, |trouble| trouble.what)
    }

    /// How long the phases of a success take at `at`, which is `slower` times as long as usual.
    pub fn phases(&self, place: usize, at: i64, slower: f64) -> Phases {
        // Quiet at four in the morning, busiest at four in the afternoon.
        let hour = at.rem_euclid(86_400) as f64 / 3_600.0;
        let busy = (0.5 - 0.5 * ((hour - 4.0) * std::f64::consts::PI / 12.0).cos()).powi(2);
        let load = (1.0 + (self.rush - 1.0) * busy) * slower;
        let far = DISTANCE[place];
        let time = |typical: u32, factor: f64, number: u64| {
            let chance = self.chance(place, at, number);
            // Seldom much longer, as on real networks.
            let noise = 0.8 + 0.4 * chance + if chance > 0.98 { 1.5 } else { 0.0 };
            (f64::from(typical) * factor * noise) as u32
        };
        // Most names are in the resolver's cache.
        let dns = if self.chance(place, at, 6) < 0.8 { 0.1 } else { 1.0 };
        Phases {
            dns: time(self.typical.dns, dns, 1),
            connect: time(self.typical.connect, far, 2),
            tls: time(self.typical.tls, far, 3),
            wait: time(self.typical.wait, load + 0.2 * far, 4),
            download: time(self.typical.download, far, 5),
        }
    }

    /// A number from 0 to 1 that seems to be random.
    fn chance(&self, place: usize, at: i64, number: u64) -> f64 {
        let name = self.name.bytes().fold(SEED, |sum, byte| mix(sum ^ u64::from(byte)));
        let bits = mix(mix(name ^ place as u64) ^ at as u64 ^ (number << 48));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
fn mix(value: u64) -> u64 {
    let mut bits = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
