//! Attributes: what a device says of itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::DdiError;
use crate::lenient;

/// Most attributes of one device.
pub const MAX_ATTRIBUTES: usize = 100;
/// Most characters of an attribute's name.
pub const MAX_KEY_CHARS: usize = 128;
/// Most characters of an attribute's value.
pub const MAX_VALUE_CHARS: usize = 1024;
/// Prefix of the attributes in which a device that is kept from an update answers the five questions.
pub const ATTRIBUTE_ANSWER: &str = "switchback.answer.";
/// Attribute with the SHA-256 of the image that runs, 64 hexadecimal digits.
pub const ATTRIBUTE_IMAGE: &str = "switchback.image_sha256";
/// Attribute with the slot that runs, `a` or `b`.
pub const ATTRIBUTE_SLOT: &str = "switchback.slot";
/// Attribute with the version that runs.
pub const ATTRIBUTE_VERSION: &str = "switchback.version";

/// What to do with the attributes that the device has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The new ones come to them, or in their place.
    Merge,
    /// Only the new ones stay.
    Replace,
    /// Those that are named go.
    Remove,
}

/// The body of `configData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigData {
    /// What to do; merge, when absent or unknown.
    pub mode: Mode,
    /// Names and values. Numbers and booleans are taken as texts, the rest is left out.
    pub data: BTreeMap<String, String>,
}

impl ConfigData {
    /// Reads attributes.
    ///
    /// # Errors
    /// The body is too long, no JSON object, or past one of the limits.
    pub fn parse(bytes: &[u8]) -> Result<Self, DdiError> {
        #[derive(serde::Deserialize)]
        struct Wire {
            #[serde(default)]
            mode: Value,
            #[serde(default)]
            data: Option<Map<String, Value>>,
        }
        let wire: Wire = lenient::read("configData", bytes)?;
        let mode = lenient::text(&wire.mode).unwrap_or_default();
        let mode = match mode.to_ascii_lowercase().as_str() {
            "replace" => Mode::Replace,
            "remove" => Mode::Remove,
            _ => Mode::Merge,
        };
        let data = wire.data.unwrap_or_default();
        if data.len() > MAX_ATTRIBUTES {
            return Err(DdiError::TooManyAttributes {
                count: data.len(),
                limit: MAX_ATTRIBUTES,
            });
        }
        let mut kept = BTreeMap::new();
        for (name, value) in data {
            let value = match (&value, mode) {
                (Value::Null, Mode::Remove) => String::new(),
                _ => match lenient::text(&value) {
                    Some(value) => value,
                    None => continue,
                },
            };
            check_length(&name, &name, MAX_KEY_CHARS)?;
            check_length(&name, &value, MAX_VALUE_CHARS)?;
            kept.insert(name, value);
        }
        Ok(Self { mode, data: kept })
    }

    /// As a client sends it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mode = match self.mode {
            Mode::Merge => "merge",
            Mode::Replace => "replace",
            Mode::Remove => "remove",
        };
        serde_json::json!({ "mode": mode, "data": self.data }).to_string()
    }

    /// Changes the attributes that a device has.
    ///
    /// # Errors
    /// There would be more than [`MAX_ATTRIBUTES`]; nothing is changed then.
    pub fn apply(&self, attributes: &mut BTreeMap<String, String>) -> Result<(), DdiError> {
        let mut next = match self.mode {
            Mode::Replace => BTreeMap::new(),
            Mode::Merge | Mode::Remove => attributes.clone(),
        };
        for (name, value) in &self.data {
            if self.mode == Mode::Remove {
                next.remove(name);
            } else {
                next.insert(name.clone(), value.clone());
            }
        }
        if next.len() > MAX_ATTRIBUTES {
            return Err(DdiError::TooManyAttributes {
                count: next.len(),
                limit: MAX_ATTRIBUTES,
            });
        }
        *attributes = next;
        Ok(())
    }
}

fn check_length(name: &str, text: &str, limit: usize) -> Result<(), DdiError> {
    let length = text.chars().count();
    if length > limit {
        return Err(DdiError::AttributeTooLong {
            name: lenient::cut(name, 64),
            length,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigData, DdiError> {
        ConfigData::parse(text.as_bytes())
    }

    #[test]
    fn modes_and_values_of_all_clients() {
        let rauc = r#"{"time":"20261124T234806","status":{"execution":"closed","result":
            {"finished":"success"}},"data":{"product":"gw","hwRevision":2,"odd":[1],"none":null}}"#;
        let rauc = parse(rauc).unwrap();
        assert_eq!(rauc.mode, Mode::Merge);
        assert_eq!(rauc.data.get("hwRevision").unwrap(), "2");
        assert_eq!(rauc.data.len(), 2);
        assert_eq!(
            parse(r#"{"mode":null,"data":{}}"#).unwrap().mode,
            Mode::Merge
        );
        assert_eq!(parse(r#"{"mode":"REPLACE"}"#).unwrap().mode, Mode::Replace);
    }

    #[test]
    fn applies_or_changes_nothing() {
        let mut attributes = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let merge = parse(r#"{"data":{"b":true}}"#).unwrap();
        merge.apply(&mut attributes).unwrap();
        assert_eq!(attributes.len(), 2);
        let remove = parse(r#"{"mode":"remove","data":{"a":null}}"#).unwrap();
        remove.apply(&mut attributes).unwrap();
        assert_eq!(attributes.keys().collect::<Vec<_>>(), ["b"]);
        let many: Map<String, Value> = (0..100).map(|n| (format!("n{n}"), n.into())).collect();
        let many = parse(&serde_json::json!({ "data": many }).to_string()).unwrap();
        assert!(many.apply(&mut attributes).is_err());
        assert_eq!(attributes.len(), 1);
    }

    #[test]
    fn limits() {
        let replace = ConfigData {
            mode: Mode::Replace,
            data: BTreeMap::from([("a".to_owned(), "1 \"2\"".to_owned())]),
        };
        assert_eq!(parse(&replace.to_json()).unwrap(), replace);
        let long = format!(r#"{{"data":{{"k":"{}"}}}}"#, "v".repeat(1025));
        let error = parse(&long).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attribute \"k\": 1025 characters, at most 1024 are allowed"
        );
    }
}
