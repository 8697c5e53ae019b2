//! Checks one URL, once, and prints the result: `check_once https://example.org/`.
//!
//! Needs only the feature `check`. Exits with 1 if the site is not as expected.

use std::error::Error;
use std::process::ExitCode;

use webmon::check::{Checker, Settings};
use webmon::record::Outcome;
use webmon::schedule::Schedule;
use webmon::site::{Origin, Site};
use webmon::text::printable;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: check_once URL")?;
    // A site always has a schedule, but a check outside of it does not use it.
    let site = Site::new("site", url.parse()?, Schedule::new("@hourly", "UTC")?);
    let mut checker = Checker::new(&Settings::new()?)?;

    let result = checker.check_now(&site, &Origin::new("here", "check_once"));

    println!("{:10} {}", result.outcome, result.url);
    if let Some(class) = result.error_type {
        println!(
            "{:10} {class}, {}: {}",
            "why",
            result.error_detail.as_deref().unwrap_or("-"),
            // The message may quote the site, and must not control the terminal.
            printable(result.error_message.as_deref().unwrap_or("-")),
        );
    }
    if let Some(status) = result.http_status {
        println!("{:10} {status}", "status");
    }
    for (phase, micros) in [
        ("dns", result.dns_us), // none for an address
        ("connect", result.connect_us),
        ("tls", result.tls_us), // none over plain HTTP
        ("ttfb", result.ttfb_us),
        ("download", result.download_us),
        ("total", result.total_us),
    ] {
        match micros {
            Some(micros) => println!("{phase:10} {:.3} ms", f64::from(micros) / 1_000.0),
            None => println!("{phase:10} -"),
        }
    }
    if let Some(expires_at) = result.cert_not_after {
        println!("{:10} certificate until {expires_at}", "tls");
    }
    Ok(if result.outcome == Outcome::Success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
