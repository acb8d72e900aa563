//! Calendar expressions as systemd reads them (`systemd.time(7)`), and windows of time made of them.
//!
//! - [`Calendar`]: an expression such as `Mon..Fri 02:00` or `*-*~7/1 03:30 Europe/Berlin`, and the
//!   next time that it names.
//! - [`Window`]: a calendar of starts and a length: whether it is open, when it opens, when it closes.
//!
//! What systemd accepts is accepted, what it refuses is refused, and the times are the same; a test
//! compares both with `systemd-analyze calendar`. Where they differ:
//!
//! - A time zone is `UTC` or a name of the time zone database. systemd also takes the two
//!   abbreviations of the local zone (`CEST`): here they are unknown zones, unless the database has
//!   them.
//! - In a list of days from the end of the month (`~19,27`) each may be up to the 28th; of the second
//!   one systemd 252 takes the 25th at most, and so on.
//! - A repetition without an end begins anew with each hour, day, month or year; systemd 252 carries the
//!   rest over the end of the next larger one and may pass the first time by (`*:3,36/19` at 00:03).
//! - A wall time that a change of the clock leaves out does not occur. systemd agrees, but where winter
//!   counts as the time that is moved (Europe/Dublin) it may find no time at all.
//!
//! No clock is read and no file: the instant and the rules of the zone are handed in ([`Zones`]).
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    any(test, feature = "fuzzing"),
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests and fuzz targets fail by panicking"
    )
)]

extern crate alloc;

mod calendar;
mod chain;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod next;
mod parse;
#[cfg(test)]
mod tests;
mod weekdays;
mod window;
mod zones;

pub use calendar::Calendar;
pub use error::{CalendarError, Part};
pub use window::{DurationOutOfRange, Opening, Window};
pub use zones::{UtcOnly, Zones};
