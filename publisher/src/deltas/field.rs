//! The hint file: how many devices run which version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use switchback_manifest::Release;
use switchback_types::Version;

use crate::error::{RepoError, io};

/// Longest hint file in bytes: some ten thousand versions.
const MAX_BYTES: u64 = 1024 * 1024;

/// How many devices run which version. Fields that this program does not know are passed over:
/// whoever writes the file may say more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Field {
    versions: BTreeMap<String, u64>,
}

impl Field {
    /// Reads the file.
    ///
    /// # Errors
    /// [`RepoError::Field`] when it is not such a file, [`RepoError::Io`].
    pub(crate) fn read(path: &Path) -> Result<Self, RepoError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
            .map_err(io("read", path))?;
        Self::parse(&bytes).map_err(|source| RepoError::Field {
            path: path.into(),
            source,
        })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What to say about devices whose version is not among these, for people.
    pub(crate) fn lost(&self, known: &[Release]) -> Option<String> {
        let lost = self.versions.iter().filter(|(version, devices)| {
            let published = known
                .iter()
                .any(|release| release.version.as_str() == *version);
            **devices > 0 && !published
        });
        let (mut versions, mut sum) = (0_u64, 0_u64);
        for (_, devices) in lost {
            versions += 1;
            sum = sum.saturating_add(*devices);
        }
        (versions > 0).then(|| {
            format!(
                "{sum} devices run versions that are not in the repository ({versions} of them): \
                 no delta leads from those; keep more releases (`gc --keep`) to serve such devices"
            )
        })
    }

    /// How many devices run a version.
    pub(crate) fn devices(&self, version: &Version) -> u64 {
        self.versions.get(version.as_str()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_writes_and_refuses_the_rest() {
        let field = br#"{"versions": {"1.2.3": 120, "a version no more": 4}, "at": "today"}"#;
        let field = Field::parse(field).unwrap();
        assert_eq!(field.devices(&"1.2.3".parse().unwrap()), 120);
        assert_eq!(field.devices(&"1.2.4".parse().unwrap()), 0);
        let lost = field.lost(&[]).unwrap();
        assert!(lost.starts_with("124 devices run versions"), "{lost}");
        assert_eq!(Field::default().lost(&[]), None);
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"versions": {"1": -1}}"#,
            br#"{"versions": {"1": "many"}}"#,
        ] {
            assert!(Field::parse(bad).is_err());
        }
    }
}
