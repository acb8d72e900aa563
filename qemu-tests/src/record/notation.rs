//! Bytes of an environment as a person can read them.
//!
//! A U-Boot copy with a sound checksum is `{"flags": 1, "strings": ["a=b"], "fill": "00", "size":
//! 16384}`. Anything else is `{"text": "…"}`, or `{"hex": "…"}` where it is no text, and likewise
//! the byte that fills it up to its size. `crates/testkit/tests/recorded.rs` reads it back.

use serde_json::{Value, json};

use super::cases::uboot_copy;

/// `bytes` in words; `redundant` if they may be a copy of U-Boot's redundant environment.
pub(super) fn of(bytes: &[u8], redundant: bool) -> Value {
    if let Some(copy) = redundant.then(|| sound_copy(bytes)).flatten() {
        return copy;
    }
    let fill = bytes.last().copied().unwrap_or(0);
    let length = bytes.iter().rposition(|byte| *byte != fill);
    let content = bytes
        .get(..length.map_or(0, |last| last + 1))
        .unwrap_or_default();
    let (fill, size) = (hex::encode([fill]), bytes.len());
    match std::str::from_utf8(content) {
        Ok(text) => json!({"text": text, "fill": fill, "size": size}),
        Err(_) => json!({"hex": hex::encode(content), "fill": fill, "size": size}),
    }
}

/// A U-Boot copy, if the notation gives exactly these bytes back.
fn sound_copy(bytes: &[u8]) -> Option<Value> {
    let (header, data) = bytes.split_at_checked(5)?;
    let flags = *header.last()?;
    let fill = *data.last()?;
    let mut strings = Vec::new();
    for string in data.split(|byte| *byte == 0) {
        if string.is_empty() {
            break;
        }
        strings.push(std::str::from_utf8(string).ok()?);
    }
    let written = uboot_copy(flags, &strings, fill);
    (written == bytes).then(
        || json!({"flags": flags, "strings": strings, "fill": hex::encode([fill]), "size": bytes.len()}),
    )
}
