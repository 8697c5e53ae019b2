//! A path into a JSON document.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use crate::text::quoted;

/// The longest path, in characters.
pub const MAX_JSON_PATH: usize = 200;

/// What a path may have, each with its name and how many.
///
/// A path that has no more of them is evaluated in a time that grows with the document's size, and with the path's
/// length. More of them multiply: `$..*..*` looks at each value once for each of the values around it, and each `[*,*]`
/// doubles what is found. The parser, too, takes time that doubles with each filter within another.
const MOST: [(&str, usize); 5] =
    [("\"..\"", 1), ("filters", 4), ("commas", 3), ("parentheses", 16), ("\"$\"", 1)];

/// A path into a JSON document as RFC 9535 defines it, such as `$.checks[*].status`. It has at most 200 characters, one
/// `..`, four filters and three commas, and a filter does not refer to the document's root (`$`). The functions are
/// `length`, `count` and `value`.
///
/// ```
/// use webmon::site::JsonPath;
///
/// let path: JsonPath = "$.checks[?@.critical == true].status".parse()?;
/// assert_eq!(path.to_string(), "$.checks[?@.critical == true].status");
/// assert!("$.checks[".parse::<JsonPath>().is_err());
/// # Ok::<(), webmon::site::JsonPathError>(())
/// ```
#[derive(Clone)]
pub struct JsonPath {
    text: Arc<str>,
    query: Arc<serde_json_path::JsonPath>,
}

impl JsonPath {
    /// The nodes of `document` at the path, in the order of the document.
    #[cfg_attr(not(feature = "check"), expect(dead_code, reason = "only a check evaluates paths"))]
    pub(crate) fn nodes<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        self.query.query(document).all()
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    /// # Errors
    /// Whatever is not such a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > MAX_JSON_PATH {
            return Err(JsonPathError::TooLong);
        }
        for ((what, most), count) in MOST.into_iter().zip(counts(text)) {
            if count > most {
                return Err(JsonPathError::TooMany { text: text.to_owned(), count, what, most });
            }
        }
        match serde_json_path::JsonPath::parse(text) {
            Ok(query) => Ok(JsonPath { text: text.into(), query: Arc::new(query) }),
            Err(error) => {
                let rest = text.get(error.position()..).unwrap_or_default();
                let at = if rest.is_empty() { "it breaks off".to_owned() } else { format!("at {rest:?}") };
                // The parser's own words, if it has any, without the name of its part that says them.
                let message = error.message();
                let reason = match message.strip_prefix("in ").and_then(|message| message.split_once(", ")) {
                    Some((_, reason)) => reason,
                    None => message,
                };
                let reason = if reason == "parser error" { String::new() } else { format!(": {reason}") };
                Err(JsonPathError::Malformed { text: text.to_owned(), at, reason })
            }
        }
    }
}

/// How often `text` has each of [`MOST`], outside the texts in it.
fn counts(text: &str) -> [usize; MOST.len()] {
    let (mut counts, mut quote, mut before) = ([0; MOST.len()], None, ' ');
    for character in text.chars() {
        match (quote, character) {
            // What follows a backslash in a text does not end the text.
            (Some(_), _) if before == '\\' => {
                before = ' ';
                continue;
            }
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '.') if before == '.' => counts[0] += 1,
            (None, '?') => counts[1] += 1,
            (None, ',') => counts[2] += 1,
            (None, '(') => counts[3] += 1,
            (None, '$') => counts[4] += 1,
            (None, _) => {}
        }
        before = character;
    }
    counts
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonPath({})", self.text)
    }
}

/// A text that is not a [`JsonPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonPathError {
    /// It is too long.
    #[error("is longer than {MAX_JSON_PATH} characters")]
    TooLong,
    /// It could take too long to evaluate.
    #[error("{} has {count} {what}: expected at most {most}", quoted(.text))]
    TooMany {
        /// The path.
        text: String,
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// It is not a path of RFC 9535.
    #[error("{} is not a JSON path: {at}{reason}", quoted(.text))]
    Malformed {
        /// The path.
        text: String,
        /// Where it is wrong.
        at: String,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<JsonPath, String> {
        text.parse::<JsonPath>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_finds_its_nodes_in_their_order() {
        let document = json!({"a": [{"b": 1}, {"b": 2, "c": null}, {"d": {"b": 3}}]});
        for (path, nodes) in [
            ("$", json!([document])),
            ("$.a[1].b", json!([2])),
            ("$['a'][-1]", json!([{"d": {"b": 3}}])),
            ("$.a[*].b", json!([1, 2])),
            ("$..b", json!([1, 2, 3])),
            ("$.a[?@.b > 1].b", json!([2])),
            ("$.a[?@.c == null].b", json!([2])),
            ("$.a[0:2:2].b", json!([1])),
            ("$.a[?length(@) == 2].b", json!([2])),
            ("$.b", json!([])),
        ] {
            assert_eq!(json!(parse(path).unwrap().nodes(&document)), nodes, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_wrong_is_told_where() {
        for (path, expected) in [
            ("", r#""" is not a JSON path: it breaks off"#),
            ("status", r#""status" is not a JSON path: at "status""#),
            ("$.a b", r#""$.a b" is not a JSON path: at " b""#),
            ("$.a[?@.b =]", r#""$.a[?@.b =]" is not a JSON path: at "=]": expected closing ']'"#),
            ("$['a", r#""$['a" is not a JSON path: it breaks off: expected an ending quote"#),
            (
                "$[?match(@.a, 'b')]",
                r#""$[?match(@.a, 'b')]" is not a JSON path: at "match(@.a, 'b')]": function name 'match' is not defined"#,
            ),
        ] {
            assert_eq!(parse(path).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_path_that_could_take_long_is_refused() {
        for (path, expected) in [
            ("$..a..b", "has 2 \"..\": expected at most 1"),
            ("$[?@..a].b..c", "has 2 \"..\": expected at most 1"),
            ("$[?$.a]", "has 2 \"$\": expected at most 1"),
            ("$[*,*][*,*][*,*][*,*]", "has 4 commas: expected at most 3"),
            ("$[?@[?@[?@[?@[?@.a]]]]]", "has 5 filters: expected at most 4"),
        ] {
            let error = parse(path).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
        assert_eq!(parse(&format!("$.{}", "a".repeat(199))).unwrap_err(), "is longer than 200 characters");
        let deep = format!("$[?{}@.a{}]", "(".repeat(17), ")".repeat(17));
        assert!(parse(&deep).unwrap_err().ends_with("has 17 parentheses: expected at most 16"));
    }

    #[test]
    fn what_a_text_of_the_path_holds_does_not_count() {
        parse(r#"$['..', "$,(?..", '\'..$']"#).unwrap();
        assert_eq!(counts(r"$['\\']..a..b")[0], 2);
    }
}
