//! Names from outside: checked for length and characters when parsed.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// The text is empty.
    #[error("{kind} is empty")]
    Empty {
        /// What was being parsed.
        kind: &'static str,
    },
    /// The text is longer than the kind allows.
    #[error("{kind} has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// What was being parsed.
        kind: &'static str,
        /// Length of the text in bytes.
        length: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// A character is not allowed.
    #[error("{kind} {value:?} contains {found:?}; letters, digits and {extra:?} are allowed")]
    Character {
        /// What was being parsed.
        kind: &'static str,
        /// The whole text.
        value: String,
        /// The first character that is not allowed.
        found: char,
        /// What is allowed beside ASCII letters and digits.
        extra: &'static str,
    },
    /// A path has an empty, `.` or `..` component.
    #[error("{kind} {value:?} has an empty, \".\" or \"..\" component")]
    Component {
        /// What was being parsed.
        kind: &'static str,
        /// The whole text.
        value: String,
    },
}

fn check(
    kind: &'static str,
    text: &str,
    limit: usize,
    extra: &'static str,
) -> Result<(), ParseNameError> {
    if text.is_empty() {
        return Err(ParseNameError::Empty { kind });
    }
    if text.len() > limit {
        return Err(ParseNameError::TooLong {
            kind,
            length: text.len(),
            limit,
        });
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !extra.contains(*c))
    {
        Some(found) => Err(ParseNameError::Character {
            kind,
            value: text.into(),
            found,
            extra,
        }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $limit:literal, $extra:literal $(, $more:path)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check($kind, text, $limit, $extra)?;
                $( $more($kind, text)?; )?
                Ok(Self(text.into()))
            }
        }

        written_as_text!($type);
    };
}

fn plain_components(kind: &'static str, text: &str) -> Result<(), ParseNameError> {
    if text
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(ParseNameError::Component {
            kind,
            value: text.into(),
        });
    }
    Ok(())
}

fn not_dots(kind: &'static str, text: &str) -> Result<(), ParseNameError> {
    plain_components(kind, text)
}

name!(
    /// A release's version as people write it (`2026.11.3`, `1.4.0-rc1+g12ab`). Versions are
    /// labels: which of two releases is newer is said by their sequence numbers.
    Version, "version", 64, ".+-_~", not_dots
);
name!(
    /// The product a release is made for: one line of releases.
    ProductName, "product name", 64, ".-_", not_dots
);
name!(
    /// A kind of hardware that an image runs on, as in RAUC's `compatible`.
    Compatible, "compatible", 128, " .,:+-_/()"
);
name!(
    /// A channel: the name that devices follow (`stable`, `beta`).
    ChannelName, "channel name", 64, ".-_", not_dots
);
name!(
    /// A set of feature flags.
    FlagSetName, "flag set name", 64, ".-_", not_dots
);
name!(
    /// Names one attempt to bring one device to one release, from offer to outcome.
    ActionId, "action id", 128, ".:-_"
);
name!(
    /// Path of a signed artifact in the repository (TUF calls it a target path), relative, with
    /// `/` between components and no `.` or `..` among them.
    TargetPath, "artifact path", 512, "/.+-_~ ", plain_components
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_leave_its_directory() {
        for bad in ["", "a/../b", "/etc/passwd", "a//b", "..", "a\u{0}b"] {
            assert!(bad.parse::<TargetPath>().is_err(), "{bad:?}");
        }
        assert!("..".parse::<Version>().is_err());
        assert!("releases/gw/1.0/release.json".parse::<TargetPath>().is_ok());
    }

    #[test]
    fn says_what_is_wrong() {
        let error = "board\t1".parse::<ProductName>().unwrap_err();
        assert_eq!(
            alloc::string::ToString::to_string(&error),
            "product name \"board\\t1\" contains '\\t'; letters, digits and \".-_\" are allowed"
        );
        let long = "x".repeat(65);
        assert!(matches!(
            long.parse::<Version>(),
            Err(ParseNameError::TooLong { .. })
        ));
    }
}
