//! Lists and ranges of weekdays.

use alloc::format;
use alloc::string::String;
use core::fmt;

use jiff::civil::Weekday;

use crate::error::{CalendarError, Part};

const NAMES: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const ALL: u8 = 0b111_1111;

/// One bit for each day, Monday first. None at all is not possible: that is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weekdays(u8);

impl Weekdays {
    pub(crate) const EVERY: Self = Self(ALL);
    pub(crate) const MONDAY: Self = Self(1);

    pub(crate) fn contains(self, day: Weekday) -> bool {
        self.0 & (1_u8 << day.to_monday_zero_offset().unsigned_abs()) != 0
    }

    /// Reads them from the start of a text, and gives what is behind them and the spaces.
    pub(crate) fn parse(text: &str) -> Result<(Self, &str), CalendarError> {
        let mut rest = text;
        let mut days = 0;
        let mut range_from: Option<u8> = None;
        let mut first = true;
        loop {
            let Some((day, behind)) = day_at(rest) else {
                if first {
                    return Ok((Self::EVERY, text));
                }
                return Err(wrong(format!(
                    "{:?} is no weekday: write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
                    word(rest)
                )));
            };
            first = false;
            let from = range_from.unwrap_or(day);
            if from > day {
                let (from, to) = (name(from), name(day));
                return Err(wrong(format!(
                    "{from}..{to} runs backwards: a week begins with Mon; write two ranges with a comma"
                )));
            }
            for between in from..=day {
                days |= 1_u8 << between;
            }
            if let Some(more) = behind.strip_prefix(',') {
                range_from = None;
                rest = more;
            } else if let Some(more) = behind
                .strip_prefix("..")
                // As systemd did before it had the other form.
                .or_else(|| behind.strip_prefix('-'))
            {
                if range_from.is_some() {
                    return Err(wrong(format!(
                        "{:?} has two ranges in one: write a comma between them",
                        word(text)
                    )));
                }
                range_from = Some(day);
                rest = more;
            } else if behind.is_empty() || behind.starts_with(' ') {
                return Ok((Self(days), behind.trim_start_matches(' ')));
            } else {
                return Err(wrong(format!(
                    "{:?}: behind a weekday is a comma, \"..\" or a space",
                    word(text)
                )));
            }
            if rest.is_empty() || rest.starts_with(' ') {
                return match range_from {
                    // A comma too many does no harm.
                    None => Ok((Self(days), rest.trim_start_matches(' '))),
                    Some(from) => Err(wrong(format!(
                        "the range {}.. has no end: write it out, such as {0}..Sun",
                        name(from)
                    ))),
                };
            }
        }
    }
}

/// The weekday that a text begins with, and what is behind it.
fn day_at(text: &str) -> Option<(u8, &str)> {
    for (day, name) in (0..).zip(NAMES) {
        for length in [name.len(), 3] {
            let begins = text
                .get(..length)
                .zip(name.get(..length))
                .is_some_and(|(text, name)| text.eq_ignore_ascii_case(name));
            if begins {
                return Some((day, text.get(length..)?));
            }
        }
    }
    None
}

fn name(day: u8) -> &'static str {
    let name = NAMES.get(usize::from(day)).copied().unwrap_or_default();
    name.get(..3).unwrap_or_default()
}

/// Up to the next space, and no more than can be read at a glance.
fn word(text: &str) -> String {
    text.split(' ')
        .next()
        .unwrap_or_default()
        .chars()
        .take(20)
        .collect()
}

fn wrong(reason: String) -> CalendarError {
    CalendarError::new(Part::Weekdays, reason)
}

impl fmt::Display for Weekdays {
    /// As systemd writes them; nothing at all for every day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ALL {
            return Ok(());
        }
        let mut before = "";
        let mut day = 0;
        while day < 7 {
            let run = (day..7).take_while(|day| self.0 & (1 << day) != 0).count();
            let Some(last) = u8::try_from(run).ok().filter(|run| *run > 0) else {
                day += 1;
                continue;
            };
            let last = day + last - 1;
            write!(f, "{before}{}", name(day))?;
            if last > day {
                let between = if last > day + 1 { ".." } else { "," };
                write!(f, "{between}{}", name(last))?;
            }
            before = ",";
            day = last + 1;
        }
        f.write_str(" ")
    }
}
