//! The seven roles of a repository and how long their signatures hold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tough::schema::RoleType;

/// Who signs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says which keys the other roles have. Kept offline.
    Root,
    /// Delegates artifacts to `releases`, `channels` and `flags`. Kept offline.
    Targets,
    /// Signs release documents: the key of the build machine.
    Releases,
    /// Signs channel documents: the key of whoever paces releases.
    Channels,
    /// Signs feature flags: the key of whoever turns them.
    Flags,
    /// Signs which versions of all metadata belong together. Online.
    Snapshot,
    /// Signs which snapshot is the newest. Online, renewed often.
    Timestamp,
}

impl Role {
    /// All roles, from the most to the least precious key.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::Targets,
        Self::Releases,
        Self::Channels,
        Self::Flags,
        Self::Snapshot,
        Self::Timestamp,
    ];

    /// The role's name in metadata and in file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Releases => "releases",
            Self::Channels => "channels",
            Self::Flags => "flags",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    /// What root calls this role, if root lists its keys; else targets do.
    #[must_use]
    pub(crate) const fn in_root(self) -> Option<RoleType> {
        match self {
            Self::Root => Some(RoleType::Root),
            Self::Targets => Some(RoleType::Targets),
            Self::Snapshot => Some(RoleType::Snapshot),
            Self::Timestamp => Some(RoleType::Timestamp),
            Self::Releases | Self::Channels | Self::Flags => None,
        }
    }

    /// The name of the metadata file of one version of this role.
    #[must_use]
    pub fn file_name(self, version: u64) -> String {
        match self {
            // The only file whose name devices know beforehand.
            Self::Timestamp => "timestamp.json".into(),
            _ => format!("{version}.{self}.json"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A length of time, whole seconds; written `90d`, `12h` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lifetime {
    seconds: i64,
}

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time like 12h, 90d or 2w (an hour at least, 3650 days at most)")]
pub struct ParseLifetimeError;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const LONGEST: i64 = 3650 * DAY;

impl Lifetime {
    /// So many days.
    #[must_use]
    pub const fn days(days: u16) -> Self {
        Self {
            seconds: days as i64 * DAY,
        }
    }

    /// The length in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }
}

impl FromStr for Lifetime {
    type Err = ParseLifetimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = match text.chars().last() {
            Some('h') => HOUR,
            Some('d') => DAY,
            Some('w') => 7 * DAY,
            _ => return Err(ParseLifetimeError),
        };
        let count = text.trim_end_matches(['h', 'd', 'w']);
        if count.len() + 1 != text.len() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseLifetimeError);
        }
        let count: i64 = count.parse().map_err(|_| ParseLifetimeError)?;
        match count.checked_mul(unit) {
            Some(seconds) if (HOUR..=LONGEST).contains(&seconds) => Ok(Self { seconds }),
            _ => Err(ParseLifetimeError),
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds % DAY == 0 {
            write!(f, "{}d", self.seconds / DAY)
        } else {
            write!(f, "{}h", self.seconds / HOUR)
        }
    }
}

/// How long each role's signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// Root: renewed by hand, with the offline key.
    pub root: Lifetime,
    /// Targets: renewed by hand, with the offline key.
    pub targets: Lifetime,
    /// Releases: renewed by every publish.
    pub releases: Lifetime,
    /// Channels: renewed by every change of a channel.
    pub channels: Lifetime,
    /// Flags: renewed by every change of a flag.
    #[serde(default = "half_a_year")]
    pub flags: Lifetime,
    /// Snapshot: renewed by everything.
    pub snapshot: Lifetime,
    /// Timestamp: how long a device can be kept from noticing that it gets old news.
    pub timestamp: Lifetime,
}

const fn half_a_year() -> Lifetime {
    Lifetime::days(180)
}

impl Default for Lifetimes {
    /// A year for what needs offline keys, half a year for releases, channels and flags (there may be none for
    /// months), and two weeks for what a scheduled `refresh` renews.
    fn default() -> Self {
        Self {
            root: Lifetime::days(365),
            targets: Lifetime::days(365),
            releases: half_a_year(),
            channels: half_a_year(),
            flags: half_a_year(),
            snapshot: Lifetime::days(14),
            timestamp: Lifetime::days(14),
        }
    }
}

impl Lifetimes {
    /// How long a signature of `role` holds.
    #[must_use]
    pub const fn of(&self, role: Role) -> Lifetime {
        match role {
            Role::Root => self.root,
            Role::Targets => self.targets,
            Role::Releases => self.releases,
            Role::Channels => self.channels,
            Role::Flags => self.flags,
            Role::Snapshot => self.snapshot,
            Role::Timestamp => self.timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths_of_time_and_refuses_the_rest() {
        for (text, seconds, shown) in [
            ("12h", 43_200, "12h"),
            ("48h", 172_800, "2d"),
            ("90d", 7_776_000, "90d"),
            ("2w", 1_209_600, "14d"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!(
                (lifetime.seconds(), lifetime.to_string().as_str()),
                (seconds, shown)
            );
        }
        for bad in [
            "",
            "d",
            "0d",
            "5",
            "5m",
            "-5d",
            "5dd",
            "1.5d",
            "3651d",
            "99999999999999999w",
            "+5d",
        ] {
            assert_eq!(bad.parse::<Lifetime>(), Err(ParseLifetimeError), "{bad}");
        }
    }
}
