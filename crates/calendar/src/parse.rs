//! Reads expressions.

use alloc::borrow::ToOwned as _;
use alloc::format;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::calendar::{Calendar, Parts, ZoneName};
use crate::chain::{Chain, Limits, MICROS};
use crate::error::{CalendarError, Part};
use crate::weekdays::Weekdays;

const FIRST_YEAR: u32 = 1970;
pub(crate) const LAST_YEAR: u32 = 2199;

/// What an expression says, and the zone as it is written: it must exist even where it means nothing.
pub(crate) fn parse(text: &str) -> Result<(Parts, ZoneName), CalendarError> {
    if text.len() > Calendar::MAX_LEN {
        let reason = format!("longer than {} bytes", Calendar::MAX_LEN);
        return Err(CalendarError::new(Part::Expression, reason));
    }
    let (text, zone) = split_zone(text);
    if text.is_empty() {
        let reason =
            "nothing is written: `daily`, `Mon..Fri 02:00` or `*-*-1 03:30` would be something";
        return Err(CalendarError::new(Part::Expression, reason));
    }
    let mut parts = match shorthand(text) {
        Some(parts) => parts,
        None => written_out(text)?,
    };
    // Seconds since 1970 are the same everywhere.
    if parts.zone == ZoneName::Local {
        parts.zone = zone.clone();
    }
    if parts.day.is_everything() {
        parts.from_end = false;
    }
    parts.year.whole_years();
    let limits = |part, from, to| Limits {
        part,
        from,
        to,
        from_end: false,
        unit: 1,
    };
    let days = Limits {
        from_end: parts.from_end,
        ..limits(Part::Day, 1, 31)
    };
    let seconds = Limits {
        unit: MICROS,
        ..limits(Part::Second, 0, 60 * MICROS - 1)
    };
    for (chain, limits) in [
        (&mut parts.year, limits(Part::Year, FIRST_YEAR, LAST_YEAR)),
        (&mut parts.month, limits(Part::Month, 1, 12)),
        (&mut parts.day, days),
        (&mut parts.hour, limits(Part::Hour, 0, 23)),
        (&mut parts.minute, limits(Part::Minute, 0, 59)),
        (&mut parts.second, seconds),
    ] {
        chain.normalize();
        chain.check(limits)?;
    }
    Ok((parts, zone))
}

/// Takes the zone off the end.
fn split_zone(text: &str) -> (&str, ZoneName) {
    let Some((before, last)) = text.rsplit_once(' ') else {
        return (text, ZoneName::Local);
    };
    if last.eq_ignore_ascii_case("UTC") {
        return (before, ZoneName::Utc);
    }
    // Only zones and weekdays begin with a letter, and weekdays come first.
    if last.starts_with(|first: char| first.is_alphabetic()) && !before.trim().is_empty() {
        return (before, ZoneName::Named(last.to_owned()));
    }
    (text, ZoneName::Local)
}

/// Whether it can be the name of a zone: nothing that leads out of a directory of them.
pub(crate) fn is_zone_name(name: &str) -> bool {
    name.split('/').all(|part| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte);
        !part.is_empty() && part.bytes().all(known)
    })
}

pub(crate) fn unknown_zone(name: &str) -> CalendarError {
    let shown: alloc::string::String = name.chars().take(40).collect();
    let reason = format!(
        "{shown:?} is not in this machine's time zone database: write UTC or a name such as Europe/Berlin"
    );
    CalendarError::new(Part::Zone, reason)
}

fn shorthand(text: &str) -> Option<Parts> {
    let any = Chain::default;
    let zero = || Chain::of(&[0]);
    let first = || Chain::of(&[1]);
    let minutely = Parts {
        weekdays: Weekdays::EVERY,
        year: any(),
        month: any(),
        day: any(),
        from_end: false,
        hour: any(),
        minute: any(),
        second: zero(),
        zone: ZoneName::Local,
    };
    let hourly = Parts {
        minute: zero(),
        ..minutely.clone()
    };
    let daily = Parts {
        hour: zero(),
        ..hourly.clone()
    };
    let monthly = Parts {
        day: first(),
        ..daily.clone()
    };
    let in_months = |months: &[u32]| Parts {
        month: Chain::of(months),
        ..monthly.clone()
    };
    Some(match text.to_ascii_lowercase().as_str() {
        "minutely" => minutely,
        "hourly" => hourly,
        "daily" => daily,
        "weekly" => Parts {
            weekdays: Weekdays::MONDAY,
            ..daily
        },
        "monthly" => monthly,
        "annually" | "yearly" | "anually" => in_months(&[1]),
        "quarterly" => in_months(&[1, 4, 7, 10]),
        "semiannually" | "semi-annually" | "biannually" | "bi-annually" => in_months(&[1, 7]),
        _ => return None,
    })
}

fn written_out(text: &str) -> Result<Parts, CalendarError> {
    let (weekdays, rest) = Weekdays::parse(text)?;
    if let Some(seconds) = rest.strip_prefix('@') {
        return epoch(weekdays, seconds);
    }
    let (date, rest) = date(rest)?;
    let [hour, minute, second] = time(rest)?;
    let Date {
        year,
        month,
        day,
        from_end,
    } = date;
    Ok(Parts {
        weekdays,
        year,
        month,
        day,
        from_end,
        hour,
        minute,
        second,
        zone: ZoneName::Local,
    })
}

/// One second, counted from 1970 in UTC.
fn epoch(weekdays: Weekdays, seconds: &str) -> Result<Parts, CalendarError> {
    let wrong = |reason: &str| CalendarError::new(Part::Epoch, reason);
    let seconds: u32 = seconds
        .trim_start_matches(' ')
        .parse()
        .map_err(|_| wrong("write @ and a number of seconds since 1970, up to 4294967295"))?;
    let time = Timestamp::from_second(seconds.into())
        .map_err(|_| wrong("beyond the end of the calendar"))?;
    let time = TimeZone::UTC.to_datetime(time);
    let one = |number: i8| Chain::of(&[u32::from(number.unsigned_abs())]);
    Ok(Parts {
        weekdays,
        year: Chain::of(&[u32::from(time.year().unsigned_abs())]),
        month: one(time.month()),
        day: one(time.day()),
        from_end: false,
        hour: one(time.hour()),
        minute: one(time.minute()),
        second: Chain::of(&[u32::from(time.second().unsigned_abs()) * MICROS]),
        zone: ZoneName::Utc,
    })
}

#[derive(Default)]
struct Date {
    year: Chain,
    month: Chain,
    day: Chain,
    from_end: bool,
}

/// `year-month-day` or `month-day`, with `~` before days that are counted from the end; nothing if
/// the text begins with a time.
fn date(text: &str) -> Result<(Date, &str), CalendarError> {
    if text.is_empty() {
        return Ok((Date::default(), text));
    }
    let part = if text.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
        Part::Date
    } else {
        Part::Expression
    };
    let (first, rest) = Chain::parse(text, part)?;
    if rest.is_empty() || rest.starts_with(':') {
        return Ok((Date::default(), text));
    }
    let (from_end, rest) = date_separator(rest)?;
    let (second, rest) = Chain::parse(rest, Part::Date)?;
    if let Some(rest) = end_of_date(rest) {
        let date = Date {
            year: Chain::default(),
            month: first,
            day: second,
            from_end,
        };
        return Ok((date, rest));
    }
    if from_end {
        let reason = "behind ~ comes the day alone, then a space and the time";
        return Err(CalendarError::new(Part::Day, reason));
    }
    let (from_end, rest) = date_separator(rest)?;
    let (third, rest) = Chain::parse(rest, Part::Day)?;
    let rest = end_of_date(rest).ok_or_else(|| {
        CalendarError::new(Part::Date, "behind the day comes a space and the time")
    })?;
    let date = Date {
        year: first,
        month: second,
        day: third,
        from_end,
    };
    Ok((date, rest))
}

/// Whether it is `~`.
fn date_separator(text: &str) -> Result<(bool, &str), CalendarError> {
    match (text.strip_prefix('~'), text.strip_prefix('-')) {
        (Some(rest), _) => Ok((true, rest)),
        (_, Some(rest)) => Ok((false, rest)),
        _ => {
            let reason =
                "write year-month-day or month-day, such as *-*-01, or a time such as 02:00";
            Err(CalendarError::new(Part::Date, reason))
        }
    }
}

fn end_of_date(text: &str) -> Option<&str> {
    (text.is_empty() || text.starts_with(' ')).then(|| text.trim_start_matches(' '))
}

/// `hour:minute:second` or `hour:minute`; midnight if there is nothing.
fn time(text: &str) -> Result<[Chain; 3], CalendarError> {
    let zero = || Chain::of(&[0]);
    if text.is_empty() {
        return Ok([zero(), zero(), zero()]);
    }
    let (hour, rest) = Chain::parse(text, Part::Hour)?;
    let Some(rest) = rest.strip_prefix(':') else {
        let reason = "write hour:minute or hour:minute:second, such as 02:00";
        return Err(CalendarError::new(Part::Time, reason));
    };
    let (minute, rest) = Chain::parse(rest, Part::Minute)?;
    if rest.is_empty() {
        return Ok([hour, minute, zero()]);
    }
    let Some(rest) = rest.strip_prefix(':') else {
        return Err(behind_time());
    };
    let (second, rest) = Chain::parse(rest, Part::Second)?;
    if rest.is_empty() {
        Ok([hour, minute, second])
    } else {
        Err(behind_time())
    }
}

fn behind_time() -> CalendarError {
    let reason = "behind the time comes a space and a time zone, or nothing";
    CalendarError::new(Part::Time, reason)
}
