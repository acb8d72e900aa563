//! The name of all that happens to one release, wherever it happens.

use core::fmt;
use core::str::FromStr;

use crate::Digest;

/// Names the trace of one release: publisher, server and device find the same without telling each other.
///
/// It is the first 16 bytes of the image's digest and of the signed document's, added bit by bit. The
/// next 8 bytes of that sum name the step in which it was published: the parent of what devices do.
/// Written, it is these 24 bytes as 48 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId {
    id: [u8; 16],
    publish: [u8; 8],
}

/// A text that names no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a trace: expected 48 hexadecimal digits, got {length} characters")]
pub struct ParseTraceIdError {
    length: usize,
}

impl TraceId {
    /// Of a release: its image, and the SHA-256 of its document as it was signed.
    #[must_use]
    pub fn of(image: &Digest, document: &Digest) -> Self {
        let mut sum = *image.as_bytes();
        for (byte, other) in sum.iter_mut().zip(document.as_bytes()) {
            *byte ^= other;
        }
        Self::from_bytes(sum)
    }

    fn from_bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut trace = Self {
            id: [0; 16],
            publish: [0; 8],
        };
        let places = trace.id.iter_mut().chain(&mut trace.publish);
        for (place, byte) in places.zip(bytes) {
            *place = byte;
        }
        trace
    }

    /// The trace, 32 hexadecimal digits, as W3C Trace Context and OpenTelemetry write it.
    #[must_use]
    pub fn id(&self) -> Hex<'_> {
        Hex(&self.id)
    }

    /// The span of publishing, 16 hexadecimal digits.
    #[must_use]
    pub fn publish_span(&self) -> Hex<'_> {
        Hex(&self.publish)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id(), self.publish_span())
    }
}

impl FromStr for TraceId {
    type Err = ParseTraceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0_u8; 24];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self::from_bytes(bytes)),
            Err(_) => Err(ParseTraceIdError {
                length: text.chars().count(),
            }),
        }
    }
}

written_as_text!(TraceId);

/// Shows bytes in hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn is_the_sum_of_both_digests_and_of_neither_alone() {
        let mut bytes = [0; 32];
        for (byte, value) in bytes.iter_mut().zip(0..) {
            *byte = value;
        }
        let image = Digest::from_bytes(bytes);
        let document = Digest::from_bytes([0xf0; 32]);
        let trace = TraceId::of(&image, &document);
        assert_eq!(trace.id().to_string(), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        assert_eq!(trace.publish_span().to_string(), "e0e1e2e3e4e5e6e7");
        let republished = Digest::from_bytes([0xf1; 32]);
        assert_ne!(TraceId::of(&image, &republished), trace);
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert!("f0f1".parse::<TraceId>().is_err());
    }
}
