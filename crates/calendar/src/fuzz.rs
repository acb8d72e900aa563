//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use alloc::string::ToString as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{Calendar, Zones};

/// A zone whose clock changes twice a year, under every name; no database is needed.
struct Changing;

impl Zones for Changing {
    fn local(&self) -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn named(&self, name: &str) -> Option<TimeZone> {
        (name.len() < 20).then(|| self.local())
    }
}

/// An expression: what is refused is explained; what is accepted is read back from how it is shown, and
/// names times that follow each other.
pub fn calendar(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let calendar = match Calendar::parse(text, &Changing) {
        Ok(calendar) => calendar,
        Err(error) => {
            assert!(!error.reason.is_empty());
            return;
        }
    };
    let shown = calendar.to_string();
    if shown.len() <= Calendar::MAX_LEN {
        let again = Calendar::parse(&shown, &Changing).expect("as it is shown");
        assert_eq!(again, calendar, "{shown}");
    }
    // The hour before the clock is put back in 2026.
    let mut time = Timestamp::from_second(1_792_886_400).expect("in range");
    for _ in 0..5 {
        let Some(next) = calendar.next_after(time) else {
            return;
        };
        assert!(next > time, "{shown}: {next} after {time}");
        // Nothing was passed over: from just before, the same is found.
        let before = next - jiff::SignedDuration::from_micros(1);
        if before >= time {
            assert_eq!(calendar.next_after(before), Some(next), "{shown}");
        }
        time = next;
    }
}
