//! The browser that the tests of pages stand on: it shows what a reader would see, and sees what a page should not do.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/skip.rs"]
mod skip;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, Media, Request};
use httpmock::MockServer;

/// A page with something of everything: a script, what is shown without, a preference, a picture from elsewhere.
const PAGE: &str = r##"<!doctype html>
<html lang="en">
<title>A page</title>
<style>
  * { margin: 0 }
  body { background: white; color: black; height: 3000px }
  @media (prefers-color-scheme: dark) { body { background: rgb(1, 2, 3); color: white } }
  @media (prefers-reduced-motion: reduce) { #motion::after { content: "still" } }
</style>
<main>
<h1>A page</h1>
<p id="script">plain</p>
<noscript><p>No script</p></noscript>
<p id="motion"></p>
<button>one</button>
<button aria-label="the second">2</button>
<ul><li>first</li><li>second</li></ul>
</main>
<script>document.querySelector("#script").textContent = "scripted"</script>
"##;

/// A server with a page at `/`, with a policy if one is given.
fn serve(page: &str, policy: Option<&str>) -> MockServer {
    let server = MockServer::start();
    server.mock(|when, then| {
        when.path("/");
        let then = then.status(200).header("content-type", "text/html; charset=utf-8").body(page);
        if let Some(policy) = policy {
            then.header("content-security-policy", policy);
        }
    });
    server.mock(|when, then| {
        when.path("/favicon.ico");
        then.status(204);
    });
    server
}

#[test]
fn a_page_without_script_shows_what_is_for_such_browsers() {
    let Some(browser) = Browser::start() else { return };
    let server = serve(PAGE, None);
    browser.open(&server.url("/"));
    assert_eq!(browser.text("#script"), "scripted");
    assert!(!browser.text("body").contains("No script"));
    browser.allow_scripts(false);
    browser.open(&server.url("/"));
    assert_eq!(
        (browser.text("#script"), browser.text("noscript p")),
        ("plain".to_owned(), "No script".to_owned())
    );
    browser.allow_scripts(true);
    browser.open(&server.url("/"));
    assert_eq!(browser.text("#script"), "scripted");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn size_and_preferences_reach_the_page_and_its_picture() {
    let Some(browser) = Browser::start() else { return };
    let server = serve(PAGE, None);
    let seen = |browser: &Browser| {
        browser.run(
            "return [innerWidth, innerHeight, getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector('#motion'), '::after').content]",
        )
    };
    browser.open(&server.url("/"));
    assert_eq!(seen(&browser), serde_json::json!([1280, 800, "rgb(255, 255, 255)", "none"]));
    browser.resize(360, 640);
    browser.prefer(Media { dark: true, reduced_motion: true, ..Media::default() });
    browser.open(&server.url("/"));
    assert_eq!(seen(&browser), serde_json::json!([360, 640, "rgb(1, 2, 3)", "\"still\""]));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures/page.png");
    browser.screenshot(&path);
    // The whole page, though the viewport shows a part. The size stands behind the signature and the chunk's head (PNG,
    // 11.2.1).
    let picture = std::fs::read(path).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (360, 3000));
}

#[test]
fn keys_move_through_the_page_and_a_screen_reader_has_names() {
    let Some(browser) = Browser::start() else { return };
    let server = serve(PAGE, None);
    browser.open(&server.url("/"));
    assert_eq!(browser.focused(), "body: ");
    browser.press("Tab");
    assert_eq!(browser.focused(), "button: one");
    browser.press("Tab");
    assert_eq!(browser.focused(), "button: the second");
    browser.press("Shift+Tab");
    assert_eq!(browser.focused(), "button: one");
    browser.run("document.querySelector('button').onclick = e => { e.target.textContent = 'pressed' }");
    browser.press("Enter");
    assert_eq!(browser.text("button"), "pressed");
    browser.click("button[aria-label]");
    assert_eq!(browser.focused(), "button: the second");
    assert_eq!(browser.spoken("button[aria-label]"), ("button".to_owned(), "the second".to_owned()));
    assert_eq!(browser.texts("li"), ["first", "second"]);
}

#[test]
fn a_request_to_another_host_is_seen_and_does_not_leave() {
    let Some(browser) = Browser::start() else { return };
    // By name, by address, and at another port of this host, which alone is reached.
    let other = MockServer::start();
    other.mock(|when, then| {
        when.path("/c");
        then.status(200)
            .header("content-type", "image/svg+xml")
            .body("<svg xmlns='http://www.w3.org/2000/svg'/>");
    });
    let page = format!(
        "{PAGE}<img alt='' src='http://elsewhere.example/a'><img alt='' src='http://192.0.2.1/b'>
         <img alt='' src='{}'>",
        other.url("/c")
    );
    let server = serve(&page, None);
    browser.open(&server.url("/"));
    let mut beyond = browser.requests_beyond(&server.base_url());
    beyond.sort_by(|one, other| one.url.cmp(&other.url));
    let lost = Some("net::ERR_NAME_NOT_RESOLVED".to_owned());
    let request = |url: &str, fault: &Option<String>| Request { url: url.to_owned(), fault: fault.clone() };
    let mut expected = [
        request(&other.url("/c"), &None),
        request("http://192.0.2.1/b", &lost),
        request("http://elsewhere.example/a", &lost),
    ];
    expected.sort_by(|one, other| one.url.cmp(&other.url));
    assert_eq!(beyond, expected);
    // With those of the page itself.
    assert!(browser.requests().contains(&request(&server.url("/"), &None)));
}

#[test]
fn what_a_policy_forbids_is_told_and_does_not_keep_the_tests_out() {
    let Some(browser) = Browser::start() else { return };
    let page = format!("{PAGE}<img alt='' src='http://127.0.0.1:1/a'>");
    let server = serve(&page, Some("default-src 'none'; style-src 'unsafe-inline'"));
    browser.open(&server.url("/"));
    assert_eq!(browser.text("#script"), "plain");
    let told = browser.console();
    assert!(
        told.iter().any(|line| line.contains("Content Security Policy") && line.contains("script")),
        "{told:?}"
    );
    let beyond = browser.requests_beyond(&server.base_url());
    assert!(beyond.iter().all(|request| request.fault.as_deref() == Some("csp")), "{beyond:?}");
    assert_eq!(browser.violations().unwrap_or_default(), []);
}

#[test]
fn an_obstacle_to_readers_is_found() {
    let Some(browser) = Browser::start() else { return };
    let server = serve(PAGE, None);
    browser.open(&server.url("/"));
    let Some(violations) = browser.violations() else { return };
    assert_eq!(violations, []);
    let server =
        serve(&PAGE.replace("<p id=\"motion\">", "<img src='data:,'><p style='color: #ddd'>pale"), None);
    browser.open(&server.url("/"));
    let mut rules: Vec<(String, String)> =
        browser.violations().unwrap().into_iter().map(|found| (found.rule, found.impact)).collect();
    rules.sort();
    let rule = |name: &str, impact: &str| (name.to_owned(), impact.to_owned());
    assert_eq!(rules, [rule("color-contrast", "serious"), rule("image-alt", "critical")]);
}

#[test]
fn times_and_sizes_of_a_page_are_measured() {
    let Some(browser) = Browser::start() else { return };
    let server = MockServer::start();
    server.mock(|when, then| {
        when.path("/");
        then.status(200).header("content-type", "text/html").body(PAGE).delay(Duration::from_millis(200));
    });
    browser.open(&server.url("/"));
    let timing = browser.timing();
    assert!(timing.first_byte_ms >= 200.0, "{timing:?}");
    assert!(timing.response_end_ms >= timing.first_byte_ms, "{timing:?}");
    assert!(timing.first_contentful_paint_ms >= timing.response_end_ms, "{timing:?}");
    assert!(timing.load_ms >= timing.dom_content_loaded_ms, "{timing:?}");
    assert_eq!(timing.decoded_bytes, PAGE.len() as u64);
    assert!(timing.transferred_bytes > timing.decoded_bytes, "{timing:?}");
    assert!(timing.rendering_ms() > 0.0, "{timing:?}");
}

#[test]
fn headers_of_a_proxy_come_with_each_request() {
    let Some(browser) = Browser::start() else { return };
    let server = MockServer::start();
    server.mock(|when, then| {
        when.path("/").header("x-user", "ann");
        then.status(200).header("content-type", "text/html").body("<p>Hello, ann");
    });
    browser.send_headers(&[("x-user", "ann")]);
    browser.open(&server.url("/"));
    assert_eq!(browser.text("p"), "Hello, ann");
}

#[test]
fn a_browser_ends_with_its_test() {
    let Some(browser) = Browser::start() else { return };
    let (driver, folder) = browser.process();
    let folder = folder.to_owned();
    let chromium = children(driver);
    assert!(!chromium.is_empty(), "the test is blind");
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let browser = browser;
        browser.text("no-such-element");
    }));
    let message = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("no such element"), "{message}");
    for pid in chromium.iter().chain([&driver]) {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Whoever takes in orphans may leave a zombie for a while.
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }
    assert!(!folder.exists(), "{folder:?}");
}

/// The processes that have `parent` as their parent (proc(5), the second field behind the name).
fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
            .unwrap_or_default();
        let field = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        field == Some(parent)
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}
