//! What is wrong with an expression, and where.

use alloc::string::String;
use core::fmt;

/// A part of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The whole of it.
    Expression,
    /// `Mon..Fri`.
    Weekdays,
    /// Year, month and day, before it is known which of them a number is.
    Date,
    /// The year.
    Year,
    /// The month.
    Month,
    /// The day of the month, counted from its start or, behind `~`, from its end.
    Day,
    /// Hour, minute and second, before it is known which of them a number is.
    Time,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second, which may have a fraction.
    Second,
    /// `@` and a number.
    Epoch,
    /// The time zone at the end.
    Zone,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expression => "the expression",
            Self::Weekdays => "the weekdays",
            Self::Date => "the date",
            Self::Year => "the year",
            Self::Month => "the month",
            Self::Day => "the day",
            Self::Time => "the time",
            Self::Hour => "the hour",
            Self::Minute => "the minute",
            Self::Second => "the second",
            Self::Epoch => "the number of seconds",
            Self::Zone => "the time zone",
        })
    }
}

/// Why a text is not a calendar expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct CalendarError {
    /// Where it is wrong.
    pub part: Part,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl CalendarError {
    pub(crate) fn new(part: Part, reason: impl Into<String>) -> Self {
        Self {
            part,
            reason: reason.into(),
        }
    }
}
