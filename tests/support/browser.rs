//! Debian's Chromium, driven by chromedriver over WebDriver (W3C) on loopback. It reaches nothing but 127.0.0.1.
//!
//! WebDriver is JSON over HTTP, so a client of its own needs no more than [`Browser::post`].

#![allow(dead_code, reason = "each test program uses a part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::skip;

/// The longest that the driver may take to start.
const START: Duration = Duration::from_secs(30);
/// The longest that a page may take to load, and a script to run.
const PAGE_MS: u64 = 30_000;
/// The longest that the driver may take to answer: it gives up a page or a script before.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest that the browser may take to end by itself.
const END: Duration = Duration::from_secs(10);
/// The largest answer: a picture of a long page.
const MAX_ANSWER: u64 = 64 << 20;
/// How many nodes of a violation are told.
const MAX_NODES: usize = 5;

/// The name of an element in WebDriver's JSON (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page. It ends when this is dropped, and also when the test's process is killed: chromedriver
/// ends with the process group, Chromium with the pipe to it.
pub struct Browser {
    agent: ureq::Agent,
    session: String,
    requests: RefCell<BTreeMap<String, Request>>,
    // Dropped last: first the process, then the folder that it writes into.
    driver: Driver,
}

struct Driver {
    child: Child,
    folder: TempDir,
}

/// What the page asks the browser for.
#[derive(Clone, Copy, Default)]
pub struct Media {
    /// `prefers-color-scheme: dark`, else `light`.
    pub dark: bool,
    /// `prefers-reduced-motion: reduce`.
    pub reduced_motion: bool,
    /// As for a printer.
    pub print: bool,
}

/// A request that the page made, or that its policy forbade it to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub url: String,
    /// Why it failed, such as `net::ERR_NAME_NOT_RESOLVED` or `csp`.
    pub fault: Option<String>,
}

/// What axe-core objects to.
#[derive(Clone, PartialEq)]
pub struct Violation {
    /// The rule, such as `image-alt`.
    pub rule: String,
    /// `minor`, `moderate`, `serious` or `critical`.
    pub impact: String,
    pub help: String,
    /// The CSS selectors of the first nodes, each with what is wrong there.
    pub nodes: Vec<String>,
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule, self.impact, self.help)?;
        self.nodes.iter().try_for_each(|node| write!(f, "\n    {node}"))
    }
}

/// How the page came, in milliseconds since its request began.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub first_byte_ms: f64,
    pub response_end_ms: f64,
    pub dom_content_loaded_ms: f64,
    pub load_ms: f64,
    pub first_contentful_paint_ms: f64,
    /// Of the document: with the headers, as it came over the wire.
    pub transferred_bytes: u64,
    /// Of the document: as HTML.
    pub decoded_bytes: u64,
}

impl Timing {
    /// From the last byte to the first picture.
    pub fn rendering_ms(&self) -> f64 {
        self.first_contentful_paint_ms - self.response_end_ms
    }
}

impl Browser {
    /// A browser with an empty page, 1280 × 800, light, with scripts. Says so if there is none.
    pub fn start() -> Option<Browser> {
        let program = skip::find("chromedriver", "chromium-driver")?;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("chromedriver.log");
        let output = File::create(&log).unwrap();
        let child = Command::new(program)
            .args(["--port=0", "--log-level=WARNING"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs([("HOME", folder.path()), ("TMPDIR", folder.path())])
            .envs([("LANG", "C.UTF-8"), ("TZ", "UTC")])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut driver = Driver { child, folder };
        let port = driver.port(&log);
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        let profile = driver.folder.path().join("profile");
        let arguments = [
            "--headless=new",
            // Root has no sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // Chromium ends when the other end of the pipe is closed.
            "--remote-debugging-pipe",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--lang=en-US",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"pageLoad": PAGE_MS, "script": PAGE_MS},
        }}});
        let mut browser = Browser {
            agent,
            session: format!("http://127.0.0.1:{port}"),
            requests: RefCell::default(),
            driver,
        };
        let session = browser.post("session", &capabilities);
        browser.session += &format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser.resize(1280, 800);
        Some(browser)
    }

    // ------------------------------------------------------------------- what it is

    /// Gives the page a viewport of so many CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Has every page see these preferences, from now on.
    pub fn prefer(&self, media: Media) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": if media.dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": if media.reduced_motion { "reduce" } else { "no-preference" }},
        ]);
        let media = if media.print { "print" } else { "" };
        self.devtools("Emulation.setEmulatedMedia", &json!({"media": media, "features": features}));
    }

    /// Lets pages run their scripts, or not, from the next page on. [`Browser::run`] works without them, too.
    pub fn allow_scripts(&self, allow: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": !allow}));
    }

    /// Sends these headers with every request from now on, as a proxy in front of the page would.
    pub fn send_headers(&self, headers: &[(&str, &str)]) {
        let headers: serde_json::Map<String, Value> =
            headers.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.setExtraHTTPHeaders", &json!({"headers": headers}));
    }

    // ------------------------------------------------------------------- what is done

    /// Opens a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    /// Clicks on the first element that `selector` (CSS) finds.
    pub fn click(&self, selector: &str) {
        self.post(&format!("element/{}/click", self.element(selector)), &json!({}));
    }

    /// Presses keys at the same time, such as `Tab`, `Shift+Tab`, `Enter`, `ArrowDown`, `/`.
    pub fn press(&self, chord: &str) {
        // A lone `+` is a key.
        let keys: Vec<&str> = if chord == "+" { vec![chord] } else { chord.split('+').collect() };
        let action = |kind: &str, name: &str| json!({"type": kind, "value": key(name)});
        let mut actions: Vec<Value> = keys.iter().map(|name| action("keyDown", name)).collect();
        actions.extend(keys.iter().rev().map(|name| action("keyUp", name)));
        self.post("actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Runs a script as the body of a function in the page; what it returns. The page's policy does not forbid it.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    // ------------------------------------------------------------------- what there is to see

    /// The text of the first element that `selector` finds, as a reader sees it.
    pub fn text(&self, selector: &str) -> String {
        let text = self.get(&format!("element/{}/text", self.element(selector)));
        text.as_str().unwrap().to_owned()
    }

    /// The texts of all elements that `selector` finds.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let elements = self.post("elements", &json!({"using": "css selector", "value": selector}));
        let text =
            |element: &Value| self.get(&format!("element/{}/text", element[ELEMENT].as_str().unwrap()));
        elements.as_array().unwrap().iter().map(|each| text(each).as_str().unwrap().to_owned()).collect()
    }

    /// What a screen reader says of the first element that `selector` finds: its role and its name.
    pub fn spoken(&self, selector: &str) -> (String, String) {
        let element = self.element(selector);
        let ask = |what: &str| {
            self.get(&format!("element/{element}/{what}")).as_str().unwrap_or_default().to_owned()
        };
        (ask("computedrole"), ask("computedlabel"))
    }

    /// The element that the keyboard is at, as `a: shop`: its tag, and its text or label. `body: ` when it is at none.
    pub fn focused(&self) -> String {
        let script = "const e = document.activeElement ?? document.body;
            const text = e === document.body ? '' : e.ariaLabel || e.innerText || e.name || e.id || '';
            return e.localName + ': ' + text.trim();";
        self.run(script).as_str().unwrap().to_owned()
    }

    /// Writes a picture of the whole page, also of what the viewport does not show, as PNG.
    pub fn screenshot(&self, path: &Path) {
        let size = self.devtools("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let picture = self.devtools(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        );
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What the console was told since the last call, from warnings on: errors of scripts, what failed to load, and
    /// what the page's policy forbade.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let is_bad = |entry: &&Value| matches!(entry["level"].as_str(), Some("WARNING" | "SEVERE"));
        let entries = entries.as_array().unwrap().iter().filter(is_bad);
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// All requests since the start, without those of `data:` and of the browser's own pages.
    pub fn requests(&self) -> Vec<Request> {
        let entries = self.post("se/log", &json!({"type": "performance"}));
        let mut requests = self.requests.borrow_mut();
        for entry in entries.as_array().unwrap() {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let (method, event) = (&message["message"]["method"], &message["message"]["params"]);
            let id = event["requestId"].as_str().unwrap_or_default();
            match method.as_str() {
                Some("Network.requestWillBeSent") => {
                    let url = event["request"]["url"].as_str().unwrap().to_owned();
                    // A redirect keeps the number.
                    let first = requests.insert(id.to_owned(), Request { url, fault: None });
                    let number = requests.len();
                    requests.extend(first.map(|first| (format!("{id}, before {number}"), first)));
                }
                Some("Network.loadingFailed") => {
                    let why = event["blockedReason"].as_str().or(event["errorText"].as_str());
                    if let Some(request) = requests.get_mut(id) {
                        request.fault = why.map(str::to_owned);
                    }
                }
                _ => {}
            }
        }
        let is_of_page =
            |request: &&Request| request.url.starts_with("http") || request.url.starts_with("ws");
        requests.values().filter(is_of_page).cloned().collect()
    }

    /// The requests that go elsewhere than to `origin`, such as `http://127.0.0.1:8080`.
    pub fn requests_beyond(&self, origin: &str) -> Vec<Request> {
        let origin = origin.trim_end_matches('/');
        let is_there =
            |url: &str| url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.requests().into_iter().filter(|request| !is_there(&request.url)).collect()
    }

    /// How the page came, once it is painted.
    pub fn timing(&self) -> Timing {
        let script = "const page = performance.getEntriesByType('navigation')[0].toJSON();
            page.painted = performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
            return page.painted && page.loadEventEnd ? page : null;";
        let mut page = Value::Null;
        wait("the page is painted", || {
            page = self.run(script);
            !page.is_null()
        });
        let millis = |name: &str| page[name].as_f64().unwrap() - page["requestStart"].as_f64().unwrap();
        let bytes = |name: &str| page[name].as_u64().unwrap();
        Timing {
            first_byte_ms: millis("responseStart"),
            response_end_ms: millis("responseEnd"),
            dom_content_loaded_ms: millis("domContentLoadedEventEnd"),
            load_ms: millis("loadEventEnd"),
            first_contentful_paint_ms: millis("painted"),
            transferred_bytes: bytes("transferSize"),
            decoded_bytes: bytes("decodedBodySize"),
        }
    }

    /// What axe-core objects to on this page, with all its rules. None without axe-core, which is said.
    pub fn violations(&self) -> Option<Vec<Violation>> {
        let source = fs::read_to_string(skip::service("WEBMON_TEST_AXE")?).unwrap();
        self.run(&source);
        let script = "const done = arguments[0];
            axe.run({resultTypes: ['violations']}).then(found => done(found.violations), error => done(String(error)));";
        let found = self.post("execute/async", &json!({"script": script, "args": []}));
        let found = found.as_array().unwrap_or_else(|| panic!("axe-core: {found}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let node = |node: &Value| {
            format!("{}: {}", node["target"], text(&node["failureSummary"]).replace('\n', " "))
        };
        let violation = |found: &Value| Violation {
            rule: text(&found["id"]),
            impact: text(&found["impact"]),
            help: text(&found["help"]),
            nodes: found["nodes"].as_array().unwrap().iter().take(MAX_NODES).map(node).collect(),
        };
        Some(found.iter().map(violation).collect())
    }

    /// The number of chromedriver's process, and the folder that it and the browser write into.
    pub fn process(&self) -> (u32, &Path) {
        (self.driver.child.id(), self.driver.folder.path())
    }

    // ------------------------------------------------------------------- WebDriver

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// A command of WebDriver with its arguments.
    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}/{command}", self.session));
        value(command, request.header("content-type", "application/json").send(body.to_string()))
    }

    #[track_caller]
    fn get(&self, command: &str) -> Value {
        value(command, self.agent.get(format!("{}/{command}", self.session)).call())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let delete = self.agent.delete(&self.session);
        let _ = delete.config().timeout_global(Some(END)).build().call();
    }
}

impl Driver {
    /// The port that it has chosen.
    fn port(&mut self, log: &Path) -> u16 {
        let mut port = None;
        wait("chromedriver starts", || {
            let said = fs::read_to_string(log).unwrap();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "chromedriver ended, {ended:?}: {said}");
            let rest = said.split_once("started successfully on port ").map(|(_, rest)| rest.to_owned());
            port = rest.and_then(|rest| rest.split_once('.')?.0.parse().ok());
            port.is_some()
        });
        port.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an answer holds; what the driver says is wrong ends the test.
#[track_caller]
fn value(command: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("{command}: {error}"));
    let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap();
    let mut answered: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{command}: {text}"));
    let value = answered["value"].take();
    let message = value["message"].as_str().unwrap_or_default();
    assert!(answer.status().is_success(), "{command}: {}: {message}", value["error"]);
    value
}

/// A key in WebDriver's code (W3C WebDriver, 17.4.2).
fn key(name: &str) -> &str {
    match name {
        "Shift" => "\u{e008}",
        "Control" => "\u{e009}",
        "Alt" => "\u{e00a}",
        "Tab" => "\u{e004}",
        "Enter" => "\u{e007}",
        "Escape" => "\u{e00c}",
        "Space" => " ",
        "PageUp" => "\u{e00e}",
        "PageDown" => "\u{e00f}",
        "End" => "\u{e010}",
        "Home" => "\u{e011}",
        "ArrowLeft" => "\u{e012}",
        "ArrowUp" => "\u{e013}",
        "ArrowRight" => "\u{e014}",
        "ArrowDown" => "\u{e015}",
        name => {
            assert_eq!(name.chars().count(), 1, "there is no key {name}");
            name
        }
    }
}

/// Waits until `done` says so.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + START;
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
