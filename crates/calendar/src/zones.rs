//! Where the rules of time zones come from.

use jiff::tz::TimeZone;

/// The rules of time zones, as the machine knows them.
pub trait Zones {
    /// The zone of this machine: of expressions that name none.
    fn local(&self) -> TimeZone;

    /// The zone of that name in the time zone database, or nothing if it is not there. It is asked for
    /// names of letters, digits, `-`, `_`, `+` and single slashes between them only.
    fn named(&self, name: &str) -> Option<TimeZone>;
}

/// A machine in UTC without a time zone database.
#[derive(Debug, Clone, Copy, Default)]
pub struct UtcOnly;

impl Zones for UtcOnly {
    fn local(&self) -> TimeZone {
        TimeZone::UTC
    }

    fn named(&self, _: &str) -> Option<TimeZone> {
        None
    }
}
