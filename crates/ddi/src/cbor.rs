//! The same documents in CBOR (RFC 8949), which hawkBit speaks beside JSON.

use serde_json::Value;

use crate::MAX_BODY_BYTES;
use crate::error::DdiError;

/// Maps and lists in one another; DDI's own documents have six.
const MAX_DEPTH: usize = 16;

/// Says a body in JSON.
///
/// # Errors
/// It is too long, no CBOR, nested too deeply, or holds what JSON cannot say.
pub fn from_cbor(bytes: &[u8]) -> Result<Vec<u8>, DdiError> {
    if bytes.len() > MAX_BODY_BYTES {
        return Err(DdiError::TooLong {
            length: bytes.len(),
            limit: MAX_BODY_BYTES,
        });
    }
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|why| cbor(&why))?;
    if !rest.is_empty() {
        return Err(cbor(&format!("{} bytes follow the document", rest.len())));
    }
    serde_json::to_vec(&value).map_err(|why| cbor(&why))
}

/// Says a document in CBOR that is in JSON.
///
/// # Errors
/// It is no JSON.
pub fn to_cbor(json: &[u8]) -> Result<Vec<u8>, DdiError> {
    let value: Value = serde_json::from_slice(json).map_err(|why| cbor(&why))?;
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).map_err(|why| cbor(&why))?;
    Ok(bytes)
}

fn cbor(why: &dyn std::fmt::Display) -> DdiError {
    DdiError::Cbor {
        detail: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_is_refused_and_costs_nothing() {
        let fine = [0xa1, 0x61, b'a', 0x18, 0x2a];
        assert_eq!(from_cbor(&fine).unwrap(), br#"{"a":42}"#);
        assert_eq!(to_cbor(br#"{"a":42}"#).unwrap(), fine);
        // Lists in lists; a length near 2^64; a text that is none; a name that is no text; something after it.
        let deep = [0x81; 10_000];
        let long = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
        let long_text = [0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
        let cases: [&[u8]; 7] = [
            &[],
            &deep,
            &long,
            &long_text,
            &[0x62, 0xff, 0xff],
            &[0xa1, 0x01, 0x02],
            &[0x00, 0x00],
        ];
        for case in cases {
            assert!(from_cbor(case).is_err(), "{case:02x?}");
        }
    }
}
