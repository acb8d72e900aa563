//! Public keys in PEM (`BEGIN PUBLIC KEY`): the little of base64 and DER that they need.

use alloc::vec::Vec;

/// Longest PEM text considered: an 8,192-bit RSA key has about 1,500 characters.
const MAX_PEM: usize = 8 * 1024;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// `SEQUENCE { OID 1.2.840.10045.2.1 ecPublicKey, OID 1.2.840.10045.3.1.7 prime256v1 }`, content.
const EC_P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // ecPublicKey
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, // prime256v1
];

/// `SEQUENCE { OID 1.2.840.113549.1.1.1 rsaEncryption, NULL }`, content.
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, // rsaEncryption
    0x05, 0x00, // NULL
];

const TAG_SEQUENCE: u8 = 0x30;
const TAG_BIT_STRING: u8 = 0x03;

/// What a PEM public key holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublicKeyBits {
    /// An uncompressed point on P-256, 65 bytes.
    EcP256(Vec<u8>),
    /// A DER `RSAPublicKey` (modulus and exponent).
    Rsa(Vec<u8>),
}

/// Reads a PEM public key; `None` for whatever is not exactly one EC P-256 or RSA key.
pub(crate) fn parse_pem(text: &str) -> Option<PublicKeyBits> {
    if text.len() > MAX_PEM {
        return None;
    }
    let body = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    parse_der(&decode_base64(body)?)
}

/// `SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE, subjectPublicKey BIT STRING }`
fn parse_der(der: &[u8]) -> Option<PublicKeyBits> {
    let (info, rest) = element(der, TAG_SEQUENCE)?;
    let (algorithm, key) = element(info, TAG_SEQUENCE)?;
    let (bits, after_key) = element(key, TAG_BIT_STRING)?;
    if !rest.is_empty() || !after_key.is_empty() {
        return None;
    }
    // The first byte of a bit string counts its unused bits: none in a key.
    let (0, key) = bits.split_first()? else {
        return None;
    };
    match algorithm {
        EC_P256 if key.len() == 65 && key.first() == Some(&0x04) => {
            Some(PublicKeyBits::EcP256(key.to_vec()))
        }
        RSA => Some(PublicKeyBits::Rsa(key.to_vec())),
        _ => None,
    }
}

/// Splits one DER element with this tag off the front: its content, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            // DER: the shortest form only, so that a key has one spelling.
            (length >= 0x80).then_some((usize::from(length), rest))?
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = u16::from_be_bytes(*length);
            (length > 0xff).then_some((usize::from(length), rest))?
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Standard base64 with padding; white space is skipped anywhere.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = 0_u32;
    let mut digits = 0_u8;
    let mut padding = 0_u8;
    for character in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if digits >= 2 => {
                padding += 1;
                0
            }
            _ => return None,
        };
        // Padding ends the text: no digit and no group comes after it.
        if padding > 0 && character != b'=' {
            return None;
        }
        group = group << 6 | u32::from(value);
        digits += 1;
        if digits == 4 {
            let [_, first, second, third] = group.to_be_bytes();
            match padding {
                0 => bytes.extend_from_slice(&[first, second, third]),
                1 if third == 0 => bytes.extend_from_slice(&[first, second]),
                2 if second == 0 && third == 0 => bytes.push(first),
                _ => return None,
            }
            group = 0;
            digits = 0;
        }
    }
    (digits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHsasWVOBSZ0DzKoQZ4FqlTGDejD/\n5dagzRC2BQGJiBmoswHFCZKwTLt8xDx4oevn/WvwH/7a3GppYEamYIBVwg==\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn base64_has_one_spelling() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("TQ==", Some(b"M")),
            ("TWE=", Some(b"Ma")),
            ("T W\nFu", Some(b"Man")),
            ("TWFuTQ==", Some(b"ManM")),
            ("TR==", None),
            ("TWF=", None),
            ("T===", None),
            ("TQ=", None),
            ("TQ", None),
            ("TQ==TQ==", None),
            ("TQ=a", None),
            ("====", None),
            ("TW-u", None),
        ] {
            assert_eq!(decode_base64(text).as_deref(), bytes, "{text:?}");
        }
    }

    #[test]
    fn der_lengths_have_one_spelling() {
        assert_eq!(element(&[0x30, 1, 7, 9], 0x30), Some((&[7][..], &[9][..])));
        for bad in [
            &[][..],
            &[0x30],
            &[0x31, 0],
            &[0x30, 2, 7],
            &[0x30, 0x81, 1, 7],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0xff],
        ] {
            assert_eq!(element(bad, 0x30), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_p256_and_rsa_keys() {
        assert!(matches!(parse_pem(P256), Some(PublicKeyBits::EcP256(point)) if point.len() == 65));
        let rsa = include_str!("../tests/keys/rsa.pub.pem");
        assert!(matches!(parse_pem(rsa), Some(PublicKeyBits::Rsa(key)) if key.len() == 270));
    }

    #[test]
    fn every_damaged_key_is_refused_or_still_a_key_of_the_same_kind() {
        let whole = P256.trim_end();
        for position in 0..whole.len() {
            let mut text = alloc::string::String::from(whole);
            text.remove(position);
            assert!(
                matches!(parse_pem(&text), None | Some(PublicKeyBits::EcP256(_))),
                "{position}"
            );
            assert_eq!(parse_pem(&whole[..position]), None);
        }
    }
}
