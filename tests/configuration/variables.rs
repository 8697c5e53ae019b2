//! `${NAME}`: filled in, or a fault, and never shown.

use std::io::Write;

use proptest::prelude::*;
use webmon::check::{Checker, Settings};
use webmon::record::Record;
use webmon::site::Origin;

use crate::folder::{Folder, KAFKA, named, site};
use crate::sites::{Server, read_head, response};

fn header(value: &str) -> Folder {
    Folder::new(&format!("{KAFKA}{}headers = {{ X-Test = '{value}' }}\n", site("shop")))
}

/// What the text is when all is filled in.
#[track_caller]
fn filled(text: &str, variables: &[(&str, &str)]) -> String {
    let config = header(text).load_with(variables).unwrap_or_else(|error| panic!("{error}"));
    config.sites[0].headers[0].1.clone()
}

#[test]
fn a_variable_is_filled_in_and_any_other_dollar_stays() {
    let variables = [("TOKEN", "t0k"), ("EMPTY", ""), ("_a1", "under"), ("DOLLAR", "$x ${TOKEN} $$")];
    for (text, expected) in [
        ("Bearer ${TOKEN}", "Bearer t0k"),
        ("${TOKEN}${TOKEN}", "t0kt0k"),
        ("${_a1}", "under"),
        ("${ABSENT:-a default: }", "a default: "),
        ("${TOKEN:-default}", "t0k"),
        ("${EMPTY:-default}", "default"),
        ("a${EMPTY}b", "ab"),
        ("${ABSENT:-}b", "b"),
        // Literal.
        ("$$ $${TOKEN} $$$$", "$ ${TOKEN} $$"),
        ("$TOKEN $ ${} ${1} ${A-B} ${A:+b} ${TOKEN $", "$TOKEN $ ${} ${1} ${A-B} ${A:+b} ${TOKEN $"),
        // A value is not looked into.
        ("${DOLLAR}", "$x ${TOKEN} $$"),
        ("ü${TOKEN}ü$", "üt0kü$"),
    ] {
        assert_eq!(filled(text, &variables), expected, "{text}");
    }
}

#[test]
fn a_pattern_keeps_its_dollars_and_braces() {
    let config = Folder::new(&format!(
        "{KAFKA}{}expect = {{ body = '^\\d{{2}}$|a{{1,3}}$', not_body = '^${{WORD}}$' }}\n",
        site("shop")
    ));
    let config = config.load_with(&[("WORD", "down")]).unwrap();
    let expect = &config.sites[0].expect;
    assert_eq!(expect.body[0].as_str(), r"^\d{2}$|a{1,3}$");
    assert_eq!(expect.not_body[0].as_str(), "^down$");
}

#[test]
fn variables_are_filled_in_wherever_a_site_may_have_a_text() {
    let folder = Folder::new(&format!(
        "{KAFKA}[site_defaults]\ntimeout = \"${{T}}\"\n[template.api]\nexpect = {{ status = [\"${{S}}\"] }}\n\
         [[site]]\nname = \"shop ${{T}}\"\nurl = \"https://${{H}}/\"\nschedule = \"@every ${{E}}\"\nuse = \"${{U}}\"\n\
         labels = {{ \"${{KEY}}\" = \"${{H}}\" }}\n"
    ));
    let config = folder
        .load_with(&[("T", "2s"), ("S", "204"), ("H", "h.example"), ("E", "90s"), ("U", "api")])
        .unwrap();
    let site = named(&config, "shop 2s");
    assert_eq!((site.url.as_str(), site.timeout.as_secs()), ("https://h.example/", 2));
    assert_eq!(site.schedule.expression(), "@every 90s");
    assert!(site.expect.status[0].contains(204) && !site.expect.status[0].contains(200));
    // A key has none.
    assert_eq!(site.labels, [("${KEY}".to_owned(), "h.example".to_owned())].into());
}

#[test]
fn a_value_of_the_environment_is_taken_literally_and_so_is_all_outside_of_sites() {
    let folder = Folder::new(&format!("check.location = \"${{T}}\"\n{KAFKA}{}", site("shop")));
    let config = folder.load_with(&[("T", "x"), ("WEBMON_SITE_DEFAULTS__HEADERS__X", "${T} $$")]).unwrap();
    assert_eq!((config.check.location.as_str(), config.sites[0].headers[0].1.as_str()), ("${T}", "${T} $$"));
}

#[test]
fn a_variable_without_a_value_is_a_fault_that_names_it_and_its_key() {
    let folder = Folder::new(&format!(
        "{KAFKA}[template.api]\nlabels = {{ team = \"${{TEAM}}\" }}\n{}headers = {{ X-Token = \"${{TOKEN}}\" }}\n\
         timeout = \"${{TIMEOUT}}\"\nexpect.status = [\"200\", \"${{STATUS:-${{X}}}}\"]\n{}url = 5\n",
        site("shop"),
        site("blog").replace("url", "#")
    ));
    let expected = "which is not set (or not UTF-8): expected it in the environment, or a default as in";
    assert_eq!(
        folder.faults(),
        [
            format!("config.toml:3: template.api.labels.team names the variable TEAM, {expected} ${{TEAM:-text}}"),
            "config.toml:10: site[0] \"shop\": expect.status[1] has a variable in the default of STATUS: expected a text \
             without one"
                .to_owned(),
            format!("config.toml:8: site[0] \"shop\": headers.X-Token names the variable TOKEN, {expected} ${{TOKEN:-text}}"),
            format!("config.toml:9: site[0] \"shop\": timeout names the variable TIMEOUT, {expected} ${{TIMEOUT:-text}}"),
            // And no other fault for any of these texts, but for all others.
            "config.toml:15: site[1] \"blog\": url (hidden) is not a text".to_owned(),
        ]
    );
}

#[test]
fn texts_with_variables_are_bounded() {
    let long = "x".repeat(100_000);
    let text = "${LONG}".repeat(11);
    let faults = header(&text).faults_with(&[("LONG", &long)]);
    assert_eq!(
        faults,
        [
            "config.toml:6: site[0] \"shop\": headers.X-Test is longer than 1048576 bytes with its variables filled in"
        ]
    );
}

const SECRET: &str = "hunter2";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_variable_is_told_by_a_fault(
        key in prop::sample::select(vec![
            "name", "id", "url", "schedule", "timezone", "method", "timeout", "retries", "max_body", "sample", "enabled",
            "use", "spread", "host", "ip", "source", "resolve", "proxy", "tls.ca", "tls.certificate", "tls.key", "tls.verify",
            "tls.min_version", "tls.server_name", "expect.body", "expect.status", "expect.header.X", "expect.certificate", "headers.X", "labels.x",
        ]),
        before in prop::sample::select(vec!["", "(", "@every ", "https://", "ftp://", ": expected ", "\u{1}", "61 * * * *"]),
        after in prop::sample::select(vec!["", "[", " * * * *", ": expected ", "@h/", ":99999999/", "\u{7f}"]),
        value in prop::sample::select(vec![
            SECRET.to_owned(), format!("\0{SECRET}"), format!("{SECRET}\n{SECRET}"), format!("a: expected {SECRET}"),
            format!("{SECRET}{}", "x".repeat(5_000)), format!("\"{SECRET}\""),
        ]),
        default in any::<bool>(), list in any::<bool>(), twice in any::<bool>(),
    ) {
        let variable = if default { format!("${{ABSENT:-{value}}}") } else { "${SECRET}".to_owned() };
        // As TOML quotes it.
        let text = serde_json::to_string(&format!("{before}{variable}{after}")).unwrap();
        let text = text.replace('\u{7f}', "\\u007f");
        let own = if list { format!("{key} = [{text}]\n") } else { format!("{key} = {text}\n") };
        let rest: String = ["name = \"a\"\n", "url = \"https://a/\"\n", "schedule = \"@every 1s\"\n", "retries = 5\n"]
            .into_iter().filter(|line| !line.starts_with(key)).collect();
        let toml = format!("{KAFKA}{}", format!("[[site]]\n{own}{rest}").repeat(if twice { 2 } else { 1 }));
        let folder = Folder::new(&toml);
        let shown = match folder.load_with(&[("SECRET", &value)]) {
            // What a site is called is there to be shown.
            Ok(_) if ["name", "id", "labels.x"].contains(&key) => String::new(),
            Ok(config) => format!("{config:?}"),
            Err(error) => format!("{error} {error:?} {:?}", error.faults()),
        };
        // The host of a URL is known to the network.
        if !(key == "url" && shown.starts_with("Config")) {
            prop_assert!(!shown.contains(SECRET), "{toml}\n{shown}");
        }
    }
}

#[test]
fn no_variable_is_told_by_a_record() {
    let server = Server::start(|mut stream| {
        let moved = response("302 Found", &["location: /hooks/t0k%20en/end?key=t0k%20en&keep=1"], b"");
        let there = response("200 OK", &[], b"ok");
        while let head = read_head(&mut stream)
            && !head.is_empty()
        {
            let _ = stream.write_all(if head.contains("/end") { &there } else { &moved });
        }
    });
    let folder = Folder::new(&format!(
        "{KAFKA}[[site]]\nname = \"shop\"\nurl = \"http://{}/hooks/${{TOKEN}}/?key=${{TOKEN}}&other=1\"\n\
         schedule = \"@every 1m\"\nkeep_query = true\nsample = true\n\
         expect = {{ body = '${{WORD}}\\w', not_body = 'o${{K}}', header = {{ Server = \"${{WORD}}\" }}, status = [\"500\"] }}\n",
        server.address
    ));
    let config = folder.load_with(&[("TOKEN", "t0k en"), ("WORD", "wo\"rd"), ("K", "k")]).unwrap();
    let mut checker = Checker::new(&Settings::new().unwrap()).unwrap();
    let result = checker.check_now(&config.sites[0], &Origin::new("here", "c"));
    assert_eq!(result.http_status, Some(200), "{result:?}");
    let json = String::from_utf8(Record::Result(Box::new(result)).encode()).unwrap();
    let record: serde_json::Value = serde_json::from_str(&json).unwrap();
    let url = |rest: &str| format!("http://{}{rest}", server.address);
    assert_eq!(record["url"], url("/hooks/.../?key=...&other=1"));
    assert_eq!(record["final_url"], url("/hooks/.../end?key=...&keep=1"));
    assert_eq!(
        record["error_message"],
        "status 200: expected 500; the body does not match (hidden); the body matches (hidden); the header \"server\" is \
         missing"
    );
    for secret in ["t0k", "rd\\w", "wo\\\"rd"] {
        assert!(!format!("{:?}", config.sites).contains(secret), "{config:?}");
    }
}
