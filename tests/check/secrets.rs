//! Secrets go to the site's own host and nowhere else, and never into a record.

use std::io::Write;

use webmon::record::{Outcome, Record};

use crate::site::{check, https, site};
use crate::sites::{ClosedPort, Server, read_head, response, self_signed};

#[test]
fn no_secret_of_a_url_is_in_any_record() {
    let refusing = ClosedPort::new();
    let failing = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        // Some sites send their visitors' secrets to the next page.
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let headers = [format!("location: {path}&more=s3cr3t"), "set-cookie: id=s3cr3t".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let _ = stream.write_all(&response("503 Service Unavailable", &headers, b"sorry"));
    });
    let looping = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {path}&s3cr3t\r\n\r\n").as_bytes());
    });
    let leading_away =
        Server::answering("HTTP/1.1 302 Found\r\nlocation: foo://s3cr3t:s3cr3t@x/?s3cr3t\r\n\r\n");
    let garbage = Server::answering("s3cr3t\r\n\r\n");
    let tls = https(&self_signed(&["shop.example"]));
    for (scheme, host) in [
        ("http", refusing.address.to_string()),
        ("http", failing.address.to_string()),
        ("http", looping.address.to_string()),
        ("http", leading_away.address.to_string()),
        ("http", garbage.address.to_string()),
        ("https", tls.address.to_string()),
        ("http", "no-such-name.invalid".to_owned()),
    ] {
        let mut site = site(&format!("{scheme}://s3cr3t:s3cr3t@{host}/path?token=s3cr3t&s3cr3t#s3cr3t"));
        site.headers = vec![("authorization".to_owned(), "Bearer s3cr3t".to_owned())];
        site.sample = true;
        let result = check(&site);
        assert_eq!(result.outcome, Outcome::Failure, "{result:?}");
        let json = String::from_utf8(Record::Result(Box::new(result)).encode()).unwrap();
        assert!(!json.contains("s3cr3t"), "{json}");
    }
}
