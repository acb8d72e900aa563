//! Tokens: 256 bits of chance, kept as a digest, compared in constant time.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of a token. A token is chance enough that no slow hash is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// The system gives no chance.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct NoChance(getrandom::Error);

/// A new token, with what is kept of it.
///
/// # Errors
/// The system gives no chance.
pub fn new_token() -> Result<(String, TokenHash), NoChance> {
    let text = random_hex::<32>()?;
    let hash = TokenHash::of(&text);
    Ok((text, hash))
}

/// So many random bytes, as hexadecimal digits.
///
/// # Errors
/// The system gives no chance.
pub fn random_hex<const BYTES: usize>() -> Result<String, NoChance> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(NoChance)?;
    Ok(hex::encode(bytes))
}

impl TokenHash {
    /// Of nothing: no token is this.
    pub const NONE: Self = Self([0; 32]);

    /// Of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// As it is kept; nothing, when it is of nothing.
    #[must_use]
    pub fn to_text(self) -> String {
        if self == Self::NONE {
            return String::new();
        }
        hex::encode(self.0)
    }

    /// From what is kept. What cannot be read is no token's.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut bytes = [0_u8; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Self(bytes),
            Err(_) => Self::NONE,
        }
    }

    /// Whether `token` is the one that this is of.
    #[must_use]
    pub fn admits(&self, token: &TokenHash) -> bool {
        let is_one = *self != Self::NONE;
        is_one & bool::from(self.0.ct_eq(&token.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_admitted() {
        let (token, hash) = new_token().unwrap();
        assert_eq!(token.len(), 64);
        assert!(TokenHash::from_text(&hash.to_text()).admits(&TokenHash::of(&token)));
        assert!(!hash.admits(&TokenHash::of("")));
        assert!(!TokenHash::NONE.admits(&TokenHash::NONE));
        assert!(!TokenHash::from_text("").admits(&TokenHash::of("")));
    }
}
