//! Reading what clients make of a value.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::MAX_BODY_BYTES;
use crate::error::DdiError;

/// Reads a body as JSON after its length was looked at.
pub(crate) fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DdiError> {
    if bytes.len() > MAX_BODY_BYTES {
        return Err(DdiError::TooLong {
            length: bytes.len(),
            limit: MAX_BODY_BYTES,
        });
    }
    // An object, not a list of its fields, which serde would take for the same.
    serde_json::from_slice(bytes)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|source| DdiError::Json { what, source })
}

/// A text, number or boolean as text; nothing for the rest.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number, also one written as text.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The first `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
