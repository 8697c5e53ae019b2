//! The record: what is written can be read, what cannot be read is told exactly, and no value is too odd for it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;
use webmon::limits::{
    MAX_HOP_URL, MAX_HOPS, MAX_LABELS, MAX_MAINTENANCE, MAX_MAINTENANCE_S, MAX_MESSAGE, MAX_NAME, MAX_RECORD,
    MAX_SAMPLE_BODY, MAX_SAMPLE_HEADERS, MAX_SLO_UPTIME_PPM, MAX_SLO_WINDOW_DAYS, MAX_SUBJECT_NAMES,
    MAX_TEXT, MAX_THRESHOLD, MAX_TRIES, MAX_URL,
};
use webmon::record::{
    Certificate, CheckResult, DecodeError, ErrorType, Expectation, Gap, GapReason, GapRecord, Hop,
    HttpVersion, MaintenanceWindow, Outcome, Record, RecordVersion, Sample, TlsVersion, Try,
};
use webmon::schedule::Schedule;
use webmon::site::{Incident, Locations, Maintenance, Origin, Site, Slo, redacted};
use webmon::text::truncated;

/// The last second that a timestamp can have: 9999-12-30T22:00:00Z.
fn last_second() -> i64 {
    Timestamp::MAX.as_second()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A text of 1 to `max` characters, any but NUL, the bounds and the awkward ones often.
fn text(max: usize) -> BoxedStrategy<String> {
    prop_oneof![
        2 => vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 1..=max.min(20)).prop_map(String::from_iter),
        1 => "[a-z0-9.-]{1,20}",
        1 => prop::sample::select(vec!['a', 'é', '\u{1f980}', '\u{1}', '"', '\\', '\n', '\u{2028}', '\u{7f}'])
            .prop_map(move |c| c.to_string().repeat(max)),
    ]
    .boxed()
}

/// A text of up to `max` bytes.
fn bytes(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), text(max)]
        .prop_map(move |text| text[..text.floor_char_boundary(max)].to_owned())
}

fn micros() -> impl Strategy<Value = Option<u32>> {
    option::of(prop_oneof![Just(0), Just(i32::MAX as u32), 0..=i32::MAX as u32])
}

fn small() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(i16::MAX as u16), 0..=i16::MAX as u16]
}

fn instant() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0), Just(last_second()), 0..=last_second(), 1_700_000_000..1_900_000_000i64]
        .prop_map(second)
}

fn word<T: Copy + std::fmt::Debug + 'static>(words: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(words)
}

fn sample() -> impl Strategy<Value = Sample> {
    let header = (bytes(MAX_MESSAGE), bytes(MAX_MESSAGE));
    (vec(header, 0..=MAX_SAMPLE_HEADERS), bytes(MAX_SAMPLE_BODY))
        .prop_map(|(headers, body)| Sample { headers, body })
}

/// When a certificate expires.
fn expiry() -> impl Strategy<Value = Option<Timestamp>> {
    let any = prop_oneof![Just(last_second()), Just(-62_167_219_200), -62_167_219_200..=last_second()];
    option::of(any.prop_map(second))
}

fn certificate() -> impl Strategy<Value = Certificate> {
    let names = vec(bytes(MAX_NAME), 0..=MAX_SUBJECT_NAMES);
    ("[0-9a-f]{64}", prop_oneof![Just(String::new()), text(MAX_TEXT)], names, expiry()).prop_map(
        |(sha256, issuer, subject_names, chain_not_after)| Certificate {
            sha256,
            issuer,
            subject_names,
            chain_not_after,
        },
    )
}

fn hop() -> impl Strategy<Value = Hop> {
    let times = (micros(), micros(), micros(), micros());
    (bytes(MAX_HOP_URL), 100..=999u16, option::of(any::<IpAddr>()), times).prop_map(
        |(url, http_status, remote_ip, (dns_us, connect_us, tls_us, ttfb_us))| Hop {
            url,
            http_status,
            remote_ip,
            dns_us,
            connect_us,
            tls_us,
            ttfb_us,
        },
    )
}

fn tried() -> impl Strategy<Value = Try> {
    (word(ErrorType::ALL), option::of(text(MAX_TEXT)), micros()).prop_map(
        |(error_type, error_detail, total_us)| Try {
            outcome: error_type.outcome(),
            error_type,
            error_detail,
            total_us,
        },
    )
}

fn maintenance() -> impl Strategy<Value = MaintenanceWindow> {
    (text(MAX_TEXT), text(MAX_TEXT), 1..=MAX_MAINTENANCE_S)
        .prop_map(|(schedule, timezone, duration_s)| MaintenanceWindow { schedule, timezone, duration_s })
}

/// Any result that is valid: every field over its whole range. Boxed: the strategies' own types fill a stack.
fn check_result() -> BoxedStrategy<CheckResult> {
    let identity = (
        (text(MAX_TEXT), text(MAX_TEXT), text(MAX_TEXT), text(MAX_TEXT)),
        prop::collection::btree_map(
            text(MAX_TEXT),
            prop_oneof![Just(String::new()), text(MAX_TEXT)],
            0..=MAX_LABELS,
        ),
        (bytes(MAX_URL), option::of(bytes(MAX_URL)), "[!-~]{1,16}", small(), small()),
    );
    let times = (
        instant(),
        option::of(prop_oneof![Just(1), Just(i64::from(i32::MAX)), 1..=i64::from(i32::MAX)]),
        option::of(prop_oneof![Just(i32::MIN), Just(i32::MAX), any::<i32>()]),
        expiry(),
    );
    let verdict = (
        option::of(word(ErrorType::ALL)),
        option::of(bytes(MAX_TEXT)),
        option::of(bytes(MAX_MESSAGE)),
        prop::sample::subsequence(Expectation::ALL.to_vec(), 0..=Expectation::ALL.len()),
        option::of(100..=999u16),
        option::of(any::<bool>()),
        any::<bool>(),
    );
    let way = (option::of(certificate()), vec(hop(), 0..=MAX_HOPS), vec(tried(), 0..=MAX_TRIES));
    let phases = (micros(), micros(), micros(), micros(), micros(), micros(), micros());
    let rest = (
        any::<bool>(),
        option::of(any::<IpAddr>()),
        option::of(word(HttpVersion::ALL)),
        option::of(word(TlsVersion::ALL)),
        option::of(sample()),
        option::of(text(MAX_TEXT)),
        micros(),
        incident(),
        option::of((1..=MAX_SLO_UPTIME_PPM, 1..=MAX_SLO_WINDOW_DAYS)),
        vec(maintenance(), 0..=MAX_MAINTENANCE),
    );
    let parts = (identity.boxed(), times.boxed(), verdict.boxed(), phases.boxed(), rest.boxed(), way.boxed());
    parts
        .prop_map(|(identity, times, verdict, phases, rest, way)| {
            let ((site, name, location, checker), labels, (url, final_url, method, redirects, attempts)) =
                identity;
            let (scheduled_at, next_after, started_after, not_after) = times;
            let (error_type, error_detail, error_message, failed, http_status, body_matched, is_slow) =
                verdict;
            let (certificate, hops, tries) = way;
            let (dns_us, connect_us, tls_us, ttfb_us, download_us, total_us, body_bytes) = phases;
            let (
                body_truncated,
                remote_ip,
                http_version,
                tls_version,
                sample,
                schedule,
                time_budget_ms,
                incident,
                slo,
                maintenance,
            ) = rest;
            let next_at =
                next_after.and_then(|after| Timestamp::from_second(scheduled_at.as_second() + after).ok());
            let started_at = started_after.and_then(|after| {
                Timestamp::from_microsecond(scheduled_at.as_microsecond() + i64::from(after)).ok()
            });
            let outcome = error_type.map_or(Outcome::Success, ErrorType::outcome);
            CheckResult {
                v: RecordVersion,
                site,
                name,
                location,
                checker,
                labels,
                url,
                final_url,
                schedule,
                time_budget_ms,
                incident_failures: incident[0],
                incident_recoveries: incident[1],
                incident_locations: incident[2],
                incident_locations_percent: incident[3],
                incident_min_voters: incident[4],
                slo_uptime_ppm: slo.map(|(uptime, _)| uptime),
                slo_window_days: slo.map(|(_, days)| days),
                maintenance,
                method,
                redirects,
                scheduled_at,
                next_at,
                started_at,
                outcome,
                degraded: is_slow && outcome == Outcome::Success,
                error_type,
                error_detail,
                error_message,
                failed_expectations: if outcome == Outcome::Success { Vec::new() } else { failed },
                http_status,
                body_matched,
                dns_us,
                connect_us,
                tls_us,
                ttfb_us,
                download_us,
                total_us,
                body_bytes,
                body_truncated,
                remote_ip,
                http_version,
                tls_version,
                cert_not_after: not_after,
                certificate,
                hops,
                tries,
                attempts,
                sample,
            }
        })
        .boxed()
}

/// Failures, recoveries, locations as a number or as a percentage, and voters.
fn incident() -> impl Strategy<Value = [Option<u16>; 5]> {
    let thresholds = prop::array::uniform4(option::of(1..=MAX_THRESHOLD));
    (thresholds, any::<bool>()).prop_map(|([failures, recoveries, locations, min_voters], is_number)| {
        let (number, percent) = if is_number { (locations, None) } else { (None, locations) };
        [failures, recoveries, number, percent, min_voters]
    })
}

fn gap_record() -> impl Strategy<Value = GapRecord> {
    let instants = prop_oneof![Just(1), Just(u64::MAX), 1..=u64::MAX];
    let names = (text(MAX_TEXT), text(MAX_TEXT), text(MAX_TEXT));
    (names, instant(), option::of(1..=i64::from(i32::MAX)), instants, word(GapReason::ALL)).prop_map(
        |((site, location, checker), from, length, instants, reason)| {
            let to = length.and_then(|length| Timestamp::from_second(from.as_second() + length).ok());
            let mut gap = Gap { from, to, instants, reason };
            gap.instants = instants.min(gap.max_instants());
            GapRecord { v: RecordVersion, site, location, checker, gap }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        3 => check_result().prop_map(|result| Record::Result(Box::new(result))),
        1 => gap_record().prop_map(Record::Gap),
    ]
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::options().should_validate_formats(true).build(&Record::json_schema()).unwrap()
});

/// A small result as JSON, to be bent by a test.
fn plain() -> Value {
    json!({
        "v": 1, "site": "shop", "name": "Shop", "location": "berlin-1", "checker": "host-a",
        "url": "https://shop.example/", "method": "GET", "scheduled_at": "2026-03-01T12:00:00Z",
        "next_at": "2026-03-01T12:01:00Z", "outcome": "failure", "error_type": "timeout"
    })
}

fn plain_gap() -> Value {
    json!({
        "v": 1, "site": "shop", "location": "berlin-1", "checker": "host-a",
        "gap": {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z", "instants": 60, "reason": "outbox_full"}
    })
}

/// `value` with the field at `path` (dots between keys) replaced.
fn with(mut value: Value, path: &str, field: Value) -> Value {
    let mut target = &mut value;
    for key in path.split('.') {
        target = &mut target[key];
    }
    *target = field;
    value
}

fn decode(value: &Value) -> Result<Record, DecodeError> {
    Record::decode(value.to_string().as_bytes())
}

#[track_caller]
fn assert_decodes(value: &Value) {
    if let Err(error) = decode(value) {
        panic!("{error}: {value}");
    }
}

#[track_caller]
fn assert_refused(value: &Value, message: &str) {
    let error = decode(value).expect_err(&format!("expected {message:?} for {value}"));
    assert_eq!(error.to_string(), message, "{value}");
    assert_eq!(error.reason(), "invalid");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_record_is_read_back_as_it_was_written(record in record()) {
        prop_assert_eq!(record.validate(), Ok(()));
        let encoded = record.encode();
        prop_assert!(encoded.len() <= MAX_RECORD, "{} bytes", encoded.len());
        prop_assert!(!encoded.contains(&b'\n'));
        prop_assert_eq!(Record::decode(&encoded), Ok(record));
    }

    #[test]
    fn a_valid_record_meets_the_schema(record in record()) {
        let value = serde_json::to_value(&record).unwrap();
        let faults: Vec<String> = SCHEMA.iter_errors(&value).map(|error| error.to_string()).collect();
        prop_assert!(faults.is_empty(), "{:?}", faults);
    }

    #[test]
    fn no_bytes_at_all_make_decoding_panic(value in vec(any::<u8>(), 0..400)) {
        prop_assert!(Record::decode(&value).is_err());
    }

    #[test]
    fn what_is_left_of_a_damaged_record_is_refused_or_still_a_record(
        record in record(),
        damage in vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..4),
    ) {
        let mut value = record.encode();
        for (at, kind, byte) in damage {
            let at = at.index(value.len());
            match kind {
                0 => value[at] = byte,
                1 => value.insert(at, byte),
                2 if value.len() > 1 => { value.remove(at); }
                _ => value.truncate(at.max(1)),
            }
        }
        if let Ok(decoded) = Record::decode(&value) {
            prop_assert_eq!(Record::decode(&decoded.encode()), Ok(decoded));
        }
    }

    #[test]
    fn any_value_in_any_field_is_refused_or_still_a_record(
        record in record(), field in any::<prop::sample::Index>(), value in odd_value(),
    ) {
        let mut object = serde_json::to_value(&record).unwrap();
        let keys: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        object[field.get(&keys)] = value;
        if let Ok(decoded) = decode(&object) {
            prop_assert_eq!(Record::decode(&decoded.encode()), Ok(decoded));
        }
    }

    #[test]
    fn an_error_of_any_text_leaves_the_result_valid(
        result in check_result(), error_type in word(ErrorType::ALL),
        detail in option::of(any_text(300)), message in option::of(any_text(2_000)),
    ) {
        let mut result = result;
        result.set_error(error_type, detail.as_deref(), message.as_deref());
        prop_assert_eq!(Record::Result(Box::new(result)).validate(), Ok(()));
    }

    #[test]
    fn a_cut_text_is_within_its_bound_and_has_no_nul(text in any_text(100), max in 0..120usize) {
        let cut = truncated(&text, max);
        prop_assert!(cut.len() <= max);
        prop_assert!(!cut.contains('\0'));
        if text.len() <= max && !text.contains('\0') {
            prop_assert_eq!(cut, text);
        }
    }

    #[test]
    fn no_secret_of_a_url_survives_redaction(
        user in "[a-z]{8}-user", password in "[a-z]{8}-pass", values in vec("[a-z]{8}-value", 0..4),
        bare in option::of("[a-z]{8}-bare"), fragment in "[a-z]{8}-frag", path in "[a-z/]{0,8}",
        scheme in prop::sample::select(vec!["http", "https", "ftp", "x-own"]),
    ) {
        let mut query: Vec<String> = values.iter().enumerate().map(|(i, v)| format!("key{i}={v}={v}")).collect();
        query.extend(bare.clone());
        let url = format!("{scheme}://{user}:{password}@host.example/{path}?{}#{fragment}", query.join("&"));
        let url = Url::parse(&url).unwrap();
        let shown = redacted(&url, false);
        for secret in [&user, &password, &fragment].into_iter().chain(&values).chain(&bare) {
            prop_assert!(!shown.contains(secret.as_str()), "{} in {}", secret, shown);
        }
        prop_assert!(shown.contains("host.example"));
        for i in 0..values.len() {
            prop_assert!(shown.contains(&format!("key{i}=")), "{}", shown);
        }

        let kept = redacted(&url, true);
        for secret in [&user, &password, &fragment] {
            prop_assert!(!kept.contains(secret.as_str()), "{} in {}", secret, kept);
        }
        for value in values.iter().chain(&bare) {
            prop_assert!(kept.contains(value.as_str()), "{} not in {}", value, kept);
        }
    }

    #[test]
    fn a_redacted_url_fits_a_record(pairs in vec(("[a-zé]{1,40}", "[a-z]{0,3}"), 0..200)) {
        let mut url = Url::parse("https://user:secret@host.example/").unwrap();
        url.query_pairs_mut().extend_pairs(pairs);
        for keep_query in [false, true] {
            let shown = redacted(&url, keep_query);
            prop_assert!(shown.len() <= MAX_URL);
        }
    }
}

/// A text of up to `max` characters, NUL too and often.
fn any_text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        vec(prop_oneof![Just('\0'), any::<char>()], 0..=max).prop_map(String::from_iter),
        (0..=max).prop_map(|length| "\0".repeat(length)),
    ]
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text(10).prop_map(Value::from),
        prop::sample::select(vec![
            json!({}),
            json!([]),
            json!([["a", "b"]]),
            json!({"from": "2026-01-01T00:00:00Z", "instants": 1, "reason": "outbox_full"}),
            json!("9999-12-31T23:59:59Z"),
            json!("-009999-01-02T01:59:59Z"),
            json!("2026-03-01T12:00:00+01:00"),
            json!("2026-03-01T12:00:60Z"),
            json!(["status", "status"]),
            json!("success"),
            json!(1e300),
        ]),
    ]
}

// ---- Bounds, each at its edge.

#[test]
fn the_largest_valid_record_is_within_the_bound_on_values() {
    // The character that grows most in JSON: one byte becomes the six of an escape.
    let full = |length: usize| "\u{1}".repeat(length);
    let label = |i: usize| (format!("{i:02}{}", full(MAX_TEXT - 2)), full(MAX_TEXT));
    let Ok(Record::Result(plain)) = decode(&plain()) else { panic!("no result") };
    let result = CheckResult {
        site: full(MAX_TEXT),
        name: full(MAX_TEXT),
        location: full(MAX_TEXT),
        checker: full(MAX_TEXT),
        labels: (0..MAX_LABELS).map(label).collect(),
        url: full(MAX_URL),
        final_url: Some(full(MAX_URL)),
        method: "\"".repeat(16),
        redirects: i16::MAX as u16,
        scheduled_at: second(last_second() - 1),
        next_at: Some(second(last_second())),
        started_at: Some(Timestamp::MAX),
        error_type: Some(ErrorType::ExpectationFailed),
        error_detail: Some(full(MAX_TEXT)),
        error_message: Some(full(MAX_MESSAGE)),
        failed_expectations: Expectation::ALL.to_vec(),
        http_status: Some(999),
        body_matched: Some(false),
        dns_us: Some(i32::MAX as u32),
        connect_us: Some(i32::MAX as u32),
        tls_us: Some(i32::MAX as u32),
        ttfb_us: Some(i32::MAX as u32),
        download_us: Some(i32::MAX as u32),
        total_us: Some(i32::MAX as u32),
        body_bytes: Some(i32::MAX as u32),
        body_truncated: true,
        remote_ip: Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
        http_version: Some(HttpVersion::Http11),
        tls_version: Some(TlsVersion::Tls13),
        cert_not_after: Some(second(last_second())),
        certificate: Some(Certificate {
            sha256: "f".repeat(64),
            issuer: full(MAX_TEXT),
            subject_names: vec![full(MAX_NAME); MAX_SUBJECT_NAMES],
            chain_not_after: Some(second(last_second())),
        }),
        hops: vec![
            Hop {
                url: full(MAX_HOP_URL),
                http_status: 999,
                remote_ip: Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
                dns_us: Some(i32::MAX as u32),
                connect_us: Some(i32::MAX as u32),
                tls_us: Some(i32::MAX as u32),
                ttfb_us: Some(i32::MAX as u32),
            };
            MAX_HOPS
        ],
        tries: vec![
            Try {
                outcome: Outcome::Failure,
                error_type: ErrorType::ExpectationFailed,
                error_detail: Some(full(MAX_TEXT)),
                total_us: Some(i32::MAX as u32),
            };
            MAX_TRIES
        ],
        attempts: i16::MAX as u16,
        sample: Some(Sample {
            headers: vec![(full(MAX_MESSAGE), full(MAX_MESSAGE)); MAX_SAMPLE_HEADERS],
            body: full(MAX_SAMPLE_BODY),
        }),
        ..*plain
    };
    let record = Record::Result(Box::new(result));
    record.validate().unwrap();
    let encoded = record.encode();
    assert!(encoded.len() <= MAX_RECORD, "{} bytes are more than {MAX_RECORD}", encoded.len());
    // A client's own limit (librdkafka's message.max.bytes, and the broker's) is a million.
    const { assert!(MAX_RECORD < 1_000_000) };
    assert_eq!(Record::decode(&encoded), Ok(record));
}

#[test]
fn a_value_one_byte_over_the_bound_is_not_parsed() {
    let mut value = plain().to_string().into_bytes();
    value.resize(MAX_RECORD, b' ');
    assert!(Record::decode(&value).is_ok());
    value.push(b' ');
    let error = Record::decode(&value).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge(MAX_RECORD + 1));
    assert_eq!(error.to_string(), "786433 bytes are more than a record may have (786432)");
    assert_eq!(error.reason(), "too_large");
}

#[test]
fn texts_are_bounded_in_characters() {
    for field in ["site", "name", "location", "checker", "error_detail"] {
        for character in ["a", "é", "\u{1f980}"] {
            assert_decodes(&with(plain(), field, character.repeat(200).into()));
            let longer = with(plain(), field, character.repeat(201).into());
            assert_refused(&longer, &format!("{field}: longer than 200 characters"));
        }
        assert_refused(&with(plain(), field, "a\0".into()), &format!("{field}: contains a NUL character"));
    }
    for field in ["site", "name", "location", "checker"] {
        assert_refused(&with(plain(), field, "".into()), &format!("{field}: empty"));
    }
    for field in ["site", "location", "checker"] {
        assert_decodes(&with(plain_gap(), field, "é".repeat(200).into()));
        let longer = with(plain_gap(), field, "é".repeat(201).into());
        assert_refused(&longer, &format!("{field}: longer than 200 characters"));
        assert_refused(&with(plain_gap(), field, "".into()), &format!("{field}: empty"));
    }
}

#[test]
fn long_texts_are_bounded_in_bytes() {
    for (field, max) in [("url", 2_048), ("final_url", 2_048), ("error_message", 1_024)] {
        assert_decodes(&with(plain(), field, "é".repeat(max / 2).into()));
        let longer = with(plain(), field, format!("{}a", "é".repeat(max / 2)).into());
        assert_refused(&longer, &format!("{field}: {} bytes are more than {max}", max + 1));
        assert_refused(&with(plain(), field, "\0".into()), &format!("{field}: contains a NUL character"));
    }
}

#[test]
fn labels_are_bounded_in_number_and_length() {
    let labels = |n: usize| -> Value { (0..n).map(|i| (format!("k{i:02}"), json!("v"))).collect() };
    assert_decodes(&with(plain(), "labels", labels(16)));
    assert_refused(&with(plain(), "labels", labels(17)), "labels: 17 are more than 16");
    assert_decodes(&with(plain(), "labels", json!({"k".repeat(200): "", "v": "é".repeat(200)})));
    for labels in [json!({"k".repeat(201): ""}), json!({"v": "é".repeat(201)})] {
        assert_refused(&with(plain(), "labels", labels), "labels: longer than 200 characters");
    }
    assert_refused(&with(plain(), "labels", json!({"": "v"})), "labels: empty");
    assert_refused(&with(plain(), "labels", json!({"k": "\0"})), "labels: contains a NUL character");
}

#[test]
fn a_method_is_a_word() {
    for method in ["G", "GET", "VERSION-CONTROL!"] {
        assert_decodes(&with(plain(), "method", method.into()));
    }
    for method in ["", "VERSION-CONTROL!!", "GÉT", "GET /", "GET\n", "\0"] {
        // A NUL is shown as what no record can hold it as.
        let shown = method.replace('\0', "\u{fffd}");
        assert_refused(
            &with(plain(), "method", method.into()),
            &format!("method: {shown:?} is not a method"),
        );
    }
}

#[test]
fn numbers_are_bounded_by_their_columns() {
    for field in ["dns_us", "connect_us", "tls_us", "ttfb_us", "download_us", "total_us", "body_bytes"] {
        assert_decodes(&with(plain(), field, i32::MAX.into()));
        let larger = with(plain(), field, (i64::from(i32::MAX) + 1).into());
        assert_refused(&larger, &format!("{field}: 2147483648 is out of range: expected 0 to 2147483647"));
        for value in [json!(-1), json!(0.5), json!("1"), json!(1u64 << 32)] {
            assert_eq!(decode(&with(plain(), field, value)).unwrap_err().reason(), "malformed");
        }
    }
    for field in ["redirects", "attempts"] {
        assert_decodes(&with(plain(), field, i16::MAX.into()));
        let larger = with(plain(), field, 32_768.into());
        assert_refused(&larger, &format!("{field}: 32768 is out of range: expected 0 to 32767"));
    }
    for status in [100, 999] {
        assert_decodes(&with(plain(), "http_status", status.into()));
    }
    for status in [99, 1_000] {
        let message = format!("http_status: {status} is out of range: expected 100 to 999");
        assert_refused(&with(plain(), "http_status", status.into()), &message);
    }
    for field in [
        "incident_failures",
        "incident_recoveries",
        "incident_locations",
        "incident_locations_percent",
        "incident_min_voters",
    ] {
        assert_decodes(&with(plain(), field, 1.into()));
        assert_decodes(&with(plain(), field, MAX_THRESHOLD.into()));
        for out in [0, 101] {
            let message = format!("{field}: {out} is out of range: expected 1 to 100");
            assert_refused(&with(plain(), field, out.into()), &message);
        }
    }
}

#[test]
fn locations_are_a_number_or_a_percentage_and_not_both() {
    let number = with(plain(), "incident_locations", 2.into());
    assert_decodes(&number);
    assert_refused(
        &with(number, "incident_locations_percent", 50.into()),
        "incident_locations_percent: set beside incident_locations",
    );
}

#[test]
fn a_target_of_uptime_has_its_days() {
    let target = |uptime: u32, days: u32| {
        with(with(plain(), "slo_uptime_ppm", uptime.into()), "slo_window_days", days.into())
    };
    assert_decodes(&target(1, 1));
    assert_decodes(&target(999_999, 90));
    for (uptime, days, message) in [
        (0, 30, "slo_uptime_ppm: 0 is out of range: expected 1 to 999999"),
        (1_000_000, 30, "slo_uptime_ppm: 1000000 is out of range: expected 1 to 999999"),
        (999_000, 0, "slo_window_days: 0 is out of range: expected 1 to 90"),
        (999_000, 91, "slo_window_days: 91 is out of range: expected 1 to 90"),
    ] {
        assert_refused(&target(uptime, days), message);
    }
    for (field, value, message) in [
        ("slo_uptime_ppm", 999_000, "slo_uptime_ppm: set without slo_window_days"),
        ("slo_window_days", 30, "slo_window_days: set without slo_uptime_ppm"),
    ] {
        assert_refused(&with(plain(), field, value.into()), message);
    }
}

#[test]
fn a_gap_has_no_more_instants_than_seconds_and_is_no_longer_than_68_years() {
    // An hour.
    assert_decodes(&with(plain_gap(), "gap.instants", 3_600.into()));
    for instants in [0, 3_601, i64::MAX as u64, u64::MAX] {
        let message = format!("gap.instants: {instants} is out of range: expected 1 to 3600");
        assert_refused(&with(plain_gap(), "gap.instants", instants.into()), &message);
    }
    let endless = with(plain_gap(), "gap.to", Value::Null);
    assert_decodes(&with(endless.clone(), "gap.instants", i32::MAX.into()));
    let message = "gap.instants: 2147483648 is out of range: expected 1 to 2147483647";
    assert_refused(&with(endless, "gap.instants", 2_147_483_648_u32.into()), message);
    let from = |from: &str| {
        with(with(plain_gap(), "gap.from", from.into()), "gap.to", "2038-01-19T03:14:08Z".into())
    };
    assert_decodes(&from("1970-01-01T00:00:01Z"));
    let message = "gap.to: 2038-01-19T03:14:08Z is over 68 years after gap.from";
    assert_refused(&from("1970-01-01T00:00:00Z"), message);
}

#[test]
fn a_sample_is_bounded() {
    let sample = |headers: usize, name: usize, value: usize, body: usize| {
        let headers = vec![json!(["n".repeat(name), "v".repeat(value)]); headers];
        with(plain(), "sample", json!({"headers": headers, "body": "b".repeat(body)}))
    };
    assert_decodes(&sample(32, 1_024, 1_024, 4_096));
    assert_refused(&sample(33, 1, 1, 1), "sample: more than 32 headers");
    assert_refused(&sample(1, 1_025, 1, 1), "sample: 1025 bytes are more than 1024");
    assert_refused(&sample(1, 1, 1_025, 1), "sample: 1025 bytes are more than 1024");
    assert_refused(&sample(1, 1, 1, 4_097), "sample: 4097 bytes are more than 4096");
    assert_refused(&with(plain(), "sample", json!({"body": "\0"})), "sample: contains a NUL character");
    assert_decodes(&with(plain(), "sample", json!({})));
}

#[test]
fn instants_are_whole_seconds_within_what_postgres_and_rfc_3339_can_say() {
    let at = "scheduled_at";
    let alone = with(plain(), "next_at", Value::Null);
    for instant in ["1970-01-01T00:00:00Z", "9999-12-30T22:00:00Z", "2026-03-01T12:00:00+05:30"] {
        assert_decodes(&with(alone.clone(), at, instant.into()));
    }
    let before = with(alone.clone(), at, "1969-12-31T23:59:59Z".into());
    assert_refused(&before, "scheduled_at: 1969-12-31T23:59:59Z is before 1970");
    let fraction = with(alone, at, "2026-03-01T12:00:00.5Z".into());
    assert_refused(&fraction, "scheduled_at: 2026-03-01T12:00:00.5Z is not in whole seconds");

    let next = |next: &str| with(plain(), "next_at", next.into());
    assert_decodes(&next("2026-03-01T12:00:01Z"));
    assert_decodes(&next("2094-03-19T15:14:07Z"));
    for instant in ["2026-03-01T12:00:00Z", "2026-03-01T11:59:59Z", "2094-03-19T15:14:08Z"] {
        let message = format!("next_at: {instant} is not 1 s to 68 years after scheduled_at");
        assert_refused(&next(instant), &message);
    }
    let message = "next_at: 2026-03-01T12:01:00.000001Z is not in whole seconds";
    assert_refused(&next("2026-03-01T12:01:00.000001Z"), message);

    let started = |started: &str| with(plain(), "started_at", started.into());
    assert_decodes(&started("2026-03-01T12:35:47.483647Z"));
    assert_decodes(&started("2026-03-01T11:24:12.516352Z"));
    for instant in ["2026-03-01T12:35:47.483648Z", "2026-03-01T11:24:12.516351Z"] {
        let message = format!("started_at: {instant} is over 35 minutes from scheduled_at");
        assert_refused(&started(instant), &message);
    }

    // X.509 has the years 0 to 9999; jiff ends a day early, so "never expires" cannot be told to the second.
    let expiring = |not_after: &str| with(plain(), "cert_not_after", not_after.into());
    for instant in ["0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z"] {
        assert_decodes(&expiring(instant));
    }
    let message = "cert_not_after: -000001-12-31T23:59:59Z is before the year 0";
    assert_refused(&expiring("-000001-12-31T23:59:59Z"), message);
    let message = "cert_not_after: 2026-03-01T12:00:00.1Z is not in whole seconds";
    assert_refused(&expiring("2026-03-01T12:00:00.1Z"), message);
    assert_eq!(decode(&expiring("9999-12-31T23:59:59Z")).unwrap_err().reason(), "malformed");

    let one = with(plain_gap(), "gap.instants", 1.into());
    let gap = |from: &str, to: Value| with(with(one.clone(), "gap.from", from.into()), "gap.to", to);
    assert_decodes(&gap("2026-03-01T12:00:00Z", Value::Null));
    assert_decodes(&gap("2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z".into()));
    let message = "gap.to: 2026-03-01T12:00:00Z is not after gap.from";
    assert_refused(&gap("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z".into()), message);
    let message = "gap.from: 1969-12-31T23:59:59Z is before 1970";
    assert_refused(&gap("1969-12-31T23:59:59Z", Value::Null), message);
    let message = "gap.to: 2026-03-01T12:00:00.5Z is not in whole seconds";
    assert_refused(&gap("2026-03-01T11:00:00Z", "2026-03-01T12:00:00.5Z".into()), message);
}

#[test]
fn outcome_and_error_agree() {
    let verdict = |outcome: &str, error_type: Value| {
        with(with(plain(), "outcome", outcome.into()), "error_type", error_type)
    };
    for error_type in ErrorType::ALL {
        for outcome in [Outcome::Missed, Outcome::Failure, Outcome::Success] {
            let value = verdict(outcome.as_str(), error_type.as_str().into());
            if outcome == error_type.outcome() {
                assert_decodes(&value);
            } else if outcome == Outcome::Success {
                assert_refused(&value, "error_type: set on a success");
            } else {
                assert_refused(&value, &format!("error_type: {error_type} does not belong to a {outcome}"));
            }
        }
    }
    assert_decodes(&verdict("success", Value::Null));
    assert_refused(&verdict("failure", Value::Null), "error_type: missing on a failure");
    assert_refused(&verdict("missed", Value::Null), "error_type: missing on a missed");
}

#[test]
fn each_failed_expectation_is_named_once() {
    let failed = |words: Value| with(plain(), "failed_expectations", words);
    assert_decodes(&failed(json!(["certificate", "status", "body", "not_body", "header", "max_time"])));
    assert_refused(&failed(json!(["body", "status", "body"])), "failed_expectations: body is named twice");
    let success = with(with(failed(json!(["body"])), "outcome", "success".into()), "error_type", Value::Null);
    assert_refused(&success, "failed_expectations: not empty on a success");
}

// ---- What is no record.

#[test]
fn what_is_no_record_is_told_exactly() {
    let cases: &[(&[u8], &str, &str)] = &[
        (b"", "empty", "the record has no value"),
        (b"\0", "malformed", "not a record: expected value at line 1 column 1"),
        (b"\xff\xfe", "malformed", "not a record: expected value at line 1 column 1"),
        (
            b"null",
            "malformed",
            "not a record: invalid type: null, expected struct CheckResult at line 1 column 4",
        ),
        (b"{}", "malformed", "not a record: no version field \"v\""),
        (b"{\"v\":1", "malformed", "not a record: EOF while parsing an object at line 1 column 6"),
        (b"{\"v\":1} 2", "malformed", "not a record: missing field `site` at line 1 column 7"),
        (b"{\"v\":2}", "unknown_version", "unknown record version 2: expected 1"),
        (b"{\"v\":0}", "unknown_version", "unknown record version 0: expected 1"),
        (
            b"{\"v\":18446744073709551615}",
            "unknown_version",
            "unknown record version 18446744073709551615: expected 1",
        ),
        (b"{\"v\":\"1\"}", "malformed", "not a record: the version field \"v\" is not a whole number"),
        (b"{\"v\":1.0}", "malformed", "not a record: the version field \"v\" is not a whole number"),
        (b"{\"v\":-1}", "malformed", "not a record: the version field \"v\" is not a whole number"),
        (b"{\"v\":null}", "malformed", "not a record: no version field \"v\""),
        (b"{\"v\":1}", "malformed", "not a record: missing field `site` at line 1 column 7"),
        (
            b"{\"v\":1,\"gap\":1}",
            "malformed",
            "not a record: invalid type: integer `1`, expected struct Gap at line 1 column 14",
        ),
        (b"{\"v\":1,\"v\":1}", "malformed", "not a record: duplicate field `v` at line 1 column 10"),
    ];
    for (value, reason, message) in cases {
        let shown = String::from_utf8_lossy(value);
        let error = Record::decode(value).expect_err(&shown);
        assert_eq!((error.reason(), error.to_string().as_str()), (*reason, *message), "{shown}");
    }
    let cases = [
        ("outcome", json!("up"), "unknown variant `up`, expected one of `missed`, `failure`, `success`"),
        ("redirects", json!(65_536), "invalid value: integer `65536`, expected u16"),
        ("http_status", json!("200"), "invalid type: string \"200\", expected u16"),
        ("labels", json!({"k": 1}), "invalid type: integer `1`, expected a string"),
        ("remote_ip", json!("localhost"), "invalid IP address syntax"),
        (
            "http_version",
            json!("HTTP/4"),
            "unknown variant `HTTP/4`, expected one of `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, `HTTP/3`",
        ),
    ];
    for (field, value, message) in cases {
        let error = decode(&with(plain(), field, value)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("not a record: {message} at line 1 column ")), "{error}");
    }
}

#[test]
fn the_message_of_a_fault_is_bounded() {
    let error = decode(&with(plain(), "outcome", "x".repeat(10_000).into())).unwrap_err();
    assert!(error.to_string().len() <= "not a record: ".len() + MAX_MESSAGE);
}

#[test]
fn every_required_field_is_required() {
    for (value, required) in [
        (plain(), &["site", "name", "location", "checker", "url", "method", "scheduled_at", "outcome"][..]),
        (plain_gap(), &["site", "location", "checker"]),
    ] {
        for field in required {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(*field);
            let error = decode(&value).unwrap_err().to_string();
            let message = format!("not a record: missing field `{field}` at line 1 column ");
            assert!(error.starts_with(&message), "{error}");
        }
    }
    for field in ["from", "instants", "reason"] {
        let mut value = plain_gap();
        value["gap"].as_object_mut().unwrap().remove(field);
        let error = decode(&value).unwrap_err().to_string();
        assert!(error.starts_with(&format!("not a record: missing field `{field}` at ")), "{error}");
    }
}

#[test]
fn fields_that_are_not_known_are_accepted() {
    let odd = json!({"deep": [{"er": null}], "text": "\u{0}"});
    for known in [plain(), plain_gap()] {
        let value = with(known.clone(), "a_field_of_tomorrow", odd.clone());
        assert_eq!(decode(&value), decode(&known));
    }
    let gap = with(plain_gap(), "gap.a_field_of_tomorrow", odd.clone());
    assert_eq!(decode(&gap), decode(&plain_gap()));
    // A result stays one, whatever else it carries.
    assert!(matches!(decode(&with(plain(), "gap", json!({"from": 1}))), Ok(Record::Result(_))));
}

#[test]
fn nesting_without_end_is_refused_and_not_followed() {
    for open in ["[", "{\"a\":"] {
        for field in ["x", "v", "labels", "gap", "sample"] {
            let value = format!("{{\"{field}\":{}", open.repeat(50_000));
            assert_eq!(Record::decode(value.as_bytes()).unwrap_err().reason(), "malformed");
        }
    }
}

#[test]
fn null_is_as_good_as_absent() {
    let mut value = plain();
    for field in [
        "final_url",
        "next_at",
        "started_at",
        "error_detail",
        "error_message",
        "http_status",
        "body_matched",
        "dns_us",
        "connect_us",
        "tls_us",
        "ttfb_us",
        "download_us",
        "total_us",
        "body_bytes",
        "remote_ip",
        "http_version",
        "tls_version",
        "cert_not_after",
        "certificate",
        "sample",
    ] {
        value[field] = Value::Null;
    }
    let Ok(Record::Result(result)) = decode(&value) else { panic!("{:?}", decode(&value)) };
    let written = serde_json::to_value(&*result).unwrap();
    assert!(written.as_object().unwrap().values().all(|field| !field.is_null()), "{written}");
}

#[test]
fn a_certificate_is_bounded() {
    let certificate = |field: &str, value: Value| {
        let full =
            json!({"sha256": "0a".repeat(32), "issuer": "", "subject_names": [], "chain_not_after": null});
        with(plain(), "certificate", with(full, field, value))
    };
    for (field, good, bad, message) in [
        ("sha256", json!("ff".repeat(32)), json!("FF".repeat(32)), "not 64 lower-case hexadecimal digits"),
        ("sha256", json!("00".repeat(32)), json!("0".repeat(63)), "not 64 lower-case hexadecimal digits"),
        ("issuer", json!("ü".repeat(200)), json!("ü".repeat(201)), "longer than 200 characters"),
        ("subject_names", json!(vec!["a"; 32]), json!(vec!["a"; 33]), "33 are more than 32"),
        ("subject_names", json!(["a".repeat(256)]), json!(["a".repeat(257)]), "257 bytes are more than 256"),
        (
            "chain_not_after",
            json!("2026-03-01T12:00:00Z"),
            json!("2026-03-01T12:00:00.5Z"),
            "2026-03-01T12:00:00.5Z is not in whole seconds",
        ),
    ] {
        assert_decodes(&certificate(field, good));
        assert_refused(&certificate(field, bad), &format!("certificate.{field}: {message}"));
    }
}

#[test]
fn tries_and_hops_are_bounded() {
    let hop = |field: &str, value: Value| with(json!({"url": "http://a/", "http_status": 301}), field, value);
    let tried = |field: &str, value: Value| {
        with(json!({"outcome": "failure", "error_type": "timeout"}), field, value)
    };
    let hops = |hops: Value| with(plain(), "hops", hops);
    let tries = |tries: Value| with(plain(), "tries", tries);
    assert_decodes(&hops(json!(vec![hop("url", json!("u".repeat(1_024))); 20])));
    assert_decodes(&tries(json!(vec![tried("error_detail", json!("d".repeat(200))); 8])));
    for (value, message) in [
        (hops(json!(vec![hop("url", json!("u")); 21])), "hops: 21 are more than 20"),
        (hops(json!([hop("url", json!("u".repeat(1_025)))])), "hops.url: 1025 bytes are more than 1024"),
        (
            hops(json!([hop("http_status", json!(99))])),
            "hops.http_status: 99 is out of range: expected 100 to 999",
        ),
        (
            hops(json!([hop("ttfb_us", json!(1u64 << 31))])),
            "hops.ttfb_us: 2147483648 is out of range: expected 0 to 2147483647",
        ),
        (tries(json!(vec![tried("error_detail", json!("d")); 9])), "tries: 9 are more than 8"),
        (
            tries(json!([tried("error_detail", json!("d".repeat(201)))])),
            "tries.error_detail: longer than 200 characters",
        ),
        (
            tries(json!([tried("outcome", json!("missed"))])),
            "tries.error_type: timeout does not belong to a missed",
        ),
    ] {
        assert_refused(&value, message);
    }
}

#[test]
fn only_a_success_is_degraded() {
    let success = with(with(plain(), "outcome", "success".into()), "error_type", Value::Null);
    assert_decodes(&with(success, "degraded", true.into()));
    assert_refused(&with(plain(), "degraded", true.into()), "degraded: set on a failure");
}

// ---- Rank.

#[test]
fn the_highest_outcome_wins_in_every_sequence_and_order() {
    let Ok(Record::Result(mut result)) = decode(&plain()) else { panic!("no result") };
    let outcomes = [Outcome::Missed, Outcome::Failure, Outcome::Success];
    assert!(outcomes.is_sorted());
    let mut sequences: Vec<Vec<Outcome>> = vec![vec![]];
    for _ in 0..6 {
        let longer = sequences.iter().flat_map(|sequence| {
            outcomes.iter().map(|outcome| sequence.iter().copied().chain([*outcome]).collect())
        });
        sequences = longer.collect();
        for sequence in &sequences {
            let mut stored = sequence[0];
            for outcome in &sequence[1..] {
                result.outcome = *outcome;
                if result.supersedes(stored) {
                    stored = *outcome;
                }
            }
            assert_eq!(Some(&stored), sequence.iter().max(), "{sequence:?}");
        }
    }
    for outcome in outcomes {
        result.outcome = outcome;
        assert!(!result.supersedes(outcome), "an equal result is a duplicate");
    }
}

#[test]
fn a_blank_result_of_a_site_lacks_only_its_error() {
    let schedule = Schedule::new("@every 60s", "UTC").unwrap();
    let site = Site::new("shop", "https://u:p@shop.example/?token=abc".parse().unwrap(), schedule);
    let origin = Origin { location: "berlin-1".to_owned(), checker: "host-a".to_owned() };
    let mut result = origin.blank(&site, second(60), Some(second(120)));
    let record = Record::Result(Box::new(result.clone()));
    assert_eq!(record.validate().unwrap_err().to_string(), "error_type: missing on a missed");
    assert_eq!((record.key(), result.url.as_str()), ("shop", "https://shop.example/?token=..."));
    result.set_error(ErrorType::Late, None, None);
    assert_eq!(Record::Result(Box::new(result)).validate(), Ok(()));
}

#[test]
fn a_record_says_of_its_thresholds_only_what_is_not_the_default() {
    let schedule = Schedule::new("@every 60s", "UTC").unwrap();
    let mut site = Site::new("shop", "https://shop.example/".parse().unwrap(), schedule);
    let origin = Origin::new("berlin-1", "host-a");
    let said = |site: &Site| {
        let result = serde_json::to_value(origin.blank(site, second(60), None)).unwrap();
        let fields = result.as_object().unwrap().iter();
        let fields = fields.filter_map(|(field, value)| Some((field.strip_prefix("incident_")?, value)));
        json!(fields.collect::<std::collections::BTreeMap<_, _>>())
    };
    assert_eq!(said(&site), json!({"failures": 2, "locations": 1}));
    site.incident = Incident { failures: 1, recoveries: 3, locations: Locations::Percent(50), min_voters: 2 };
    assert_eq!(
        said(&site),
        json!({"failures": 1, "recoveries": 3, "locations_percent": 50, "min_voters": 2})
    );
}

#[test]
fn a_record_says_the_target_of_a_site_that_has_one() {
    let schedule = Schedule::new("@every 60s", "UTC").unwrap();
    let mut site = Site::new("shop", "https://shop.example/".parse().unwrap(), schedule);
    let said = |site: &Site| {
        let result =
            serde_json::to_value(Origin::new("berlin-1", "host-a").blank(site, second(60), None)).unwrap();
        ["slo_uptime_ppm", "slo_window_days"].map(|field| result.get(field).cloned())
    };
    assert_eq!(said(&site), [None, None]);
    site.slo = Some(Slo { uptime_ppm: 999_500, window_days: 7 });
    assert_eq!(said(&site), [Some(json!(999_500)), Some(json!(7))]);
}

#[test]
fn a_record_says_the_maintenance_of_its_site() {
    let schedule = |expression: &str| Schedule::new(expression, "Europe/Berlin").unwrap();
    let mut site = Site::new("shop", "https://shop.example/".parse().unwrap(), schedule("@every 60s"));
    let said = |site: &Site| Origin::new("berlin-1", "host-a").blank(site, second(60), None).maintenance;
    assert!(said(&site).is_empty());
    assert!(
        !serde_json::to_string(&Origin::new("a", "b").blank(&site, second(60), None))
            .unwrap()
            .contains("maintenance")
    );
    site.maintenance = [Maintenance::new(schedule("0 2 * * SUN"), Duration::from_secs(7_200))].into();
    assert_eq!(
        serde_json::to_value(said(&site)).unwrap(),
        json!([{"schedule": "0 2 * * SUN", "timezone": "Europe/Berlin", "duration_s": 7_200}])
    );
    // What is said can be read.
    assert_eq!(Maintenance::try_from(&said(&site)[0]).unwrap(), site.maintenance[0]);
    // Of many the first.
    let many =
        (0..12).map(|hour| Maintenance::new(schedule(&format!("0 {hour} * * *")), Duration::from_secs(60)));
    site.maintenance = many.collect();
    let said = said(&site);
    assert_eq!((said.len(), said[9].schedule.as_str()), (MAX_MAINTENANCE, "0 9 * * *"));
}

// ---- The schema.

#[test]
fn the_schema_in_the_repository_is_the_types_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/record.schema.json");
    let schema = format!("{:#}\n", Record::json_schema());
    if std::env::var("WEBMON_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&path, &schema).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == schema,
        "docs/record.schema.json is out of date: run WEBMON_BLESS=1 cargo test --test record\n{schema}"
    );
}

#[test]
fn the_schema_tells_what_a_reader_needs_to_know() {
    let schema = Record::json_schema();
    assert_eq!(schema["title"], "webmon record, version 1");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["description"].as_str().is_some_and(|text| text.len() > 20));
    assert!(schema["anyOf"].as_array().is_some_and(|kinds| kinds.len() == 2), "{schema:#}");
    assert!(!schema.to_string().contains("additionalProperties\":false"));
    for (definition, required) in [
        (
            "CheckResult",
            json!(["v", "site", "name", "location", "checker", "url", "method", "scheduled_at", "outcome"]),
        ),
        ("GapRecord", json!(["v", "site", "location", "checker", "gap"])),
        ("Gap", json!(["from", "instants", "reason"])),
    ] {
        let definition = &schema["$defs"][definition];
        assert_eq!(definition["required"], required);
        assert!(definition["description"].is_string());
        for (field, schema) in definition["properties"].as_object().unwrap() {
            assert!(
                schema["description"].as_str().is_some_and(|text| !text.contains('[')),
                "{field}: {schema}"
            );
        }
    }
    let fields = &schema["$defs"]["CheckResult"]["properties"];
    for field in ["scheduled_at", "next_at", "started_at", "cert_not_after"] {
        assert_eq!(fields[field]["format"], "date-time", "{field}");
    }
}

#[test]
fn the_schema_refuses_what_decoding_refuses() {
    for value in [plain(), plain_gap()] {
        assert!(
            SCHEMA.is_valid(&value),
            "{:?}",
            SCHEMA.iter_errors(&value).map(|e| e.to_string()).collect::<Vec<_>>()
        );
    }
    let cases = [
        with(plain(), "v", 2.into()),
        with(plain(), "site", "".into()),
        with(plain(), "site", "a".repeat(201).into()),
        with(plain(), "outcome", "up".into()),
        with(plain(), "error_type", "bad_luck".into()),
        with(plain(), "scheduled_at", "yesterday".into()),
        with(plain(), "scheduled_at", Value::Null),
        with(plain(), "http_status", 99.into()),
        with(plain(), "total_us", (1u64 << 31).into()),
        with(plain(), "total_us", (-1).into()),
        with(plain(), "redirects", 32_768.into()),
        with(plain(), "attempts", 32_768.into()),
        with(plain(), "labels", json!({"k": 1})),
        with(plain(), "labels", (0..17).map(|i| (i.to_string(), json!("v"))).collect()),
        with(plain(), "labels", json!({"k": "v".repeat(201)})),
        with(plain(), "labels", json!({"": "v"})),
        with(plain(), "failed_expectations", json!(["status", "status"])),
        with(plain(), "method", "GET /".into()),
        with(plain(), "url", "u".repeat(2_049).into()),
        with(plain(), "sample", json!({"headers": [["a", "b", "c"]]})),
        with(plain(), "maintenance", json!([{"schedule": "@daily", "timezone": "UTC", "duration_s": 0}])),
        with(plain(), "maintenance", json!([{"schedule": "@daily", "duration_s": 60}])),
        with(plain_gap(), "gap.instants", 0.into()),
        with(plain_gap(), "gap.reason", "laziness".into()),
        with(plain_gap(), "gap", json!({})),
        json!({"v": 1}),
        json!([]),
    ];
    for value in cases {
        assert!(decode(&value).is_err(), "{value}");
        assert!(!SCHEMA.is_valid(&value), "the schema accepts {value}");
    }
}
