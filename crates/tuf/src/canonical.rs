//! The byte form that signatures cover: OLPC canonical JSON, as securesystemslib writes it.
//!
//! Object keys are sorted by code point, there is no white space, strings stand as they are with
//! only `"` and `\` escaped, numbers are whole and decimal.
//!
//! The form is written while the document is read, into one buffer of at most the document's
//! size: a server that nobody has vouched for yet must not be able to make a device build a tree
//! of many times the bytes that it sends.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value in canonical form.
///
/// Reading one fails for fractions, which have no single spelling, and for an object with a key
/// given twice: parsers disagree on which of the two counts, so that a signer's tools could have
/// read it in another way than this device. The parser refuses nesting beyond 128 levels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Canonical(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Canonical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut out = Vec::new();
        Writer(&mut out).deserialize(deserializer)?;
        Ok(Self(out))
    }
}

/// Appends the value that it visits.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn token(self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.token("null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.token(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.token(&value.to_string());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.token(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Err(E::custom(format_args!(
            "the number {value} stands where only whole 64-bit numbers can be signed"
        )))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.push(b'"');
        for byte in value.bytes() {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(byte);
        }
        self.0.push(b'"');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let open = self.0.len();
        self.0.push(b'[');
        while access.next_element_seed(Writer(self.0))?.is_some() {
            self.0.push(b',');
        }
        close(self.0, open, b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let out = self.0;
        let open = out.len();
        let mut members = Vec::new();
        out.push(b'{');
        loop {
            let start = out.len();
            if access.next_key_seed(Writer(out))?.is_none() {
                break;
            }
            let key_end = out.len();
            out.push(b':');
            access.next_value_seed(Writer(out))?;
            members.push(Member {
                start,
                key_end,
                end: out.len(),
            });
            out.push(b',');
        }
        sort_members(out, open, &mut members).map_err(A::Error::custom)?;
        close(out, open, b'}');
        Ok(())
    }
}

/// Puts the closing bracket: in place of the last comma, if something follows the opening one.
fn close(out: &mut Vec<u8>, open: usize, bracket: u8) {
    if out.len() > open.saturating_add(1) {
        out.pop();
    }
    out.push(bracket);
}

/// Where one member of an object stands in the buffer.
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Member {
    fn key<'a>(&self, out: &'a [u8]) -> impl Iterator<Item = u8> + use<'a> {
        unescaped(out.get(self.start..self.key_end).unwrap_or_default())
    }
}

/// The bytes of a written string without its quotes and escapes. UTF-8 bytes compare as the code
/// points do.
fn unescaped(written: &[u8]) -> impl Iterator<Item = u8> {
    let inner = written
        .get(1..written.len().saturating_sub(1))
        .unwrap_or_default();
    let mut bytes = inner.iter().copied();
    core::iter::from_fn(move || match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    })
}

/// Brings the members written after `open`, each with a comma behind it, into order; says what
/// is wrong when a key is given twice.
fn sort_members(
    out: &mut Vec<u8>,
    open: usize,
    members: &mut [Member],
) -> Result<(), alloc::string::String> {
    let in_order = members.is_sorted_by(|first, second| first.key(out).lt(second.key(out)));
    if in_order {
        return Ok(());
    }
    members.sort_unstable_by(|first, second| first.key(out).cmp(second.key(out)));
    for pair in members.windows(2) {
        if let [first, second] = pair
            && first.key(out).eq(second.key(out))
        {
            let key: Vec<u8> = first.key(out).collect();
            let key = alloc::string::String::from_utf8_lossy(&key);
            return Err(alloc::format!("the key {key:?} is given twice"));
        }
    }
    let mut sorted = Vec::with_capacity(out.len().saturating_sub(open));
    sorted.push(b'{');
    for member in members {
        sorted.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
        sorted.push(b',');
    }
    out.truncate(open);
    out.append(&mut sorted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<alloc::string::String, alloc::string::String> {
        serde_json::from_str::<Canonical>(text)
            .map(|canonical| alloc::string::String::from_utf8(canonical.0).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn writes_the_form_that_signers_sign() {
        for (text, expected) in [
            (
                r#" { "b" : 1 , "a" : [ true , false , null ] } "#,
                r#"{"a":[true,false,null],"b":1}"#,
            ),
            (
                r#"{"\u00e9":"ü\n\t\u0000","z":"\"\\\/"}"#,
                "{\"z\":\"\\\"\\\\/\",\"é\":\"ü\n\t\u{0}\"}",
            ),
            // By code point, not by UTF-16 unit; an escaped key by what it says.
            (
                r#"{"\ud800\udc00":2,"\uffff":1}"#,
                "{\"\u{ffff}\":1,\"\u{10000}\":2}",
            ),
            (
                r#"{"a":1,"\"":2,"\\":3,"Z":4}"#,
                r#"{"\"":2,"Z":4,"\\":3,"a":1}"#,
            ),
            (r#"{"ab":1,"a":2,"":3}"#, r#"{"":3,"a":2,"ab":1}"#),
            (
                r#"[-1,18446744073709551615,-9223372036854775808]"#,
                "[-1,18446744073709551615,-9223372036854775808]",
            ),
            ("{}", "{}"),
            (r#"[[],"",{},[{}]]"#, r#"[[],"",{},[{}]]"#),
            (
                r#"{"b":{"d":[{"f":1,"e":2}],"c":{}},"a":{}}"#,
                r#"{"a":{},"b":{"c":{},"d":[{"e":2,"f":1}]}}"#,
            ),
            ("0", "0"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn refuses_numbers_that_are_not_whole() {
        for text in ["1.0", r#"{"a":[0.5]}"#, "1e3", "18446744073709551616", "-0"] {
            let message = canonical(text).unwrap_err();
            assert!(message.contains("whole"), "{text}: {message}");
        }
    }

    #[test]
    fn refuses_a_key_given_twice_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":1,"a":1,"c":1,"a":2}"#,
        ] {
            let message = canonical(text).unwrap_err();
            assert!(message.contains("\"a\" is given twice"), "{message}");
        }
    }

    #[test]
    fn refuses_nesting_that_would_exhaust_the_stack() {
        let text = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(canonical(&text).is_err());
    }
}
