//! A Kafka value: one record, as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::DecodeError;
use super::gap::GapRecord;
use super::result::CheckResult;
use super::version::VERSION;
use crate::limits::{MAX_MESSAGE, MAX_RECORD};
use crate::text::truncated;

/// One Kafka record: a result, or a gap.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Record {
    /// A [`CheckResult`].
    #[schemars(description = "What one scheduled instant came to.")]
    Result(Box<CheckResult>),
    /// A [`GapRecord`].
    #[schemars(description = "A stretch of instants without results.")]
    Gap(GapRecord),
}

impl From<CheckResult> for Record {
    fn from(result: CheckResult) -> Record {
        Record::Result(Box::new(result))
    }
}

impl From<GapRecord> for Record {
    fn from(gap: GapRecord) -> Record {
        Record::Gap(gap)
    }
}

impl Record {
    /// The Kafka key: the site's key, so that a site's records stay in one partition.
    pub fn key(&self) -> &str {
        match self {
            Record::Result(result) => &result.site,
            Record::Gap(gap) => &gap.site,
        }
    }

    /// The Kafka value: one JSON object on one line.
    pub fn encode(&self) -> Vec<u8> {
        // These are only maps with text keys, numbers and texts, on which serde_json cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a Kafka value and checks every range and relation. This takes about a microsecond.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; the caller keeps the raw value.
    pub fn decode(value: &[u8]) -> Result<Record, DecodeError> {
        if value.is_empty() {
            return Err(DecodeError::Empty);
        }
        if value.len() > MAX_RECORD {
            return Err(DecodeError::TooLarge(value.len()));
        }
        // Nearly all records are results, so that is tried first.
        let record = match serde_json::from_slice::<CheckResult>(value) {
            Ok(result) => Record::Result(Box::new(result)),
            Err(error) => decode_other(value, &error)?,
        };
        record.validate()?;
        Ok(record)
    }

    /// Checks every range and relation between fields.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for the first field at fault.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Record::Result(result) => result.validate(),
            Record::Gap(gap) => gap.validate(),
        }
    }

    /// The JSON Schema of a record's value, as in `docs/record.schema.json`.
    pub fn json_schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Record);
        schema.insert("title".into(), "webmon record, version 1".into());
        schema.to_value()
    }
}

/// Decodes a value that is not a result: a gap, a record of another version, or something unknown.
fn decode_other(value: &[u8], error: &serde_json::Error) -> Result<Record, DecodeError> {
    #[derive(Deserialize)]
    struct Head {
        v: Option<serde_json::Value>,
        gap: Option<serde::de::IgnoredAny>,
    }
    let Ok(head) = serde_json::from_slice::<Head>(value) else {
        return Err(DecodeError::Malformed(brief(error)));
    };
    let Some(v) = head.v else {
        return Err(DecodeError::Malformed("no version field \"v\"".to_owned()));
    };
    match v.as_u64() {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) => return Err(DecodeError::UnknownVersion(v)),
        None => {
            return Err(DecodeError::Malformed("the version field \"v\" is not a whole number".to_owned()));
        }
    }
    if head.gap.is_none() {
        return Err(DecodeError::Malformed(brief(error)));
    }
    serde_json::from_slice::<GapRecord>(value)
        .map(Record::Gap)
        .map_err(|error| DecodeError::Malformed(brief(&error)))
}

fn brief(error: &serde_json::Error) -> String {
    truncated(&error.to_string(), MAX_MESSAGE)
}
