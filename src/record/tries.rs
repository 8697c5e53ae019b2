//! A try that was not the last one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{ErrorType, Outcome};
use crate::limits::MAX_TEXT;

/// A try that failed and was followed by another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    /// How it ended.
    pub outcome: Outcome,
    /// The class of what went wrong.
    pub error_type: ErrorType,
    /// The reason within the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT))]
    pub error_detail: Option<String>,
    /// Microseconds of the whole try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub total_us: Option<u32>,
}
