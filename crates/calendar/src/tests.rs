//! What a person at a device reads, and the days on which clocks change.

use alloc::string::{String, ToString as _};
use core::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{Calendar, Opening, Part, UtcOnly, Window, Zones};

/// Berlin's rules, without a database.
struct Berlin;

impl Zones for Berlin {
    fn local(&self) -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn named(&self, _: &str) -> Option<TimeZone> {
        None
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(start: &str, hours: u64) -> Window {
    let start = Calendar::parse(start, &Berlin).unwrap();
    Window::new(start, Duration::from_secs(hours * 3600)).unwrap()
}

fn refused(text: &str) -> (Part, String) {
    let error = Calendar::parse(text, &UtcOnly).unwrap_err();
    (error.part, error.to_string())
}

#[test]
fn errors_name_the_part_and_the_way_out() {
    for (text, part, said) in [
        (
            "",
            Part::Expression,
            "the expression: nothing is written: `daily`, `Mon..Fri 02:00` or `*-*-1 03:30` would be something",
        ),
        (
            "Fri..Mon 02:00",
            Part::Weekdays,
            "the weekdays: Fri..Mon runs backwards: a week begins with Mon; write two ranges with a comma",
        ),
        (
            "Sat..",
            Part::Weekdays,
            "the weekdays: the range Sat.. has no end: write it out, such as Sat..Sun",
        ),
        (
            "Mon,Funday 02:00",
            Part::Weekdays,
            "the weekdays: \"Funday\" is no weekday: write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
        ),
        ("25:00", Part::Hour, "the hour: 25 is not from 0 to 23"),
        ("02:60", Part::Minute, "the minute: 60 is not from 0 to 59"),
        (
            "02:00:60.5",
            Part::Second,
            "the second: 60.500000 is not from 0 to 59",
        ),
        ("*-13-01", Part::Month, "the month: 13 is not from 1 to 12"),
        ("*-*~29", Part::Day, "the day: 29 is not from 1 to 28"),
        (
            "*-*-5..3",
            Part::Day,
            "the day: the range 5..3 runs backwards",
        ),
        (
            "1969-1-1",
            Part::Year,
            "the year: 1969 is not from 1970 to 2199",
        ),
        (
            "*:0/0",
            Part::Minute,
            "the minute: a step of 0 never goes on",
        ),
        (
            "*:0/60",
            Part::Minute,
            "the minute: 0/60 is never repeated: the step is too large",
        ),
        (
            "2026",
            Part::Time,
            "the time: write hour:minute or hour:minute:second, such as 02:00",
        ),
        (
            "02",
            Part::Time,
            "the time: write hour:minute or hour:minute:second, such as 02:00",
        ),
        (
            "*-*-* */2:00",
            Part::Time,
            "the time: write hour:minute or hour:minute:second, such as 02:00",
        ),
        (
            "nightly",
            Part::Expression,
            "the expression: a number is missing before 'n'",
        ),
        (
            "02:00 Europe/Berlin",
            Part::Zone,
            "the time zone: \"Europe/Berlin\" is not in this machine's time zone database: write UTC or a name such as Europe/Berlin",
        ),
        (
            "02:00 a/../../etc",
            Part::Zone,
            "the time zone: \"a/../../etc\" is not in this machine's time zone database: write UTC or a name such as Europe/Berlin",
        ),
        (
            "@-1",
            Part::Epoch,
            "the number of seconds: write @ and a number of seconds since 1970, up to 4294967295",
        ),
    ] {
        assert_eq!(refused(text), (part, said.to_string()), "{text}");
    }
    let long = "1,".repeat(600) + "1:00";
    assert_eq!(refused(&long).0, Part::Expression);
    let many = "1,".repeat(300) + "1:00";
    assert_eq!(refused(&many).1, "the date: too many numbers in one list");
}

#[test]
fn impossible_dates_never_come() {
    let never = Calendar::parse("*-02-30", &UtcOnly).unwrap();
    assert_eq!(never.next_after(time("2026-01-01T00:00:00Z")), None);
    let past = Calendar::parse("2020-01-01", &UtcOnly).unwrap();
    assert_eq!(past.next_after(time("2026-01-01T00:00:00Z")), None);
    // A clock without a battery, and one from the far future.
    let daily = Calendar::parse("daily", &UtcOnly).unwrap();
    let first = daily.next_after(Timestamp::MIN).unwrap();
    assert_eq!(first, time("1970-01-01T00:00:00Z"));
    assert_eq!(daily.next_after(Timestamp::MAX), None);
}

#[test]
fn fractions_of_seconds_are_kept() {
    let quarters = Calendar::parse("*:*:0.25/0.5", &UtcOnly).unwrap();
    let mut now = time("2026-01-01T00:00:59.1Z");
    let mut all = alloc::vec::Vec::new();
    for _ in 0..3 {
        now = quarters.next_after(now).unwrap();
        all.push(now.to_string());
    }
    assert_eq!(
        all,
        [
            "2026-01-01T00:00:59.25Z",
            "2026-01-01T00:00:59.75Z",
            "2026-01-01T00:01:00.25Z"
        ]
    );
}

#[test]
fn window_is_open_from_its_start_to_before_its_end() {
    let window = window("Sat,Sun 02:00", 4);
    // Saturday, 2026-11-28, in winter.
    let opens = time("2026-11-28T01:00:00Z");
    let closes = time("2026-11-28T05:00:00Z");
    let before = time("2026-11-28T00:59:59Z");
    assert_eq!(window.at(before), Opening::Closed { opens: Some(opens) });
    assert_eq!(
        window.at(opens),
        Opening::Open {
            closes: Some(closes)
        }
    );
    assert!(window.is_open(time("2026-11-28T04:59:59.999Z")));
    assert!(!window.is_open(closes));
    assert_eq!(
        window.opens_after(opens),
        Some(time("2026-11-29T01:00:00Z"))
    );
    assert_eq!(window.closes_at(closes), None);
}

#[test]
fn window_lasts_as_long_when_the_clock_changes() {
    // 2026-03-29 01:00 UTC: 02:00 becomes 03:00. Four hours from 01:00 end at 06:00 by the clock.
    let early = window("01:00", 4);
    let spring = time("2026-03-29T00:00:00Z");
    assert_eq!(early.closes_at(spring), Some(time("2026-03-29T04:00:00Z")));
    // 02:30 does not occur on that day, so there is no window; on the next one there is.
    let skipped = window("02:30", 1);
    assert_eq!(
        skipped.opens_after(time("2026-03-28T12:00:00Z")),
        Some(time("2026-03-30T00:30:00Z"))
    );
    // 2026-10-25 01:00 UTC: 03:00 becomes 02:00. 02:30 occurs twice; there is one window.
    let autumn = time("2026-10-24T12:00:00Z");
    let first = time("2026-10-25T00:30:00Z");
    assert_eq!(skipped.opens_after(autumn), Some(first));
    assert_eq!(
        skipped.opens_after(first),
        Some(time("2026-10-26T01:30:00Z"))
    );
}

#[test]
fn openings_that_run_into_each_other_are_one() {
    let now = time("2026-11-28T12:00:00Z");
    // 22:00 to 02:00 and 02:00 to 06:00 local time.
    let night = window("22,02:00", 4);
    assert_eq!(
        night.closes_at(time("2026-11-28T21:30:00Z")),
        Some(time("2026-11-29T05:00:00Z"))
    );
    let always = window("hourly", 2);
    assert_eq!(always.at(now), Opening::Open { closes: None });
    let never = window("2020-01-01", 1);
    assert_eq!(never.at(now), Opening::Closed { opens: None });
}

#[test]
fn too_short_and_too_long_windows_are_refused() {
    let daily = Calendar::parse("daily", &UtcOnly).unwrap();
    for seconds in [0, 367 * 86_400] {
        assert!(Window::new(daily.clone(), Duration::from_secs(seconds)).is_err());
    }
}
