//! What all documents share: the length limit and the schema number.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{DocumentKind, ManifestError};

/// The schema number that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// Longest document in bytes: a release document has about 1.5 KiB, notes of 4 KiB at most, and
/// some 300 bytes for each of at most 64 deltas.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The one field that every generation of every document has.
#[derive(Deserialize)]
struct SchemaNumber {
    schema: u64,
}

/// Reads a document of [`SCHEMA`]. The number is looked at before anything else, so that a newer
/// document gives an error about its age instead of one about a field.
pub(crate) fn read<T: DeserializeOwned>(
    kind: DocumentKind,
    bytes: &[u8],
) -> Result<T, ManifestError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(ManifestError::TooLong {
            kind,
            length: bytes.len(),
            limit: MAX_DOCUMENT_BYTES,
        });
    }
    let json = |source| ManifestError::Json { kind, source };
    let SchemaNumber { schema } = serde_json::from_slice(bytes).map_err(json)?;
    check_schema(kind, schema)?;
    serde_json::from_slice(bytes).map_err(json)
}

pub(crate) fn check_schema(kind: DocumentKind, found: u64) -> Result<(), ManifestError> {
    if found == u64::from(SCHEMA) {
        return Ok(());
    }
    Err(ManifestError::UnknownSchema {
        kind,
        found,
        supported: SCHEMA,
    })
}

/// Writes a document as people read it: indented, fields in the order of the type, one newline
/// at the end. The same document always gives the same bytes.
pub(crate) fn write<T: serde::Serialize>(
    kind: DocumentKind,
    document: &T,
) -> Result<String, ManifestError> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|source| ManifestError::Json { kind, source })?;
    text.push('\n');
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(ManifestError::TooLong {
            kind,
            length: text.len(),
            limit: MAX_DOCUMENT_BYTES,
        });
    }
    Ok(text)
}
