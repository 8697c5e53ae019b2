//! Judges a JSON body.

use serde_json::Value;

use crate::site::JsonExpectation;
use crate::text::truncated;

/// The most values that a body may hold. One of the smallest takes two bytes in the body and some 40 in memory, an
/// object with one key some 700.
const MAX_VALUES: usize = 250_000;
/// How deep arrays and objects may lie in each other. Each level takes some of the small stack of a check's thread, more
/// than 2 KiB of it if the program is not optimized.
const MAX_DEPTH: usize = 48;
/// How much of what is expected is shown, in bytes.
const MAX_SHOWN: usize = 200;

/// Says what in `body` is not as expected. Shows of the body its numbers, truth values and nulls, and no text.
pub(super) fn faults(expectations: &[JsonExpectation], body: &str, truncated: bool) -> Vec<String> {
    if expectations.is_empty() {
        return Vec::new();
    }
    if truncated {
        return vec!["the body is longer than max_body, so its JSON was not read".to_owned()];
    }
    let document: Value = match within_bounds(body).map(|()| serde_json::from_str(body)) {
        Ok(Ok(document)) => document,
        Ok(Err(error)) => return vec![format!("the body is not JSON: {error}")],
        Err(problem) => return vec![problem],
    };
    expectations.iter().filter_map(|expectation| fault(expectation, &document)).collect()
}

/// Bounds what reading `body` takes, before it is read.
fn within_bounds(body: &str) -> Result<(), String> {
    let (mut values, mut depth) = (1, 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in body.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b',' => values += 1,
            b'[' | b'{' => (values, depth) = (values + 1, depth + 1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if values > MAX_VALUES {
            return Err(format!("the body has more than {MAX_VALUES} JSON values, so it was not read"));
        }
        if depth > MAX_DEPTH {
            return Err(format!("the body's JSON is more than {MAX_DEPTH} levels deep, so it was not read"));
        }
    }
    Ok(())
}

fn fault(expectation: &JsonExpectation, document: &Value) -> Option<String> {
    let path = &expectation.path;
    let nodes = path.nodes(document);
    match (expectation.exists, nodes.len()) {
        (true, 0) => return Some(format!("{path} is missing")),
        (false, 0) => return None,
        (false, _) => return Some(format!("{path} is there: expected that it is not")),
        (true, _) => {}
    }
    let (index, problem) =
        nodes.iter().enumerate().find_map(|(index, node)| Some((index, problem(expectation, node)?)))?;
    let which = if nodes.len() > 1 { format!(" ({} of {})", index + 1, nodes.len()) } else { String::new() };
    Some(format!("{path}{which} {problem}"))
}

/// What is wrong with one value.
fn problem(expectation: &JsonExpectation, node: &Value) -> Option<String> {
    if let Some(wanted) = &expectation.equals
        && !equal(wanted, node)
    {
        let other =
            if wanted.is_string() && node.is_string() { "another text".to_owned() } else { shown(node) };
        return Some(format!("is {other}: expected {}", cut(&wanted.to_string())));
    }
    if let Some(pattern) = &expectation.matches {
        let wanted = cut(&format!("{:?}", pattern.as_str()));
        match node {
            Value::String(text) if pattern.is_match(text) => {}
            Value::String(_) => return Some(format!("does not match {wanted}")),
            _ => return Some(format!("is {}: expected a text that matches {wanted}", shown(node))),
        }
    }
    // A number that is no f64 is beyond each bound that is one. There is none unless serde_json is built so.
    let number = node.as_f64();
    if let Some(min) = expectation.min
        && number.is_none_or(|number| number < min)
    {
        return Some(format!("is {}: expected at least {min}", shown(node)));
    }
    if let Some(max) = expectation.max
        && number.is_none_or(|number| number > max)
    {
        return Some(format!("is {}: expected at most {max}", shown(node)));
    }
    None
}

/// Whether two values are equal as JSON: 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// A value of the body as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn cut(text: &str) -> String {
    let more = if text.len() > MAX_SHOWN { "…" } else { "" };
    format!("{}{more}", truncated(text, MAX_SHOWN))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use regex::Regex;
    use serde_json::json;

    use super::*;

    fn expecting(path: &str) -> JsonExpectation {
        JsonExpectation::new(path.parse().unwrap())
    }

    #[track_caller]
    fn assert_faults(expectation: JsonExpectation, body: &str, expected: &[&str]) {
        assert_eq!(faults(&[expectation], body, false), expected);
    }

    #[test]
    fn a_value_is_compared_as_json() {
        for (expected, same, others) in [
            (json!("ok"), r#""\u006fk""#, [r#""no""#, "[]"]),
            (json!(1), "1.0", ["1.5", "\"1\""]),
            (json!(0.5), "5e-1", ["0", "true"]),
            (json!(9_007_199_254_740_993_u64), "9007199254740993", ["9007199254740992", "null"]),
            (json!(true), "true", ["false", "1"]),
            (json!([1, {"a": 2.0}]), r#"[1.0, {"a": 2}]"#, [r#"[1, {"a": 2}, 3]"#, r#"[1, {"a": 3}]"#]),
            (json!({"a": 1}), r#"{"a": 1}"#, [r#"{"a": 1, "b": 2}"#, r#"{"b": 1}"#]),
        ] {
            let expectation = JsonExpectation { equals: Some(expected.clone()), ..expecting("$.v") };
            let body = |value: &str| format!("{{\"v\": {value}}}");
            assert_faults(expectation.clone(), &body(same), &[]);
            for other in others {
                assert_eq!(
                    faults(std::slice::from_ref(&expectation), &body(other), false).len(),
                    1,
                    "{other}"
                );
            }
        }
    }

    #[test]
    fn what_came_is_said_without_the_texts_of_the_body() {
        let body = r#"{"status": "secret", "queue": 1204, "list": [], "ok": false, "no": null}"#;
        let regex = |pattern: &str| Some(Arc::new(Regex::new(pattern).unwrap()));
        let ok = Some(json!("ok"));
        for (expectation, expected) in [
            (
                JsonExpectation { equals: ok.clone(), ..expecting("$.status") },
                "$.status is another text: expected \"ok\"",
            ),
            (JsonExpectation { equals: ok.clone(), ..expecting("$.ok") }, "$.ok is false: expected \"ok\""),
            (JsonExpectation { equals: ok, ..expecting("$.no") }, "$.no is null: expected \"ok\""),
            (
                JsonExpectation { equals: Some(json!(1)), ..expecting("$.status") },
                "$.status is a text: expected 1",
            ),
            (
                JsonExpectation { matches: regex("^a\"$"), ..expecting("$.status") },
                "$.status does not match \"^a\\\"$\"",
            ),
            (
                JsonExpectation { matches: regex("a"), ..expecting("$.list") },
                "$.list is an array: expected a text that matches \"a\"",
            ),
            (
                JsonExpectation { max: Some(1000.0), ..expecting("$.queue") },
                "$.queue is 1204: expected at most 1000",
            ),
            (
                JsonExpectation { min: Some(1204.5), ..expecting("$.queue") },
                "$.queue is 1204: expected at least 1204.5",
            ),
            (
                JsonExpectation { min: Some(0.0), ..expecting("$.status") },
                "$.status is a text: expected at least 0",
            ),
            (expecting("$.absent"), "$.absent is missing"),
            (
                JsonExpectation { exists: false, ..expecting("$.no") },
                "$.no is there: expected that it is not",
            ),
        ] {
            assert_faults(expectation, body, &[expected]);
        }
        let long = JsonExpectation { equals: Some(json!("x".repeat(4_000))), ..expecting("$.no") };
        assert!(faults(&[long], body, false)[0].len() < 300);
    }

    #[test]
    fn bounds_belong_to_success() {
        let both = JsonExpectation { min: Some(1.0), max: Some(2.0), ..expecting("$[*]") };
        assert_faults(both.clone(), "[1, 1.5, 2.0]", &[]);
        assert_faults(both, "[1, 2, 3, 0]", &["$[*] (3 of 4) is 3: expected at most 2"]);
    }

    #[test]
    fn there_must_be_a_value_and_each_must_be_right() {
        let body = r#"{"checks": [{"status": "ok"}, {"status": "bad"}]}"#;
        let ok = JsonExpectation { equals: Some(json!("ok")), ..expecting("$.checks[*].status") };
        assert_faults(ok, body, &["$.checks[*].status (2 of 2) is another text: expected \"ok\""]);
        let none = JsonExpectation { equals: Some(json!("ok")), ..expecting("$.checks[5].status") };
        assert_faults(none, body, &["$.checks[5].status is missing"]);
        assert_faults(JsonExpectation { exists: false, ..expecting("$.error") }, body, &[]);
        assert_faults(expecting("$.checks[?@.status == 'ok']"), body, &[]);
        assert_eq!(faults(&[expecting("$.a"), expecting("$.b")], body, false).len(), 2);
    }

    #[test]
    fn a_body_that_is_no_json_is_told_so() {
        for (body, expected) in [
            ("", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
            ("<html>", "the body is not JSON: expected value at line 1 column 1"),
            ("{} x", "the body is not JSON: trailing characters at line 1 column 4"),
            ("]]]", "the body is not JSON: expected value at line 1 column 1"),
        ] {
            assert_faults(expecting("$"), body, &[expected]);
        }
        let whole = faults(&[expecting("$")], "{}", true);
        assert_eq!(whole, ["the body is longer than max_body, so its JSON was not read"]);
        assert!(faults(&[], "<html>", true).is_empty());
    }

    #[test]
    fn depth_and_number_of_values_are_met_to_the_value() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_faults(expecting("$"), &deep(MAX_DEPTH), &[]);
        let too_deep = "the body's JSON is more than 48 levels deep, so it was not read";
        assert_faults(expecting("$"), &deep(MAX_DEPTH + 1), &[too_deep]);
        // The array and its zeros.
        let wide = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert_faults(expecting("$"), &wide(MAX_VALUES), &[]);
        let too_many = "the body has more than 250000 JSON values, so it was not read";
        assert_faults(expecting("$"), &wide(MAX_VALUES + 1), &[too_many]);
        // What lies in texts does not count.
        let text = format!("\"\\\"{}\"", "[,".repeat(MAX_VALUES));
        assert_faults(expecting("$"), &text, &[]);
    }
}
