//! Which device a certificate is of: the one whose name is its subject's common name.
//!
//! hawkBit's clients have it there already, and names of devices with `_` or `:` are no DNS names.

use std::sync::Arc;

use x509_parser::parse_x509_certificate;

/// Most bytes of a device's name.
const MAX_NAME: usize = 128;

/// Whether a text can be a device's name: letters, digits and `-_.:`.
#[must_use]
pub fn is_device_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(good) && !matches!(name, "." | "..")
}

/// A certificate names no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDevice {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// None, or more than one.
    #[error("the certificate's subject has {0} common names (CN); one is the device's name")]
    Names(usize),
    /// No device can be called so.
    #[error(
        "the certificate's common name (CN) cannot be a device's: 1 to 128 letters, digits and -_.:"
    )]
    Name,
}

/// Who is at the other end, by a certificate whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The device.
    pub device: Result<Arc<str>, NoDevice>,
    /// When the certificate ends, in seconds since 1970. A connection may outlive it, and a
    /// session that is taken up again is not checked anew.
    pub ends_at: i64,
}

impl Certified {
    /// By a certificate in DER form.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let Ok((_, certificate)) = parse_x509_certificate(der) else {
            return Self {
                device: Err(NoDevice::Unreadable),
                ends_at: 0,
            };
        };
        let mut names = certificate.subject().iter_common_name();
        let device = match (names.next(), names.count()) {
            (Some(name), 0) => match name.as_str() {
                Ok(name) if is_device_name(name) => Ok(name.into()),
                _ => Err(NoDevice::Name),
            },
            (None, _) => Err(NoDevice::Names(0)),
            (Some(_), others) => Err(NoDevice::Names(others + 1)),
        };
        Self {
            device,
            ends_at: certificate.validity().not_after.timestamp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn der(names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_the_device() {
        for (name, good) in [
            ("d1", true),
            ("aa:bb:cc_1.2-3", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("d1\0evil", false),
            ("gerät", false),
        ] {
            let found = Certified::of(&der(&[name]));
            let wanted = if good {
                Ok(name.into())
            } else {
                Err(NoDevice::Name)
            };
            assert_eq!(found.device, wanted, "{name:?}");
        }
        assert_eq!(Certified::of(&der(&[])).device, Err(NoDevice::Names(0)));
        assert!(Certified::of(&der(&["d1"])).ends_at > 0);
    }

    /// Cut off anywhere, or with any byte changed, it names no device or some device; it never
    /// panics.
    #[test]
    fn broken_certificates_are_read_without_harm() {
        let whole = der(&["d1"]);
        for length in 0..whole.len() {
            let found = Certified::of(whole.get(..length).unwrap());
            assert_eq!(found.device, Err(NoDevice::Unreadable), "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            *changed.get_mut(at).unwrap() ^= 0xff;
            let _ = Certified::of(&changed);
        }
    }
}
