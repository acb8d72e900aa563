//! A parsed expression.

use alloc::string::String;
use core::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::chain::{Chain, MICROS};
use crate::error::CalendarError;
use crate::next;
use crate::parse;
use crate::weekdays::Weekdays;
use crate::zones::Zones;

/// The zone as it is written at the end of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ZoneName {
    /// None is: that of the machine.
    Local,
    Utc,
    Named(String),
}

/// What an expression says, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) weekdays: Weekdays,
    pub(crate) year: Chain,
    pub(crate) month: Chain,
    pub(crate) day: Chain,
    /// Whether days are counted from the end of the month.
    pub(crate) from_end: bool,
    pub(crate) hour: Chain,
    pub(crate) minute: Chain,
    /// In microseconds.
    pub(crate) second: Chain,
    pub(crate) zone: ZoneName,
}

/// A calendar expression with the rules of its time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    parts: Parts,
    zone: TimeZone,
}

impl Calendar {
    /// The longest expression, in bytes.
    pub const MAX_LEN: usize = 1000;

    /// Reads an expression.
    ///
    /// # Errors
    /// Names the part that is wrong and what would be right; a zone that `zones` does not have is
    /// wrong.
    pub fn parse(text: &str, zones: &dyn Zones) -> Result<Self, CalendarError> {
        let (parts, written) = parse::parse(text)?;
        let zone = match &written {
            ZoneName::Local => zones.local(),
            ZoneName::Utc => TimeZone::UTC,
            ZoneName::Named(name) => Some(name)
                .filter(|name| parse::is_zone_name(name))
                .and_then(|name| zones.named(name))
                .ok_or_else(|| parse::unknown_zone(name))?,
        };
        let zone = if parts.zone == ZoneName::Utc {
            TimeZone::UTC
        } else {
            zone
        };
        Ok(Self { parts, zone })
    }

    /// The next time after `after` that the expression names, to the microsecond; nothing if there is
    /// none before the year 2200.
    ///
    /// A wall time that the clock skips does not occur. One that occurs twice counts the first time
    /// only, unless `after` is already in the repetition.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        next::next_after(&self.parts, &self.zone, after)
    }

    /// The zone whose wall clock it reads.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl fmt::Display for Calendar {
    /// As `systemd-analyze calendar` writes it under "Normalized form".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parts;
        let mut text = String::new();
        parts.year.write(&mut text, 4, 1);
        text.push('-');
        parts.month.write(&mut text, 2, 1);
        text.push(if parts.from_end { '~' } else { '-' });
        parts.day.write(&mut text, 2, 1);
        text.push(' ');
        parts.hour.write(&mut text, 2, 1);
        text.push(':');
        parts.minute.write(&mut text, 2, 1);
        text.push(':');
        parts.second.write(&mut text, 2, MICROS);
        write!(f, "{}{text}", parts.weekdays)?;
        match &parts.zone {
            ZoneName::Local => Ok(()),
            ZoneName::Utc => f.write_str(" UTC"),
            ZoneName::Named(name) => write!(f, " {name}"),
        }
    }
}
