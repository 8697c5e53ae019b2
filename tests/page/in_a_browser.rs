//! The pages in a real Chromium: at every width, in light and dark, with and without script, by keyboard, to a screen
//! reader, and with hostile content.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use webmon::record::{Certificate, CheckResult, ErrorType, Hop, MaintenanceWindow, Outcome, Sample};

use crate::browser::{Browser, Media};
use crate::common::{Served, ago, store};
use crate::support::{Database, database, wait_until};

/// So long from now, in whole seconds.
fn whole(from_now: SignedDuration) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap() + from_now
}

/// Sites of every state, at two locations, over three days.
fn scene(database: &Database) {
    let mut all: Vec<CheckResult> = Vec::new();
    for (site, team) in [
        ("shop", "web"),
        ("api", "web"),
        ("docs", "web"),
        ("ledger", "money"),
        ("mail", "office"),
        ("vpn", "office"),
    ] {
        for n in 0..360 {
            for location in ["frankfurt", "helsinki"] {
                let seconds = n * 720;
                let down = match site {
                    "shop" => n < 4,
                    "api" => n < 3 && location == "helsinki",
                    _ => n % 97 == 0 && n > 0,
                };
                let outcome = match () {
                    () if down => Outcome::Failure,
                    () if n % 61 == 7 => Outcome::Missed,
                    () => Outcome::Success,
                };
                let mut result = ago(site, seconds, outcome);
                result.name = format!("{}{}", site[..1].to_uppercase(), &site[1..]);
                result.location = location.to_owned();
                result.labels = [("team".to_owned(), team.to_owned())].into();
                (result.schedule, result.incident_locations) =
                    (Some("*/12 * * * *, UTC".to_owned()), Some(2));
                let us = |base: u32| Some(base + (n as u32 * 7_919) % base);
                (result.dns_us, result.connect_us, result.tls_us) = (us(2_000), us(9_000), us(20_000));
                (result.ttfb_us, result.download_us, result.total_us) = (us(60_000), us(4_000), us(100_000));
                result.body_bytes = Some(48_211);
                match site {
                    "mail" if n < 2 => result.degraded = outcome == Outcome::Success,
                    "vpn" if n < 2 => result.set_error(ErrorType::Maintenance, None, None),
                    _ => {}
                }
                // Nobody has checked it for an hour.
                if site == "ledger" {
                    let hour = SignedDuration::from_hours(1);
                    result.scheduled_at -= hour;
                    result.started_at = result.started_at.map(|at| at - hour);
                    result.next_at = Some(result.scheduled_at + SignedDuration::from_secs(60));
                }
                if site == "docs" {
                    (result.slo_uptime_ppm, result.slo_window_days) = (Some(990_000), Some(30));
                    result.cert_not_after = Some(whole(SignedDuration::from_hours(9 * 24)));
                    result.certificate = Some(Certificate {
                        sha256: "ab".repeat(32),
                        issuer: "CN=Example CA".to_owned(),
                        subject_names: vec!["docs.example".to_owned()],
                        chain_not_after: None,
                    });
                }
                if site == "vpn" {
                    result.maintenance = vec![MaintenanceWindow {
                        schedule: "0 3 * * SUN".to_owned(),
                        timezone: "UTC".to_owned(),
                        duration_s: 7_200,
                    }];
                }
                all.push(result);
            }
        }
    }
    store(database, all);
    assert_eq!(
        database.json("SELECT reason, detail FROM webmon.dead_letters LIMIT 3"),
        Vec::<serde_json::Value>::new()
    );
}

const PAGES: &str = "[[page]]\ntitle = \"Example\"\ngroup_by = \"team\"\nfooter = \"Example Ltd\"\n\
    [[page]]\npath = \"/all\"\ntitle = \"All\"\nshow = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\n";

/// Where pictures go, for whoever wants to look: the folder that WEBMON_PICTURES names.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("WEBMON_PICTURES") {
        browser.screenshot(&PathBuf::from(folder).join(format!("{name}.png")));
    }
}

#[test]
fn every_page_fits_every_width_in_light_and_dark_and_a_screen_reader_can_use_it() {
    let (Some(database), Some(browser)) = (database(), Browser::start()) else { return };
    scene(&database);
    let served = Served::start(&database.url, PAGES);
    let root = format!("http://{}", served.address);
    let incident = served.get("/incidents.json").json()["incidents"][0]["incident_id"].as_i64().unwrap();
    let incident = format!("/incidents/{incident}");
    let pages = [
        ("front", "/"),
        ("site", "/sites/docs"),
        ("shop", "/sites/shop"),
        ("incidents", "/incidents"),
        ("incident", incident.as_str()),
        ("wall", "/wall"),
        ("nothing", "/nothing"),
    ];
    let mut faults: Vec<String> = Vec::new();
    for (name, path) in pages {
        for (width, height) in [(360, 740), (1280, 900), (2560, 1440)] {
            for dark in [false, true] {
                browser.resize(width, height);
                browser.prefer(Media { dark, ..Media::default() });
                browser.allow_scripts(true);
                browser.open(&format!("{root}{path}"));
                let fits = "return document.documentElement.scrollWidth";
                if browser.run(fits) != width {
                    let widest = format!(
                        "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > {width} \
                         && !e.closest('.scroll')).slice(0, 5).map(e => e.outerHTML.slice(0, 120))"
                    );
                    faults.push(format!("{name} is wider than {width}: {}", browser.run(&widest)));
                }
                picture(&browser, &format!("{name}-{width}-{}", if dark { "dark" } else { "light" }));
                // What it objects to depends on the colours and, where pieces are hidden or moved, on the width.
                if (width < 2_000 || name == "wall")
                    && let Some(violations) = browser.violations()
                {
                    faults.extend(
                        violations
                            .iter()
                            .map(|violation| format!("{name}, {width}, dark: {dark}: {violation:?}")),
                    );
                }
            }
        }
        // The same without script.
        let text = browser.text("main");
        browser.allow_scripts(false);
        browser.open(&format!("{root}{path}"));
        let without = browser.text("main");
        let words = |text: &str| {
            text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).count()
        };
        assert_eq!(words(&without), words(&text), "{name} without script");
        browser.allow_scripts(true);
    }
    let console: Vec<String> =
        browser.console().into_iter().filter(|line| !line.contains("404 (Not Found)")).collect();
    assert_eq!(console, Vec::<String>::new());
    assert_eq!(browser.requests_beyond(&root), []);
}

#[test]
fn every_part_is_reached_by_keyboard_and_the_days_of_a_bar_by_the_arrow_keys() {
    let (Some(database), Some(browser)) = (database(), Browser::start()) else { return };
    scene(&database);
    let served = Served::start(&database.url, PAGES);
    let root = format!("http://{}", served.address);
    browser.open(&format!("{root}/"));
    browser.press("Tab");
    assert_eq!(browser.focused(), "a: Skip to the content");
    browser.press("Enter");
    assert!(browser.run("return location.hash").as_str().unwrap().ends_with("main"));
    browser.open(&format!("{root}/?q=docs"));
    let mut path: Vec<String> = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        path.push(browser.focused());
        if path.last().is_some_and(|at| at.starts_with("svg")) {
            break;
        }
    }
    let label = browser.focused();
    assert!(
        label.contains("Docs, 90 days: ") && label.contains(" up, ") && label.contains(" checked"),
        "{label}"
    );
    // The last day at first, then the day before.
    let tip = || browser.text("#tip");
    let today = tip();
    assert!(today.contains("up") && today.contains("checked"), "{today}");
    browser.press("ArrowLeft");
    let yesterday = tip();
    assert!(yesterday.contains("% up") && yesterday != today, "{yesterday}");
    browser.press("Home");
    assert!(tip().contains("nothing was scheduled"), "{}", tip());
    browser.press("End");
    assert_eq!(tip(), today);
    browser.press("Escape");
    assert_eq!(tip(), "");
    // A result opens to its phases, without script.
    browser.allow_scripts(false);
    browser.open(&format!("{root}/sites/docs"));
    assert_eq!(browser.run("return document.querySelector('.results details').open"), false);
    browser.run("document.querySelector('.results summary').focus()");
    browser.press("Enter");
    assert_eq!(browser.run("return document.querySelector('.results details').open"), true);
    assert!(browser.text(".results details[open] .fall").contains("connect"));
}

#[test]
fn a_page_refreshes_in_place_and_leaves_what_is_open_and_focused() {
    let (Some(database), Some(browser)) = (database(), Browser::start()) else { return };
    store(&database, (0..5).map(|n| ago("shop", 60 + n * 10, Outcome::Success)));
    let served = Served::start(&database.url, "");
    browser.open(&format!("http://{}/sites/shop", served.address));
    // Not by an element that the refresh may just be replacing.
    let state = || browser.run("return document.querySelector('.hero b').textContent");
    assert_eq!(state(), "Up");
    browser.run("window.same = true; document.querySelector('.results details').open = true; document.querySelector('#days-table').open = true");
    let open = browser.run("return document.querySelector('.results details[open]').id");
    store(&database, (0..3).map(|n| ago("shop", n * 10, Outcome::Failure)));
    wait_until("the page to say it by itself", || {
        browser.run("document.dispatchEvent(new Event('visibilitychange'))");
        state() == "Down"
    });
    assert_eq!(browser.run("return window.same"), true, "the page was loaded anew");
    let still = "return document.querySelector('.results details[open]').id";
    assert_eq!(browser.run(still), open);
    assert_eq!(browser.run("return document.querySelector('#days-table').open"), true);
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn hostile_content_in_every_field_of_a_record_runs_nothing() {
    let (Some(database), Some(browser)) = (database(), Browser::start()) else { return };
    let hostile = |n: usize| {
        format!(
            "<script>window.hit={n}</script>\"'><img src=x onerror=window.hit={n}><svg onload=window.hit={n}>{{{{7*7}}}}</title></style></pre>"
        )
    };
    let result = |n: i64| {
        let mut result = ago("shop", n, Outcome::Failure);
        result.set_error(ErrorType::ExpectationFailed, Some(&hostile(1)), Some(&hostile(2)));
        result.site = hostile(3).chars().take(190).collect();
        result.name = hostile(4).chars().take(190).collect();
        result.location = hostile(5).chars().take(190).collect();
        result.checker = hostile(6).chars().take(190).collect();
        result.url = format!("https://shop.example/{}", hostile(7));
        result.final_url = Some(format!("javascript:window.hit=8//{}", hostile(8)));
        result.labels = [("team".to_owned(), hostile(9).chars().take(190).collect())].into();
        result.schedule = Some(hostile(10).chars().take(190).collect());
        result.incident_failures = Some(1);
        result.redirects = 1;
        result.hops = vec![Hop {
            url: format!("https://shop.example/{}", hostile(11)),
            http_status: 301,
            remote_ip: None,
            dns_us: None,
            connect_us: None,
            tls_us: None,
            ttfb_us: Some(900),
        }];
        result.sample = Some(Sample { headers: vec![(hostile(12), hostile(13))], body: hostile(14) });
        result.certificate = Some(Certificate {
            sha256: "ab".repeat(32),
            issuer: hostile(15).chars().take(190).collect(),
            subject_names: vec![hostile(16).chars().take(190).collect()],
            chain_not_after: None,
        });
        result.cert_not_after = Some(whole(SignedDuration::ZERO));
        result
    };
    store(&database, (0..3).map(result));
    let page = format!(
        "[[page]]\ntitle = '''{0}'''\nfooter = '''{0}'''\ngroup_by = \"team\"\nshow = [\"url\", \"address\", \"error\", \"headers\", \"body\"]\n",
        hostile(17)
    );
    let served = Served::start(&database.url, &page);
    let root = format!("http://{}", served.address);
    let front = served.get("/index.json").json();
    let dead = database.json("SELECT reason, detail FROM webmon.dead_letters");
    assert_eq!((front["sites_total"].as_i64(), dead), (Some(1), vec![]));
    browser.open(&format!("{root}/"));
    let site = browser.run("return document.querySelector('.site a').getAttribute('href')");
    let site = site.as_str().unwrap().to_owned();
    let incident = format!("/incidents/{}", front["wrong"][0]["incident_id"]);
    let asked = "/?q=%3Cscript%3Ewindow.hit%3D18%3C%2Fscript%3E&group=%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D19%3E";
    for path in ["/", &site, "/incidents", &incident, "/wall", asked] {
        browser.open(&format!("{root}{path}"));
        assert_eq!(browser.run("return String(window.hit)"), "undefined", "{path}");
        assert_eq!(
            browser.run(
                "return document.querySelectorAll('main img, main script, svg[onload], [onerror]').length"
            ),
            0,
            "{path}"
        );
        let links = "return [...document.querySelectorAll('a')].filter(a => !a.href.startsWith(location.origin)).map(a => a.href)";
        assert_eq!(browser.run(links), serde_json::json!([]), "{path}");
    }
    browser.open(&format!("{root}{site}"));
    browser.run("document.querySelectorAll('details').forEach(it => it.open = true)");
    picture(&browser, "hostile");
    assert_eq!(browser.run("return String(window.hit)"), "undefined");
    assert_eq!(
        browser.console(),
        Vec::<String>::new(),
        "something was forbidden that should not even have been tried"
    );
    assert_eq!(browser.requests_beyond(&root), []);
}
