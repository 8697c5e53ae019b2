//! Who may see a page, and that no page changes anything.

use webmon::record::Outcome;

use crate::common::{Served, ago, store};
use crate::support::database;
use crate::support::login::Login;

#[test]
fn a_reader_is_enough_and_a_page_changes_nothing() {
    let (Some(database), Some(login)) = (database(), Login::new("webmon_reader")) else { return };
    store(&database, (0..5).map(|n| ago("shop", n * 10, Outcome::Failure)));
    let served = Served::start(&login.url(&database), "");
    let paths =
        ["/", "/index.json", "/sites/shop", "/incidents", "/incidents.atom", "/wall", "/badges/shop/p95.svg"];
    for path in paths {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    // Even the owner's connections can change nothing.
    let served = Served::start(&database.url, "");
    assert_eq!(served.get("/").status, 200);
    let read_only = database.number(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'webmon-page'",
    );
    assert!(read_only > 0);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for path in paths {
            assert_eq!(served.ask(method, path, &["content-length: 0"]).status, 405, "{method} {path}");
        }
    }
}

#[test]
fn a_page_with_a_password_shows_nothing_without_it() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(
        &database.url,
        "[[page]]\nauth.basic = { username = \"team\", password = \"s3cret\" }\n\
         [[page]]\npath = \"/open\"\n",
    );
    for path in [
        "/",
        "/index.json",
        "/sites/shop",
        "/sites/none",
        "/incidents.atom",
        "/wall",
        "/badges/shop/state.svg",
        "/openapi.json",
        "/nothing",
    ] {
        let refused = served.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("www-authenticate").is_some() && !refused.text().contains("shop"), "{path}");
        // dGVhbTpzM2NyZXQ= is team:s3cret.
        let allowed = served.ask("GET", path, &["authorization: Basic dGVhbTpzM2NyZXQ="]);
        assert_eq!(allowed.status, if path.contains("no") { 404 } else { 200 }, "{path}");
        assert!(
            allowed.status != 200 || allowed.header("cache-control").unwrap().starts_with("private"),
            "{path}"
        );
        // What was made for one who may see it is not given to others.
        assert_eq!(served.get(path).status, 401, "{path}");
    }
    assert_eq!(served.get("/open").status, 200);
}

#[test]
fn a_header_opens_a_page_only_behind_a_proxy_that_is_believed() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let page = "[[page]]\nauth.header = \"X-Forwarded-User\"\n";
    let distrusting = Served::start(&database.url, page);
    assert_eq!(distrusting.ask("GET", "/", &["x-forwarded-user: ann"]).status, 403);
    let trusting = Served::start(&database.url, &format!("web.proxies = [\"127.0.0.0/8\"]\n{page}"));
    assert_eq!(trusting.ask("GET", "/", &["x-forwarded-user: ann"]).status, 200);
    assert_eq!(trusting.get("/").status, 403);
}

#[test]
fn every_answer_forbids_foreign_scripts_frames_and_sniffing() {
    let Some(database) = database() else { return };
    store(&database, [ago("shop", 5, Outcome::Success)]);
    let served = Served::start(&database.url, "");
    for path in [
        "/",
        "/index.json",
        "/sites/shop",
        "/nothing",
        "/badges/shop/state.svg",
        "/icon.svg",
        "/incidents.atom",
    ] {
        let answer = served.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
}
