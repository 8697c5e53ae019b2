//! What a value of a JSON body must be like.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::json_path::JsonPath;

/// What the values at a path of a JSON body must be like. There must be at least one, and each must meet all that is set
/// here.
#[derive(Clone)]
pub struct JsonExpectation {
    /// The path.
    pub path: JsonPath,
    /// Whether there must be a value. If `false` there must be none, and nothing else may be set.
    pub exists: bool,
    /// What the value must be equal to. Numbers are compared as such: 1 and 1.0 are equal.
    pub equals: Option<Value>,
    /// A pattern that the value must match. It must be a text.
    pub matches: Option<Arc<Regex>>,
    /// The smallest number that the value may be.
    pub min: Option<f64>,
    /// The largest number that the value may be.
    pub max: Option<f64>,
}

impl JsonExpectation {
    /// Expects that there is a value at `path`.
    pub fn new(path: JsonPath) -> JsonExpectation {
        JsonExpectation { path, exists: true, equals: None, matches: None, min: None, max: None }
    }
}

impl fmt::Debug for JsonExpectation {
    /// Shows the path only: what is expected may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonExpectation").field(&self.path).finish()
    }
}
