//! The version of the record.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the record that this library writes and reads.
pub const VERSION: u32 = 1;

/// The record's version field. It always holds [`VERSION`], because a record of another version does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordVersion;

impl Serialize for RecordVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for RecordVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(RecordVersion),
            other => Err(serde::de::Error::custom(format_args!("unknown version {other}"))),
        }
    }
}

impl JsonSchema for RecordVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RecordVersion".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "const": VERSION })
    }
}
