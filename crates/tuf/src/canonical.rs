//! The byte form that signatures cover: OLPC canonical JSON, as securesystemslib writes it.

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value};

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CanonicalError {
    /// The format has whole numbers only; a fraction has no single spelling.
    #[error("the signed part holds the number {0}; only whole numbers can be signed")]
    NotWhole(String),
}

/// Writes `value` in canonical form: object keys sorted by code point, no white space, strings
/// as they are with only `"` and `\` escaped, whole numbers in decimal.
pub(crate) fn to_canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut text = String::new();
    write_value(value, &mut text)?;
    Ok(text.into_bytes())
}

/// Recursion is bounded by the parser, which refuses documents deeper than 128 levels.
fn write_value(value: &Value, out: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            out.push_str(&alloc::format!("{number}"));
        }
        Value::Number(number) => {
            return Err(CanonicalError::NotWhole(alloc::format!("{number}")));
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, out: &mut String) -> Result<(), CanonicalError> {
    // Sorted here, although the map sorts by itself today: another crate in the same build can
    // switch the map to insertion order. UTF-8 bytes sort as code points do.
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (position, (key, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_the_form_that_signers_sign() {
        for (value, expected) in [
            (
                json!({"b": 1, "a": [true, false, null]}),
                r#"{"a":[true,false,null],"b":1}"#,
            ),
            (
                json!({"é": "ü\n\t\u{0}", "z": "\"\\"}),
                "{\"z\":\"\\\"\\\\\",\"é\":\"ü\n\t\u{0}\"}",
            ),
            (
                json!({"\u{ffff}": 1, "\u{10000}": 2}),
                "{\"\u{ffff}\":1,\"\u{10000}\":2}",
            ),
            (
                json!([-1, u64::MAX, i64::MIN]),
                "[-1,18446744073709551615,-9223372036854775808]",
            ),
            (json!({}), "{}"),
            (json!([[], ""]), r#"[[],""]"#),
        ] {
            let bytes = to_canonical(&value).unwrap();
            assert_eq!(core::str::from_utf8(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_fractions() {
        for value in [json!(1.0), json!({"a": [0.5]}), json!(1e30)] {
            assert!(
                matches!(to_canonical(&value), Err(CanonicalError::NotWhole(_))),
                "{value}"
            );
        }
    }
}
