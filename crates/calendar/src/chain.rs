//! Lists of numbers, ranges and repetitions: `1,5..9,10/2`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::error::{CalendarError, Part};

/// As many as systemd takes.
const MAX_COMPONENTS: usize = 241;
/// Numbers are no larger, in systemd as here.
const MAX_NUMBER: u32 = i32::MAX.unsigned_abs();
/// Seconds are counted in these.
pub(crate) const MICROS: u32 = 1_000_000;

/// One element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Component {
    pub(crate) start: u32,
    pub(crate) stop: Option<u32>,
    /// 0: none.
    pub(crate) repeat: u32,
}

impl Component {
    const fn one(start: u32) -> Self {
        Self {
            start,
            stop: None,
            repeat: 0,
        }
    }
}

/// Of seconds only: no other part has so large a step.
const EVERY_SECOND: Component = Component {
    start: 0,
    stop: None,
    repeat: MICROS,
};

/// A list; an empty one is `*`, everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain(Vec<Component>);

/// What one part of an expression may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) part: Part,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Counted from the end of the month.
    pub(crate) from_end: bool,
    /// How many make one of what is written: of seconds a million.
    pub(crate) unit: u32,
}

impl Chain {
    pub(crate) fn of(numbers: &[u32]) -> Self {
        Self(numbers.iter().copied().map(Component::one).collect())
    }

    /// Each second.
    pub(crate) fn every_second() -> Self {
        Self(alloc::vec![EVERY_SECOND])
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn components(&self) -> &[Component] {
        &self.0
    }

    /// Reads one from the start of a text and gives what is behind it.
    pub(crate) fn parse(text: &str, part: Part) -> Result<(Self, &str), CalendarError> {
        let seconds = part == Part::Second;
        if let Some(rest) = text.strip_prefix('*') {
            let all = if seconds {
                Self::every_second()
            } else {
                Self::default()
            };
            return Ok((all, rest));
        }
        let mut components = Vec::new();
        let mut rest = text;
        loop {
            if components.len() >= MAX_COMPONENTS {
                return Err(CalendarError::new(part, "too many numbers in one list"));
            }
            let (component, behind) = component(rest, part)?;
            components.push(component);
            match behind.strip_prefix(',') {
                Some(more) => rest = more,
                None => return Ok((Self(components), behind)),
            }
        }
    }

    /// Two digits of a year mean 1970 to 2069.
    pub(crate) fn whole_years(&mut self) {
        let whole = |year: &mut u32| match *year {
            0..70 => *year += 2000,
            70..100 => *year += 1900,
            _ => {}
        };
        for component in &mut self.0 {
            whole(&mut component.start);
            if let Some(stop) = &mut component.stop {
                whole(stop);
            }
        }
    }

    /// Brings it into the one form that all lists with this meaning have, as systemd does.
    pub(crate) fn normalize(&mut self) {
        for component in &mut self.0 {
            let Component {
                start,
                stop: Some(stop),
                repeat,
            } = component
            else {
                continue;
            };
            if *stop > *start && *repeat > 0 {
                *stop -= (*stop - *start) % *repeat;
            }
            let never = *stop > *start && *repeat > 0 && start.saturating_add(*repeat) > *stop;
            if never || *start == *stop {
                *component = Component::one(*start);
            }
        }
        self.0.sort_unstable();
        self.0.dedup();
        if self.0.contains(&EVERY_SECOND) {
            self.0 = alloc::vec![EVERY_SECOND];
        }
    }

    /// Whether each number is one that this part can have.
    pub(crate) fn check(&self, limits: Limits) -> Result<(), CalendarError> {
        for component in &self.0 {
            limits
                .check(component)
                .map_err(|reason| CalendarError::new(limits.part, reason))?;
        }
        Ok(())
    }

    /// As systemd writes it, with that many digits.
    pub(crate) fn write(&self, out: &mut String, digits: usize, unit: u32) {
        if self.is_everything() || (unit == MICROS && *self == Self::every_second()) {
            out.push('*');
            return;
        }
        for (index, component) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_component(out, component, digits, unit);
        }
    }
}

impl Limits {
    fn check(self, component: &Component) -> Result<(), String> {
        // Each month has a 28th day from its end.
        let to = if self.from_end { self.to - 3 } else { self.to };
        let shown = || {
            let mut text = String::new();
            write_component(&mut text, component, 1, self.unit);
            text
        };
        let allowed = || {
            let to = if self.unit > 1 { 59 } else { to };
            format!("{} is not from {} to {to}", shown(), self.from)
        };
        let within = |number| number >= self.from && number <= to;
        if !within(component.start) || component.stop.is_some_and(|stop| !within(stop)) {
            return Err(allowed());
        }
        let Component {
            start,
            stop,
            repeat,
        } = *component;
        let too_far = match stop {
            _ if repeat > to - self.from => true,
            Some(stop) if stop < start => {
                return Err(format!("the range {} runs backwards", shown()));
            }
            Some(stop) => start + repeat > stop,
            // From the end of the month towards its end: down.
            None if self.from_end => start < self.from + repeat,
            None => start + repeat > to,
        };
        if too_far {
            return Err(format!(
                "{} is never repeated: the step is too large",
                shown()
            ));
        }
        Ok(())
    }
}

fn component(text: &str, part: Part) -> Result<(Component, &str), CalendarError> {
    let seconds = part == Part::Second;
    let unit = if seconds { MICROS } else { 1 };
    let (start, mut rest) = number(text, part)?;
    let mut found = Component::one(start);
    if let Some(behind) = rest.strip_prefix("..") {
        let (stop, behind) = number(behind, part)?;
        found.stop = Some(stop);
        found.repeat = unit;
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('/') {
        let (repeat, behind) = number(behind, part)?;
        if repeat == 0 {
            return Err(CalendarError::new(part, "a step of 0 never goes on"));
        }
        found.repeat = repeat;
        rest = behind;
    } else if seconds && found.stop.is_some_and(|stop| start + found.repeat > stop) {
        let reason = "a range of less than a second needs a step, such as 0..0.5/0.1";
        return Err(CalendarError::new(part, reason));
    }
    match rest.chars().next() {
        None | Some(' ' | ',' | '-' | '~' | ':') => Ok((found, rest)),
        Some(other) => Err(CalendarError::new(
            part,
            format!("{other:?} behind a number is not understood"),
        )),
    }
}

/// A number; of seconds in microseconds, rounded.
fn number(text: &str, part: Part) -> Result<(u32, &str), CalendarError> {
    let (digits, rest) = digits(text);
    if digits.is_empty() {
        let found = match text.chars().next() {
            Some(found) => format!("a number is missing before {found:?}"),
            None => "a number is missing at the end".into(),
        };
        return Err(CalendarError::new(part, found));
    }
    let too_large = || CalendarError::new(part, format!("{digits} is too large"));
    let whole: u32 = digits.parse().map_err(|_| too_large())?;
    let (whole, rest) = if part == Part::Second {
        let whole = whole.checked_mul(MICROS).ok_or_else(too_large)?;
        match rest.strip_prefix('.').filter(|more| !more.starts_with('.')) {
            Some(more) => {
                let (micros, rest) = fraction(more, part)?;
                (whole.checked_add(micros).ok_or_else(too_large)?, rest)
            }
            None => (whole, rest),
        }
    } else {
        (whole, rest)
    };
    if whole > MAX_NUMBER {
        return Err(too_large());
    }
    Ok((whole, rest))
}

/// What is behind the point, in microseconds.
fn fraction(text: &str, part: Part) -> Result<(u32, &str), CalendarError> {
    let (digits, rest) = digits(text);
    if digits.is_empty() {
        return Err(CalendarError::new(
            part,
            "digits are missing behind the point",
        ));
    }
    let mut micros = 0;
    let mut place = MICROS / 10;
    for digit in digits.bytes().take(6) {
        micros += u32::from(digit - b'0') * place;
        place /= 10;
    }
    if digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5') {
        micros += 1;
    }
    Ok((micros, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn write_component(out: &mut String, component: &Component, digits: usize, unit: u32) {
    // Writing to a text does not fail.
    let mut number = |before: &str, number: u32, digits: usize| {
        let _ = write!(out, "{before}{:0digits$}", number / unit);
        if !number.is_multiple_of(unit) {
            let _ = write!(out, ".{:06}", number % unit);
        }
    };
    number("", component.start, digits);
    if let Some(stop) = component.stop {
        number("..", stop, digits);
    }
    let plain = component.stop.is_some() && component.repeat == unit;
    if component.repeat > 0 && !plain {
        number("/", component.repeat, 1);
    }
}
