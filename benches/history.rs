//! How fast history is read and derived: uptime and percentiles of 1,000 sites over 30 days from their days, against
//! the same from all results in the same run; the current status; an hour rolled up.
//!
//! ```text
//! ./dev/services up postgres && . .dev/env && cargo bench --bench history -- [--rows 5000000]
//! ```
//!
//! The results are made inside PostgreSQL, in the order of their instants; 50 million of them take 9 GB.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use postgres::Client;
use webmon::store::{self, RollUpLimits};

const SITES: i64 = 1_000;
const DAYS: i64 = 30;
/// Readings of each query, of which the median is shown.
const READINGS: usize = 7;

fn main() {
    // cargo test builds and starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let rows: i64 = arguments
        .iter()
        .position(|argument| argument == "--rows")
        .and_then(|place| arguments.get(place + 1)?.parse().ok())
        .unwrap_or(5_000_000);
    let Some(database) = support::database() else { return };
    let mut client = database.client();
    fill(&mut client, rows);
    roll_up(&mut client);
    read(&mut client);
}

/// Results of the last 30 days, up to now, evenly over sites and time: response times of a tenth to a whole second
/// and now and then ten times as long, and three failures in a thousand.
fn fill(client: &mut Client, rows: i64) {
    let step = (SITES * DAYS * 86_400 / rows).max(1) as f64;
    let begun = Instant::now();
    client
        .batch_execute(&format!(
            "INSERT INTO webmon.sites (key) SELECT 'site-' || lpad(i::text, 4, '0') FROM generate_series(1, {SITES}) i;
             INSERT INTO webmon.locations (name) VALUES ('here');
             INSERT INTO webmon.checkers (name) VALUES ('checker');
             INSERT INTO webmon.site_versions (site_id, name, url, method, labels)
             SELECT site_id, key, 'https://' || key || '.example/', 'GET', '{{}}' FROM webmon.sites"
        ))
        .unwrap();
    for day in (0..DAYS).rev() {
        client
            .execute(
                "SELECT webmon.ensure_result_partition((now() AT TIME ZONE 'UTC')::date - $1::bigint::integer)",
                &[&day],
            )
            .unwrap();
        client
            .execute(
                "INSERT INTO webmon.check_results (scheduled_at, cert_not_after, site_id, version_id, checker_id,
                     next_after_s, started_after_us, dns_us, connect_us, tls_us, ttfb_us, download_us, total_us,
                     body_bytes, location_id, http_status, redirects, attempts, failed_expectations, error_type, outcome,
                     http_version, tls_version, body_matched, body_truncated, remote_ip)
                 SELECT at, '2030-01-01Z', site, site, 1, $2, 1900, 900, 12000, 24000, 48000, 3000,
                        exp(11.5 + site % 10 * 0.15 + 0.6 * (random() + random() + random() - 1.5)
                            + CASE WHEN random() < 0.02 THEN 2.3 * random() ELSE 0 END)::integer,
                        48211, 1, 200, 0, 1, 0, CASE WHEN dice < 0.003 THEN 4 END,
                        CASE WHEN dice < 0.003 THEN 'f' ELSE 's' END::\"char\", '1', '3', true, false, '127.0.0.1'
                 FROM (SELECT at, site, random() AS dice
                       FROM generate_series(
                           date_trunc('day', now(), 'UTC') - $1::bigint * interval '1 day',
                           least(now(), date_trunc('day', now(), 'UTC') - ($1::bigint - 1) * interval '1 day' - interval '1 second'),
                           $2::integer * interval '1 second') AS at,
                       generate_series(1, $3::bigint::integer) AS site OFFSET 0) AS instants",
                &[&day, &(step as i32), &SITES],
            )
            .unwrap();
    }
    client.batch_execute("VACUUM ANALYZE webmon.check_results").unwrap();
    let row = client
        .query_one(
            "SELECT sum(n)::bigint, pg_size_pretty(sum(size)) FROM (SELECT reltuples AS n, pg_total_relation_size(oid) AS size \
             FROM pg_class WHERE relname ~ '^check_results_[0-9]+$') AS p",
            &[],
        )
        .unwrap();
    let (stored, size): (i64, String) = (row.get(0), row.get(1));
    println!("made       {stored} results, {size}, in {:.0} s", begun.elapsed().as_secs_f64());
}

fn roll_up(client: &mut Client) {
    let limits = RollUpLimits { hours: 100_000, sites: 1_000_000, days: 100_000, pause: Duration::ZERO };
    client
        .execute(
            "INSERT INTO webmon.rollup_dirty (hour) SELECT generate_series(date_trunc('day', now(), 'UTC') - $1::bigint * interval '1 day', \
             now(), interval '1 hour')",
            &[&(DAYS - 1)],
        )
        .unwrap();
    let results: i64 = client.query_one("SELECT count(*) FROM webmon.check_results", &[]).unwrap().get(0);
    let begun = Instant::now();
    let done = store::roll_up(client, &limits).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "rolled up  {} hours, {} days, incidents of {} sites in {seconds:.0} s: {:.0} results/s",
        done.hours,
        done.days,
        done.sites,
        results as f64 / seconds
    );
    client.batch_execute("VACUUM ANALYZE webmon.site_hours, webmon.site_days, webmon.site_locations, webmon.failure_runs, webmon.site_incidents").unwrap();
    let hour = "SELECT date_trunc('hour', now(), 'UTC') - interval '2 hours'";
    let in_hour: i64 = client
        .query_one(&format!("SELECT count(*) FROM webmon.check_results WHERE scheduled_at >= ({hour}) AND scheduled_at < ({hour}) + interval '1 hour'"), &[])
        .unwrap()
        .get(0);
    let took = median(|| {
        client.execute(&format!("INSERT INTO webmon.rollup_dirty (hour) {hour}"), &[]).unwrap();
        store::roll_up(client, &limits).unwrap();
    });
    println!("           one hour of {in_hour} results again, and its day: {took:.3} s");
    for table in ["site_hours", "site_days", "failure_runs", "site_incidents"] {
        let row = client
            .query_one(&format!("SELECT count(*), pg_size_pretty(pg_total_relation_size('webmon.{table}')) FROM webmon.{table}"), &[])
            .unwrap();
        println!("           {table}: {} rows, {}", row.get::<_, i64>(0), row.get::<_, &str>(1));
    }
}

fn read(client: &mut Client) {
    let days = "(now() AT TIME ZONE 'UTC')::date - 29, (now() AT TIME ZONE 'UTC')::date";
    let raw = "SELECT site_id, 100.0 * count(*) FILTER (WHERE outcome = 's') / count(*) FILTER (WHERE outcome <> 'm'),
                      percentile_disc(0.95) WITHIN GROUP (ORDER BY total_us)
               FROM webmon.check_results WHERE scheduled_at >= date_trunc('day', now(), 'UTC') - interval '29 days'";
    for (what, sql) in [
        (
            "uptime and percentiles, 1,000 sites, 30 days",
            format!("SELECT * FROM webmon.uptime_between({days})"),
        ),
        (
            "the same of one site",
            format!("SELECT * FROM webmon.uptime_between({days}) WHERE site = 'site-0500'"),
        ),
        (
            "webmon.uptime, 1,000 sites, yesterday",
            "SELECT * FROM webmon.uptime WHERE day = (now() AT TIME ZONE 'UTC')::date - 1".to_owned(),
        ),
        (
            "webmon.uptime, one site, 30 days",
            "SELECT * FROM webmon.uptime WHERE site = 'site-0500'".to_owned(),
        ),
        ("current status of 1,000 sites", "SELECT * FROM webmon.current_status".to_owned()),
        (
            "the incidents of a day",
            "SELECT * FROM webmon.incidents WHERE from_at >= now() - interval '1 day'".to_owned(),
        ),
    ] {
        let mut rows = 0;
        let took = median(|| rows = client.query(&sql, &[]).unwrap().len());
        println!("read       {what}: {rows} rows in {took:.4} s");
    }
    for (what, sql) in [
        ("uptime and p95, 1,000 sites, 30 days", format!("{raw} GROUP BY site_id")),
        ("the same of one site", format!("{raw} AND site_id = 500 GROUP BY site_id")),
    ] {
        let begun = Instant::now();
        let rows = client.query(&sql, &[]).unwrap().len();
        println!("from all   {what}: {rows} rows in {:.3} s", begun.elapsed().as_secs_f64());
    }
}

/// The median of some readings, in seconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut readings: Vec<f64> = (0..READINGS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    readings.sort_by(f64::total_cmp);
    readings[READINGS / 2]
}
