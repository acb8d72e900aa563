//! Bodies for fuzzers: each takes any bytes, must not panic, and asserts what must hold.
//!
//! A fuzzer's target is one line that calls one of these (`fuzz/`). The seeds under `corpus/` are
//! replayed on the stable compiler by `crates/testkit/tests/corpus.rs`.

use alloc::string::ToString;

use switchback_types::{TargetPath, Timestamp};

use crate::canonical::Canonical;
use crate::exchange::{Answer, Exchange, Want};
use crate::limits::Limits;
use crate::refresh::Refresh;
use crate::refreshed::Refreshed;
use crate::state::TrustedState;
use crate::{TufError, spki};

/// A moment at which the seeds are fresh.
const NOW: Timestamp = Timestamp::EPOCH;

/// Stored state: what is read back is written the same.
pub fn stored_state(data: &[u8]) {
    if let Ok(state) = TrustedState::from_bytes(data) {
        assert_eq!(state.to_bytes(), data);
    }
}

/// A PEM public key.
pub fn public_key(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data) {
        let _ = spki::parse_pem(text);
    }
}

/// Canonical JSON: writing what was parsed and writing it again gives the same bytes, unless a
/// control character stands in a string (canonical form leaves those bare, JSON does not).
pub fn canonical(data: &[u8]) {
    let Ok(Canonical(bytes)) = serde_json::from_slice(data) else {
        return;
    };
    if let Ok(again) = serde_json::from_slice::<Canonical>(&bytes) {
        assert_eq!(again.0, bytes);
    }
}

/// A whole session: files, separated by NUL bytes, are the built-in root and then the answers to
/// whatever is asked. An empty file is an absent one. Versions never go back while the root
/// stays, and what is trusted survives being stored.
pub fn session(data: &[u8]) {
    let mut files = data.split(|byte| *byte == 0);
    let root = files.next().unwrap_or_default();
    let Ok(mut state) = TrustedState::from_root(root, NOW) else {
        return;
    };
    // Two refreshes, so that the second has something to go back from.
    for _ in 0..2 {
        let before = state.versions();
        let mut refresh = Refresh::start(state, Limits::default(), None);
        if let Err(error) = drive(&mut refresh, &mut files) {
            assert!(!error.to_string().is_empty());
        }
        let after = refresh.state().versions();
        assert!(after.root >= before.root);
        if after.root == before.root {
            assert!(after.timestamp >= before.timestamp && after.snapshot >= before.snapshot);
        }
        let stored = refresh.state().to_bytes();
        let read = TrustedState::from_bytes(&stored).map(|state| state.to_bytes());
        assert!(read.is_ok_and(|bytes| bytes == stored));
        state = refresh.state().clone();
        if let Ok(mut refreshed) = refresh.finish() {
            search(&mut refreshed, &mut files);
            state = refreshed.into_state();
        }
    }
}

fn search<'a>(refreshed: &mut Refreshed, files: &mut impl Iterator<Item = &'a [u8]>) {
    let Ok(path) = "a/b.bin".parse::<TargetPath>() else {
        return;
    };
    if let Ok(mut lookup) = refreshed.lookup(path)
        && drive(&mut lookup, files).is_ok()
        && let Ok(Some(target)) = lookup.finish()
    {
        let _ = (target.url_path(), target.verify(Default::default()));
    }
}

fn drive<'a>(
    exchange: &mut dyn Exchange,
    files: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<(), TufError> {
    while let Want::File(_) = exchange.poll() {
        exchange.feed(match files.next() {
            None | Some([]) => Answer::Missing,
            Some(file) => Answer::File(file.to_vec()),
        })?;
    }
    Ok(())
}
