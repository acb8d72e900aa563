//! Who comes first.

use sha2::{Digest as _, Sha256};

/// A device's place in a rollout: those with the lower numbers come first. Another salt gives
/// another order, so that it is not always the same devices that go first; the same salt gives
/// the same one whoever else is in the fleet.
#[must_use]
pub fn rank(salt: &str, device: &str) -> u64 {
    let mut hasher = Sha256::new();
    // The length keeps "a" + "bc" apart from "ab" + "c".
    hasher.update((salt.len() as u64).to_le_bytes());
    hasher.update(salt.as_bytes());
    hasher.update(device.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_draw_different_devices() {
        let first = |salt: &str| {
            let mut names: Vec<String> = (0..1000).map(|n| format!("d{n}")).collect();
            names.sort_by_key(|name| rank(salt, name));
            names.truncate(10);
            names
        };
        assert_eq!(first("a"), first("a"));
        let common = first("a")
            .iter()
            .filter(|name| first("b").contains(name))
            .count();
        assert!(common <= 2, "{common}");
        assert_ne!(rank("a", "bc"), rank("ab", "c"));
    }
}
