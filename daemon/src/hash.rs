//! SHA-256, by the crypto library that TLS brings along.

use ring::digest::{Context, SHA256};
use switchback_types::Digest;

/// A digest in the making.
#[derive(Clone)]
pub(crate) struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// Takes in more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    #[must_use]
    pub(crate) fn finish(self) -> Digest {
        let mut out = [0_u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest::from_bytes(out)
    }
}

/// The digest of some bytes.
#[must_use]
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}
