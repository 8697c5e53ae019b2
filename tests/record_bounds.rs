//! The bounds of a record's fields. The record's type states them for the schema, and its validation once more: here the
//! published schema is held against what decoding does.

use std::path::Path;

use regex::Regex;
use serde_json::{Value, json};
use webmon::record::{DecodeError, Record};

/// A value with one field at a bound, and the same with that field one beyond.
struct Bound {
    path: String,
    within: Value,
    beyond: Value,
}

/// The published schema.
struct Schema(Value);

impl Schema {
    fn read() -> Schema {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/record.schema.json");
        Schema(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// What `schema` refers to, null apart.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.resolved(self.0.pointer(reference.trim_start_matches('#')).unwrap());
        }
        let Some(kinds) = schema["anyOf"].as_array() else { return schema };
        let kinds: Vec<&Value> = kinds.iter().filter(|kind| kind["type"] != "null").collect();
        assert_eq!(kinds.len(), 1, "this test knows one kind beside null: {schema}");
        self.resolved(kinds[0])
    }

    /// Every bound in `schema`, which is that of `base`, a valid value.
    fn bounds(&self, path: &str, schema: &Value, base: &Value) -> Vec<Bound> {
        let schema = self.resolved(schema);
        let mut found = Vec::new();
        for (keyword, limit) in schema.as_object().unwrap() {
            let number = limit.as_i64().unwrap_or_default();
            let length = usize::try_from(number).unwrap_or_default();
            let mut at = |within: Value, beyond: Value| {
                found.push(Bound { path: path.to_owned(), within, beyond });
            };
            match keyword.as_str() {
                "maximum" => at(json!(number), json!(number + 1)),
                "minimum" => at(json!(number), json!(number - 1)),
                "maxLength" => at(text(length), text(length + 1)),
                "minLength" => at(text(length), text(length - 1)),
                "maxItems" => at(self.list(schema, base, length), self.list(schema, base, length + 1)),
                "maxProperties" => at(self.map(schema, length), self.map(schema, length + 1)),
                "pattern" => {
                    let (min, max) = lengths(limit);
                    at(text(min), text(min - 1));
                    at(text(max), text(max + 1));
                }
                "properties" => {
                    for (name, field) in limit.as_object().unwrap() {
                        let path = format!("{path}.{name}");
                        let least = self.least(field);
                        let value = if base[name].is_null() { &least } else { &base[name] };
                        found.extend(around(self.bounds(&path, field, value), |inner| {
                            let mut whole = base.clone();
                            whole[name] = inner;
                            whole
                        }));
                    }
                }
                "propertyNames" => {
                    let value = self.least(&schema["additionalProperties"]);
                    found.extend(around(
                        self.bounds(path, limit, &text(1)),
                        |name| json!({ name.as_str().unwrap(): value }),
                    ));
                }
                "additionalProperties" => {
                    let inner = self.bounds(path, limit, &self.least(limit));
                    found.extend(around(inner, |value| json!({ "key": value })));
                }
                // Pairs of texts, whose bounds the schema does not state: see `a_sample_is_bounded`.
                "items" if limit["prefixItems"].is_array() => {}
                "items" => {
                    let inner = self.bounds(path, limit, &self.item(schema, base));
                    found.extend(around(inner, |item| json!([item])));
                }
                "const" | "default" | "description" | "format" | "oneOf" | "required" | "type"
                | "uniqueItems" => {}
                keyword => panic!("{path}: this test does not know what {keyword} bounds"),
            }
        }
        let bounding: &[&str] = match kind(schema) {
            "integer" => &["const", "maximum"],
            "string" => &["format", "maxLength", "oneOf", "pattern"],
            "array" => &["maxItems"],
            "object" => &["maxProperties", "properties"],
            "boolean" => &["type"],
            kind => panic!("{path}: this test does not know what bounds a {kind}"),
        };
        assert!(bounding.iter().any(|keyword| !schema[keyword].is_null()), "{path} has no bound: {schema}");
        found
    }

    /// A value that meets `schema`.
    fn least(&self, schema: &Value) -> Value {
        let schema = self.resolved(schema);
        match kind(schema) {
            "string" if schema["oneOf"].is_array() => schema["oneOf"][0]["const"].clone(),
            "string" if schema["pattern"].is_string() => text(lengths(&schema["pattern"]).0),
            "string" => text(1),
            "integer" => schema["minimum"].clone(),
            "boolean" => json!(false),
            "array" => list_of(&schema["prefixItems"]).map(|item| self.least(item)).collect(),
            _ => list_of(&schema["required"])
                .map(|name| name.as_str().unwrap())
                .map(|name| (name, self.least(&schema["properties"][name])))
                .collect(),
        }
    }

    /// An item of a list: that of `base`, if it has one.
    fn item(&self, schema: &Value, base: &Value) -> Value {
        list_of(base).next().cloned().unwrap_or_else(|| self.least(&schema["items"]))
    }

    /// A list of that many items: different ones, as far as there are enough words.
    fn list(&self, schema: &Value, base: &Value, length: usize) -> Value {
        let words = list_of(&self.resolved(&schema["items"])["oneOf"]);
        let words: Vec<Value> = words.map(|word| word["const"].clone()).collect();
        let items = if words.is_empty() { vec![self.item(schema, base)] } else { words };
        items.iter().cycle().take(length).cloned().collect()
    }

    fn map(&self, schema: &Value, length: usize) -> Value {
        let value = self.least(&schema["additionalProperties"]);
        (0..length).map(|i| (i.to_string(), value.clone())).collect()
    }
}

/// The same bounds, of the value that `make` puts around.
fn around(bounds: Vec<Bound>, make: impl Fn(Value) -> Value) -> impl Iterator<Item = Bound> {
    bounds.into_iter().map(move |Bound { path, within, beyond }| Bound {
        path,
        within: make(within),
        beyond: make(beyond),
    })
}

/// The type of a schema's values, null apart; where none is written, they are words or names.
fn kind(schema: &Value) -> &str {
    let mut kinds = list_of(&schema["type"]).filter(|kind| *kind != "null");
    kinds.next().unwrap_or(&schema["type"]).as_str().unwrap_or("string")
}

fn list_of(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(length: usize) -> Value {
    "a".repeat(length).into()
}

/// The lengths that a pattern such as `^[!-~]{1,16}$` or `^[0-9a-f]{64}$` allows.
fn lengths(pattern: &Value) -> (usize, usize) {
    let pattern = pattern.as_str().unwrap();
    let form = Regex::new(r"^\^\[[^\]]+\]\{([1-9]\d*)(?:,(\d+))?\}\$$").unwrap();
    let found =
        form.captures(pattern).unwrap_or_else(|| panic!("this test does not know what {pattern} bounds"));
    let max = found.get(2).map_or(&found[1], |max| max.as_str());
    (found[1].parse().unwrap(), max.parse().unwrap())
}

#[test]
fn each_field_is_accepted_at_its_bound_in_the_schema_and_refused_one_beyond() {
    let result = json!({
        "v": 1, "site": "shop", "name": "Shop", "location": "berlin-1", "checker": "host-a",
        "url": "https://shop.example/", "method": "GET", "scheduled_at": "2026-03-01T12:00:00Z",
        "outcome": "failure", "error_type": "timeout", "slo_uptime_ppm": 999_000, "slo_window_days": 30,
        "tries": [{"outcome": "failure", "error_type": "timeout"}]
    });
    // Its stretch has no end, so its instants are bounded by the schema alone.
    let gap = json!({
        "v": 1, "site": "shop", "location": "berlin-1", "checker": "host-a",
        "gap": {"from": "2026-03-01T12:00:00Z", "instants": 60, "reason": "outbox_full"}
    });
    let schema = Schema::read();
    for (definition, record, known) in [
        ("CheckResult", result, &["dns_us", "failed_expectations", "labels", "method", "sample.body"][..]),
        ("GapRecord", gap, &["gap.instants", "site"]),
    ] {
        let bounds = schema.bounds("", &schema.0["$defs"][definition], &record);
        let has = |path: &str| bounds.iter().any(|bound| bound.path[1..] == *path);
        assert!(known.iter().all(|path| has(path)), "the test is blind");
        for Bound { path, within, beyond } in &bounds {
            let path = &path[1..];
            if let Err(error) = Record::decode(within.to_string().as_bytes()) {
                panic!("{path} is refused at its bound: {error}: {within}");
            }
            match Record::decode(beyond.to_string().as_bytes()) {
                Err(DecodeError::Invalid { field, .. }) => {
                    assert!(path.starts_with(field), "{path}: {field}");
                }
                // A type without a sign.
                Err(DecodeError::Malformed(error)) => assert!(error.contains("`-1`"), "{path}: {error}"),
                other => panic!("{path} is not refused beyond its bound: {other:?}: {beyond}"),
            }
        }
    }
}
