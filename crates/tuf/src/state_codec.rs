//! The stored form of [`TrustedState`].
//!
//! ```text
//! magic      8 bytes  "SBTUF" 0 0 1        the last byte is the version of this format
//! floor      i64      seconds since the epoch
//! lowest     4 × u64  root, timestamp, snapshot, targets
//! count      u32      documents that follow
//! document   u32 length, role name; u32 length, file bytes        count times
//! checksum   32 bytes SHA-256 of everything before it
//! ```
//! Numbers are little endian. The checksum finds accidents, not attackers: whoever can write
//! this file can also write the program that reads it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ring::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use switchback_types::Timestamp;

use crate::document::Document;
use crate::error::TufError;
use crate::name::Role;
use crate::schema::Body;
use crate::state::{TrustedState, Versions};

const MAGIC: &[u8; 8] = b"SBTUF\0\0\x01";

pub(crate) fn encode(state: &TrustedState) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend_from_slice(&state.floor.unix().to_le_bytes());
    let lowest = state.lowest;
    for version in [
        lowest.root,
        lowest.timestamp,
        lowest.snapshot,
        lowest.targets,
    ] {
        bytes.extend_from_slice(&version.to_le_bytes());
    }
    let count = state.documents().count();
    bytes.extend_from_slice(&prefix(count));
    for (role, document) in state.documents() {
        for field in [role.as_str().as_bytes(), document] {
            bytes.extend_from_slice(&prefix(field.len()));
            bytes.extend_from_slice(field);
        }
    }
    let checksum = digest::digest(&SHA256, &bytes);
    bytes.extend_from_slice(checksum.as_ref());
    bytes
}

fn prefix(length: usize) -> [u8; 4] {
    // Never saturates: `Limits` bounds each field, and memory bounds their number.
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<TrustedState, TufError> {
    let (content, checksum) = bytes
        .len()
        .checked_sub(SHA256_OUTPUT_LEN)
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or_else(|| damaged("it is too short"))?;
    if digest::digest(&SHA256, content).as_ref() != checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let mut reader = Reader(content);
    if reader.array::<8>()? != *MAGIC {
        return Err(damaged("it is of another kind or version"));
    }
    let floor = Timestamp::from_unix(i64::from_le_bytes(reader.array()?));
    let lowest = Versions {
        root: u64::from_le_bytes(reader.array()?),
        timestamp: u64::from_le_bytes(reader.array()?),
        snapshot: u64::from_le_bytes(reader.array()?),
        targets: u64::from_le_bytes(reader.array()?),
    };
    let mut files = reader.files()?;
    if !reader.0.is_empty() {
        return Err(damaged("bytes follow its end"));
    }
    let root = files
        .remove("root")
        .ok_or_else(|| damaged("it holds no root"))?;
    let mut state = TrustedState::rebuild(root, lowest, floor).map_err(unusable)?;
    state.timestamp = files.remove("timestamp").map(read).transpose()?;
    state.snapshot = files.remove("snapshot").map(read).transpose()?;
    state.targets = files.remove("targets").map(read).transpose()?;
    for (name, file) in files {
        let role = Role::delegated(&name).ok_or_else(|| damaged("a role has no name"))?;
        state.delegated.insert(role.as_str().into(), read(file)?);
    }
    Ok(state)
}

fn read<B: Body>(file: &[u8]) -> Result<Document<B>, TufError> {
    Document::from_own_store("stored metadata", file.to_vec()).map_err(unusable)
}

fn damaged(reason: &str) -> TufError {
    TufError::DamagedState {
        reason: reason.into(),
    }
}

/// The checksum was right, so this is a state written by another version of this program.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn unusable(error: TufError) -> TufError {
    damaged(&error.to_string())
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], TufError> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn field(&mut self) -> Result<&'a [u8], TufError> {
        let length = u32::from_le_bytes(self.array()?);
        let (field, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.0.split_at_checked(length))
            .ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(field)
    }

    fn files(&mut self) -> Result<BTreeMap<String, &'a [u8]>, TufError> {
        let count = u32::from_le_bytes(self.array()?);
        let mut files = BTreeMap::new();
        for _ in 0..count {
            let name = core::str::from_utf8(self.field()?)
                .map_err(|_| damaged("a role's name is not text"))?;
            if files.insert(name.into(), self.field()?).is_some() {
                return Err(damaged("it holds a role twice"));
            }
        }
        Ok(files)
    }
}
