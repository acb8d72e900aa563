//! How many devices: a count, or a share.

use core::fmt;
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share, in hundredths of a percent: 0 to 10,000. Written `12.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

/// A number of devices: `25`, or `12.5%` of those that the rollout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// This many.
    Count(u32),
    /// This share of them.
    Share(Share),
}

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {wanted}")]
pub struct ParseAmountError {
    text: String,
    wanted: &'static str,
}

impl Share {
    /// Everybody.
    pub const ALL: Self = Self(10_000);

    /// From whole percent; more than 100 are 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        // A constant function has no `min`.
        Self(if percent > 100 { 100 } else { percent as u16 } * 100)
    }

    /// Hundredths of a percent.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// This share of `total`, rounded down.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        let total = u128::try_from(total).unwrap_or(u128::MAX >> 16);
        usize::try_from(total * u128::from(self.0) / 10_000).unwrap_or(usize::MAX)
    }

    /// Whether `part` of `total` is more than this share. Nothing of nothing is not.
    #[must_use]
    pub fn is_exceeded_by(self, part: usize, total: usize) -> bool {
        (part as u128) * 10_000 > (total as u128) * u128::from(self.0)
    }

    /// Whether `part` of `total` is at least this share.
    #[must_use]
    pub fn is_reached_by(self, part: usize, total: usize) -> bool {
        (part as u128) * 10_000 >= (total as u128) * u128::from(self.0)
    }
}

impl Amount {
    /// How many of `total` that is: a share of somebody is at least one device.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX).min(total),
            Self::Share(share) => share.of(total).max(usize::from(share.0 > 0)).min(total),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            rest if rest % 10 == 0 => write!(f, "{whole}.{}%", rest / 10),
            rest => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

fn wrong(text: &str, wanted: &'static str) -> ParseAmountError {
    ParseAmountError {
        text: text.chars().take(32).collect(),
        wanted,
    }
}

impl FromStr for Share {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || wrong(text, "share; 0% to 100% with at most two decimals is one");
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(decimals, 2) {
            return Err(wrong());
        }
        let whole: u16 = whole.parse().map_err(|_| wrong())?;
        let scale = if decimals.len() == 1 { 10 } else { 1 };
        let decimals: u16 = decimals.parse().map_err(|_| wrong())?;
        let all = whole * 100 + decimals * scale;
        if all > Self::ALL.0 {
            return Err(wrong());
        }
        Ok(Self(all))
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim_end().ends_with('%') {
            return text.parse().map(Self::Share);
        }
        let count = text.trim().parse();
        count
            .map(Self::Count)
            .map_err(|_| wrong(text, "number of devices; 25 and 12.5% are"))
    }
}

macro_rules! as_text {
    ($type:ty, $visitor:ident, $expecting:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct $visitor;
                impl serde::de::Visitor<'_> for $visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer
                    .deserialize_any($visitor)
                    .map_err(D::Error::custom)
            }
        }
    };
}

as_text!(Share, ShareVisitor, "a share as \"12.5%\"");
as_text!(
    Amount,
    AmountVisitor,
    "a number of devices as 25 or \"12.5%\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for text in ["0%", "1%", "0.5%", "12.25%", "0.01%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert_eq!("7".parse::<Amount>().unwrap(), Amount::Count(7));
        for bad in ["", "%", "101%", "1.234%", "-1%", "1.%", "x", "999999999999"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
        let error = "130%".parse::<Amount>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"130%\" is no share; 0% to 100% with at most two decimals is one"
        );
    }

    #[test]
    fn a_share_of_somebody_is_at_least_one() {
        let one = Amount::Share(Share::percent(1));
        assert_eq!(
            (one.of(0), one.of(5), one.of(150), one.of(200)),
            (0, 1, 1, 2)
        );
        assert_eq!(Amount::Count(9).of(5), 5);
        assert_eq!(
            Amount::Share(Share::ALL).of(usize::MAX >> 20),
            usize::MAX >> 20
        );
    }
}
