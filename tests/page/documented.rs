//! The examples of docs/page.md are right.

use webmon::config::{Config, Role};

#[test]
fn every_configuration_in_the_docs_is_valid() {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "long enough\n").unwrap();
    let page = include_str!("../../docs/page.md")
        .replace("/etc/webmon/page-password", &password.path().display().to_string());
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let config =
            Config::from_toml(&format!("postgres.url = \"postgres://x@127.0.0.1/x\"\n{example}"), Role::Page);
        assert!(config.is_ok(), "{example}: {config:?}");
    }
}
