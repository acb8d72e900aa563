//! Finds the next time that an expression names.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::calendar::Parts;
use crate::chain::{Chain, MICROS};
use crate::parse::LAST_YEAR;

/// The wall clock while it is searched; parts may be one too high, which the next look carries over.
#[derive(Debug, Clone, Copy)]
struct Wall {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    /// In microseconds.
    second: u32,
}

impl Wall {
    const FIRST: Self = Self {
        year: 1970,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
    };

    fn of(time: DateTime) -> Self {
        let Ok(year @ 1970..) = u32::try_from(time.year()) else {
            return Self::FIRST;
        };
        let part = |number: i8| u32::from(number.unsigned_abs());
        let micros = time.subsec_nanosecond().unsigned_abs() / 1000;
        Self {
            year,
            month: part(time.month()),
            day: part(time.day()),
            hour: part(time.hour()),
            minute: part(time.minute()),
            second: part(time.second()) * MICROS + micros,
        }
    }

    const fn next_year(self) -> Self {
        Self {
            year: self.year + 1,
            ..Self::FIRST
        }
    }

    const fn next_month(self) -> Self {
        Self {
            year: self.year,
            month: self.month + 1,
            ..Self::FIRST
        }
    }

    const fn next_day(self) -> Self {
        Self {
            day: self.day + 1,
            hour: 0,
            minute: 0,
            second: 0,
            ..self
        }
    }

    const fn next_hour(self) -> Self {
        Self {
            hour: self.hour + 1,
            minute: 0,
            second: 0,
            ..self
        }
    }

    const fn next_minute(self) -> Self {
        Self {
            minute: self.minute + 1,
            second: 0,
            ..self
        }
    }

    fn date(self) -> Option<Date> {
        let year = i16::try_from(self.year).ok()?;
        let month = i8::try_from(self.month).ok()?;
        Date::new(year, month, i8::try_from(self.day).ok()?).ok()
    }

    fn civil(self) -> Option<DateTime> {
        let part = |number: u32| i8::try_from(number).ok();
        let nanos = i32::try_from(self.second % MICROS * 1000).ok()?;
        let second = part(self.second / MICROS)?;
        let time = Time::new(part(self.hour)?, part(self.minute)?, second, nanos).ok()?;
        Some(self.date()?.to_datetime(time))
    }
}

/// What one look at the wall clock found.
enum Look {
    /// All parts fit.
    Fits(Wall),
    /// Not here: go on from there.
    On(Wall),
    /// Never again.
    Never,
}

pub(crate) fn next_after(parts: &Parts, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let whole = Timestamp::from_microsecond(after.as_microsecond()).ok()?;
    // Before 1970 a fraction is cut off the other way.
    let floor = if whole > after {
        whole
    } else {
        whole.checked_add(SignedDuration::from_micros(1)).ok()?
    };
    let mut wall = Wall::of(zone.to_datetime(floor));
    loop {
        match look(parts, wall) {
            Look::Never => return None,
            Look::On(next) => wall = next,
            Look::Fits(found) => {
                let civil = found.civil()?;
                let possible = zone.to_ambiguous_timestamp(civil);
                match possible.offset() {
                    AmbiguousOffset::Unambiguous { .. } => return possible.unambiguous().ok(),
                    AmbiguousOffset::Fold { .. } => {
                        let first = possible.earlier().ok()?;
                        if first >= floor {
                            return Some(first);
                        }
                        return possible.later().ok();
                    }
                    AmbiguousOffset::Gap { after, .. } => {
                        let before_gap = after.to_timestamp(civil).ok()?;
                        let change = zone.following(before_gap).next()?;
                        let end = zone.to_datetime(change.timestamp());
                        // The clock goes on behind what it leaves out.
                        if end <= civil {
                            return None;
                        }
                        wall = Wall::of(end);
                    }
                }
            }
        }
    }
}

fn look(parts: &Parts, from: Wall) -> Look {
    let mut wall = from;
    let Some(year) = find(&parts.year, wall.year, None).filter(|year| *year <= LAST_YEAR) else {
        return Look::Never;
    };
    if year != wall.year {
        wall = Wall {
            year,
            ..Wall::FIRST
        };
    }
    let Some(month) = find(&parts.month, wall.month, None).filter(|month| *month <= 12) else {
        return Look::On(wall.next_year());
    };
    if month != wall.month {
        wall = Wall {
            year,
            month,
            ..Wall::FIRST
        };
    }
    let first = Wall { day: 1, ..wall };
    let Some(last) = first.date().map(Date::days_in_month) else {
        return Look::Never;
    };
    let last = u32::from(last.unsigned_abs());
    let counted_from = parts.from_end.then_some(last);
    let Some(day) = find(&parts.day, wall.day, counted_from).filter(|day| *day <= last) else {
        return Look::On(wall.next_month());
    };
    if day != wall.day {
        wall = Wall {
            year,
            month,
            day,
            ..Wall::FIRST
        };
    }
    let weekday = wall.date().map(Date::weekday);
    if !weekday.is_some_and(|weekday| parts.weekdays.contains(weekday)) {
        return Look::On(wall.next_day());
    }
    let Some(hour) = find(&parts.hour, wall.hour, None).filter(|hour| *hour <= 23) else {
        return Look::On(wall.next_day());
    };
    if hour != wall.hour {
        (wall.hour, wall.minute, wall.second) = (hour, 0, 0);
    }
    let Some(minute) = find(&parts.minute, wall.minute, None).filter(|minute| *minute <= 59) else {
        return Look::On(wall.next_hour());
    };
    if minute != wall.minute {
        (wall.minute, wall.second) = (minute, 0);
    }
    match find(&parts.second, wall.second, None).filter(|second| *second < 60 * MICROS) {
        Some(second) => Look::Fits(Wall { second, ..wall }),
        None => Look::On(wall.next_minute()),
    }
}

/// The lowest number of the list that is not below `from`; of days that are counted from the end of the
/// month `last` is its last one.
fn find(chain: &Chain, from: u32, last: Option<u32>) -> Option<u32> {
    if chain.is_everything() {
        return Some(from);
    }
    let from_end = |number: u32| last.map_or(number, |last| (last + 1).saturating_sub(number));
    let candidates = chain.components().iter().filter_map(|component| {
        let (mut start, mut stop) = (from_end(component.start), component.stop.map(from_end));
        if let (Some(_), Some(end)) = (last, &mut stop) {
            core::mem::swap(&mut start, end);
        }
        if start >= from {
            return Some(start);
        }
        if component.repeat == 0 {
            return None;
        }
        let steps = (from - start).div_ceil(component.repeat);
        let next = start + steps * component.repeat;
        stop.is_none_or(|stop| next <= stop).then_some(next)
    });
    candidates.min()
}
