//! Points in time, as values handed in: this crate reads no clock.

use alloc::string::ToString;
use core::fmt;
use core::str::FromStr;

/// A point in time, whole seconds since 1970-01-01T00:00:00Z; written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time like 2026-11-25T12:00:00Z")]
pub struct ParseTimestampError;

/// 9999-12-30T22:00:00Z, the last second that the time library represents in every zone.
const MAX_SECONDS: i64 = 253_402_207_200;

impl Timestamp {
    /// The start of the Unix epoch: what a board without a clock says at power-on.
    pub const EPOCH: Self = Self(0);

    /// From seconds since the epoch; times before the epoch or after the year 9999 are brought
    /// to the nearest end.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, MAX_SECONDS))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This time and `seconds` more, stopping at the year 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => f.pad(&time.to_string()),
            Err(_) => f.pad("?"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The library also reads times without seconds or with a space: signed documents may not.
        if text.len() > 40 || !text.contains('T') {
            return Err(ParseTimestampError);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| ParseTimestampError)?;
        if time.as_second() < 0 || time.as_second() > MAX_SECONDS {
            return Err(ParseTimestampError);
        }
        Ok(Self(time.as_second()))
    }
}

written_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc3339() {
        let time = Timestamp::from_unix(1_795_000_000);
        assert_eq!(time.to_string(), "2026-11-18T11:06:40Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert_eq!(
            "2026-11-18T11:06:40+00:00".parse::<Timestamp>().unwrap(),
            time
        );
        for bad in [
            "",
            "2026-11-18",
            "yesterday",
            "1960-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
