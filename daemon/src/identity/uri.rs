//! Where a key is in a token (RFC 7512).

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// As much of a `pkcs11:` address as finds one private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenUri {
    /// Label of the token; any token if there is none.
    pub(super) token: Option<String>,
    /// Its serial number.
    pub(super) serial: Option<String>,
    /// Label of the key.
    pub(super) object: Option<String>,
    /// Number of the key.
    pub(super) id: Option<Vec<u8>>,
    /// The token's library.
    pub(super) module: PathBuf,
    /// A file with the PIN, if it needs one.
    pub(super) pin: Option<PathBuf>,
}

const SHAPE: &str =
    "write pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/….so&pin-source=file:/…";

impl TokenUri {
    /// Reads an address.
    ///
    /// # Errors
    /// Says which part is missing or not known; a key that is found by less than was written would be another one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("pkcs11:").ok_or(SHAPE)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            token: None,
            serial: None,
            object: None,
            id: None,
            module: PathBuf::new(),
            pin: None,
        };
        for part in path.split(';').filter(|part| !part.is_empty()) {
            let (name, bytes) = attribute(part)?;
            let text = || String::from_utf8(bytes.clone()).map_err(|_| format!("{name}: not text"));
            match name {
                "token" => uri.token = Some(text()?),
                "serial" => uri.serial = Some(text()?),
                "object" => uri.object = Some(text()?),
                "id" => uri.id = Some(bytes),
                "type" if bytes == b"private" => {}
                _ => return Err(format!("{part}: not known here; {SHAPE}")),
            }
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, bytes) = attribute(part)?;
            let text = String::from_utf8(bytes).map_err(|_| format!("{name}: not text"))?;
            match name {
                "module-path" => uri.module = text.into(),
                "pin-source" => uri.pin = Some(text.strip_prefix("file:").unwrap_or(&text).into()),
                "pin-value" => {
                    return Err("pin-value: a PIN in the configuration is read by everybody; write it to a file and \
                         name it by pin-source"
                        .into());
                }
                _ => return Err(format!("{name}: not known here; {SHAPE}")),
            }
        }
        if !uri.module.is_absolute() {
            return Err(format!("module-path is not an absolute path; {SHAPE}"));
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err(format!("neither object nor id says which key; {SHAPE}"));
        }
        Ok(uri)
    }
}

fn attribute(part: &str) -> Result<(&str, Vec<u8>), String> {
    let (name, value) = part
        .split_once('=')
        .ok_or_else(|| format!("{part}: has no value; {SHAPE}"))?;
    Ok((name, percent_decode_str(value).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_finds_one_key_and_refuses_the_rest() {
        let text = "pkcs11:token=The%20device;object=tls;type=private?module-path=/usr/lib/m.so&pin-source=file:/etc/pin";
        let uri = TokenUri::parse(text).unwrap();
        assert_eq!(uri.token.as_deref(), Some("The device"));
        assert_eq!(uri.object.as_deref(), Some("tls"));
        assert_eq!(uri.module, PathBuf::from("/usr/lib/m.so"));
        assert_eq!(uri.pin, Some(PathBuf::from("/etc/pin")));
        let uri = TokenUri::parse("pkcs11:id=%01%ff?module-path=/m.so").unwrap();
        assert_eq!(uri.id, Some(vec![1, 255]));
        for (wrong, part) in [
            ("file:/x", "pkcs11:token="),
            ("pkcs11:token=x?module-path=/m.so", "which key"),
            ("pkcs11:object=x", "module-path"),
            ("pkcs11:object=x?module-path=m.so", "absolute"),
            ("pkcs11:object=x;slot-id=3?module-path=/m.so", "slot-id=3"),
            (
                "pkcs11:object=x?module-path=/m.so&pin-value=1",
                "pin-source",
            ),
            ("pkcs11:object=%ff?module-path=/m.so", "not text"),
            ("pkcs11:object?module-path=/m.so", "no value"),
        ] {
            let error = TokenUri::parse(wrong).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }
}
