//! Roles and the names of their files.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// A role of TUF: who may say what. Ordered as a refresh goes through them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names the keys of all top-level roles, itself included.
    Root,
    /// Says, often renewed, which snapshot is the latest.
    Timestamp,
    /// Says which versions of the targets roles belong together.
    Snapshot,
    /// Describes artifacts and delegates to other roles.
    Targets,
    /// A role that targets, or another delegated role, delegates to.
    Delegated(String),
}

impl Role {
    /// The name in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Delegated(name) => name,
        }
    }

    /// A delegated role; `None` for an empty name and the names of top-level roles, which nobody
    /// can delegate to.
    pub(crate) fn delegated(name: &str) -> Option<Self> {
        match name {
            "" | "root" | "timestamp" | "snapshot" | "targets" => None,
            _ => Some(Self::Delegated(name.into())),
        }
    }

    /// The key of this role in the `meta` of snapshot and timestamp.
    pub(crate) fn meta_key(&self) -> String {
        alloc::format!("{self}.json")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name of a metadata file relative to the repository's metadata directory, ready to be appended
/// to a URL: one path component, percent-encoded (`2.root.json`, `1.a%2Fb.json`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataName(String);

impl MetadataName {
    /// The file that holds `version` of `role` where versions are part of the name.
    pub(crate) fn versioned(role: &Role, version: u64) -> Self {
        Self(alloc::format!("{version}.{}.json", Encoded(role.as_str())))
    }

    /// The file that holds the latest version of `role`.
    pub(crate) fn latest(role: &Role) -> Self {
        Self(alloc::format!("{}.json", Encoded(role.as_str())))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetadataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, so that a role name can neither
/// leave its directory nor end the path of a URL.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    f.write_char(char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_role_names_into_one_component() {
        for (name, file) in [
            ("team-a_1.x~", "7.team-a_1.x~.json"),
            ("?", "7.%3F.json"),
            ("#", "7.%23.json"),
            ("/delegatedrole", "7.%2Fdelegatedrole.json"),
            ("../delegatedrole", "7...%2Fdelegatedrole.json"),
            ("ü b", "7.%C3%BC%20b.json"),
        ] {
            let role = Role::delegated(name).unwrap();
            assert_eq!(MetadataName::versioned(&role, 7).as_str(), file);
        }
        assert_eq!(
            MetadataName::latest(&Role::Snapshot).as_str(),
            "snapshot.json"
        );
    }

    #[test]
    fn nobody_delegates_to_top_level_roles() {
        for name in ["", "root", "timestamp", "snapshot", "targets"] {
            assert_eq!(Role::delegated(name), None, "{name:?}");
        }
    }
}
