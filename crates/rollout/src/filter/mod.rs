//! Which devices: a small language over labels.
//!
//! ```text
//! all
//! site == lab and hw != "rev 1"
//! region in (north, "south east") or has canary
//! not (site ~ "test-*")
//! ```

mod parse;

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest filter in bytes.
pub const MAX_FILTER_BYTES: usize = 4096;
/// Most parentheses and `not` within each other.
pub const MAX_FILTER_DEPTH: usize = 32;

/// What filters look at: names and values.
pub trait Labels: fmt::Debug {
    /// The value of a label.
    fn label(&self, name: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// Says of a device's labels whether it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Node);

/// Why a text is no filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter, character {at}: {what}")]
pub struct FilterError {
    /// Which character, counted from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    All,
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Has(String),
    Is(String, String),
    IsNot(String, String),
    In(String, Vec<String>),
    Like(String, String),
}

impl Filter {
    /// Every device.
    pub const ALL: Self = Self(Node::All);

    /// Whether a device with these labels is meant. A label that a device does not have equals
    /// nothing: `hw != x` holds for it.
    #[must_use]
    pub fn matches(&self, labels: &dyn Labels) -> bool {
        self.0.matches(labels)
    }
}

impl Node {
    fn matches(&self, labels: &dyn Labels) -> bool {
        match self {
            Self::All => true,
            Self::Or(parts) => parts.iter().any(|part| part.matches(labels)),
            Self::And(parts) => parts.iter().all(|part| part.matches(labels)),
            Self::Not(part) => !part.matches(labels),
            Self::Has(label) => labels.label(label).is_some(),
            Self::Is(label, value) => labels.label(label) == Some(value),
            Self::IsNot(label, value) => labels.label(label) != Some(value),
            Self::In(label, values) => labels
                .label(label)
                .is_some_and(|found| values.iter().any(|value| value == found)),
            Self::Like(label, pattern) => labels
                .label(label)
                .is_some_and(|found| like(pattern.as_bytes(), found.as_bytes())),
        }
    }
}

/// `*` stands for any bytes, also none. Linear in the length of both for each star, never
/// exponential: only the last star is gone back to.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(in_text) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(&wanted) if wanted == byte => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|&byte| byte == b'*')
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A word as the language reads it back: in quotes unless it is plain.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if parse::is_plain(self.0) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], by: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {by} ")?;
                }
                match part {
                    Self::Or(_) | Self::And(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All => f.write_str("all"),
            Self::Or(parts) => joined(f, parts, "or"),
            Self::And(parts) => joined(f, parts, "and"),
            Self::Not(part) => match **part {
                Self::Or(_) | Self::And(_) => write!(f, "not ({part})"),
                _ => write!(f, "not {part}"),
            },
            Self::Has(label) => write!(f, "has {}", Word(label)),
            Self::Is(label, value) => write!(f, "{} == {}", Word(label), Word(value)),
            Self::IsNot(label, value) => write!(f, "{} != {}", Word(label), Word(value)),
            Self::Like(label, pattern) => write!(f, "{} ~ {}", Word(label), Word(pattern)),
            Self::In(label, values) => {
                write!(f, "{} in (", Word(label))?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Word(value))?;
                }
                f.write_str(")")
            }
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map(Self)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn means_what_it_says() {
        let device = labels(&[("site", "lab"), ("hw", "rev 2"), ("canary", "")]);
        for (text, meant) in [
            ("all", true),
            ("", true),
            ("site == lab", true),
            ("site = lab", true),
            ("site != lab", false),
            ("region != north", true),
            ("not region == north", true),
            ("hw == \"rev 2\" and has canary", true),
            ("hw == 'rev 2' AND NOT has canary", false),
            ("site in (a, b) or site in (lab)", true),
            ("site ~ l*b and hw ~ \"*2\"", true),
            ("site ~ x*", false),
            ("site == x or site == lab and hw == no", false),
            ("(site == x or site == lab) and not (hw == no)", true),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.matches(&device), meant, "{text}");
            assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
        }
    }

    #[test]
    fn says_where_and_what() {
        for (text, error) in [
            (
                "site = = lab",
                "filter, character 8: a value is expected, not \"=\"",
            ),
            (
                "site lab",
                "filter, character 6: after the label \"site\", one of ==, !=, ~, in is expected, not \"lab\"",
            ),
            ("(site == a", "filter, character 11: \")\" is missing"),
            (
                "site == \"a",
                "filter, character 9: the quote is not closed",
            ),
            (
                "site == a b == c",
                "filter, character 11: \"and\" or \"or\" is expected, not \"b\"",
            ),
            (
                "site in a",
                "filter, character 9: \"(\" is expected, not \"a\"",
            ),
            (
                "site == a and",
                "filter, character 14: a condition is expected, not the end",
            ),
            (
                "a == b; drop",
                "filter, character 7: the character ';' has no meaning here",
            ),
        ] {
            assert_eq!(
                text.parse::<Filter>().unwrap_err().to_string(),
                error,
                "{text}"
            );
        }
        let deep = "(".repeat(40);
        let error = deep.parse::<Filter>().unwrap_err();
        assert_eq!(error.what, "more than 32 parentheses within each other");
        let long = "x".repeat(MAX_FILTER_BYTES + 1).parse::<Filter>();
        assert!(long.is_err());
    }

    #[test]
    fn stars() {
        for (pattern, text, meant) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("**a**", "bab", true),
        ] {
            assert_eq!(
                like(pattern.as_bytes(), text.as_bytes()),
                meant,
                "{pattern} {text}"
            );
        }
        let star = "*a".repeat(200);
        assert!(!like(star.as_bytes(), "a".repeat(199).as_bytes()));
    }
}
