//! Maintenance windows.

use switchback_calendar::{Opening, Window};
use switchback_types::Timestamp;
use switchback_update_core::{Before, Gate, GateState, Question};

use crate::settings::{GateSettings, Outside};

const NAME: &str = "window";

/// Open while any window is; nothing where there are none.
pub(super) fn read(settings: &GateSettings, now: Timestamp) -> Option<Gate> {
    if settings.windows.is_empty() {
        return None;
    }
    let before = match settings.outside {
        Outside::Nothing => Before::Both,
        Outside::Download => Before::Restart,
    };
    Some(Gate {
        name: NAME.into(),
        question: Question::Wanted,
        before,
        state: judge(&settings.windows, now),
    })
}

fn judge(windows: &[Window], now: Timestamp) -> GateState {
    let Ok(now) = jiff::Timestamp::from_second(now.unix()) else {
        return closed(None);
    };
    let seconds = |time: jiff::Timestamp| Timestamp::from_unix(time.as_second());
    let mut opens: Option<Timestamp> = None;
    for window in windows {
        match window.at(now) {
            Opening::Open { closes: Some(end) } => {
                return GateState::Open {
                    detail: format!("a maintenance window is open until {}", seconds(end)),
                };
            }
            Opening::Open { closes: None } => {
                return GateState::Open {
                    detail: "a maintenance window is open".into(),
                };
            }
            Opening::Closed { opens: Some(start) } => {
                // Whole seconds: rather a moment too late than asked again too early.
                let start = match start.subsec_nanosecond() {
                    0 => seconds(start),
                    _ => seconds(start).plus_seconds(1),
                };
                opens = Some(opens.map_or(start, |known| known.min(start)));
            }
            Opening::Closed { opens: None } => {}
        }
    }
    closed(opens)
}

fn closed(opens: Option<Timestamp>) -> GateState {
    GateState::Closed {
        code: "outside-window".into(),
        detail: match opens {
            Some(opens) => format!("outside the maintenance windows; the next opens at {opens}"),
            None => "outside the maintenance windows, and no window opens any more".into(),
        },
        way_out: "wait for it, or correct `update.window`".into(),
        opens,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchback_calendar::Calendar;

    use super::*;
    use crate::time_zones::TimeZones;

    fn window(start: &str, hours: u64) -> Window {
        let start = Calendar::parse(start, &TimeZones::default()).unwrap();
        Window::new(start, Duration::from_secs(hours * 3600)).unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn any_window_opens_and_the_next_one_is_told() {
        let windows = [window("Sat,Sun 02:00 UTC", 3), window("*-*-* 12:00 UTC", 1)];
        // A Friday.
        let GateState::Closed { opens, detail, .. } = judge(&windows, time("2026-11-27T14:00:00Z"))
        else {
            panic!()
        };
        assert_eq!(opens, Some(time("2026-11-28T02:00:00Z")), "{detail}");
        for (now, until) in [
            ("2026-11-28T02:00:00Z", "2026-11-28T05:00:00Z"),
            ("2026-11-28T04:59:59Z", "2026-11-28T05:00:00Z"),
            ("2026-11-27T12:30:00Z", "2026-11-27T13:00:00Z"),
        ] {
            let GateState::Open { detail } = judge(&windows, time(now)) else {
                panic!("{now}")
            };
            assert!(detail.ends_with(until), "{detail}");
        }
        assert!(matches!(
            judge(&windows, time("2026-11-28T05:00:00Z")),
            GateState::Closed { .. }
        ));
    }

    #[test]
    fn window_in_the_hour_that_the_clock_skips_waits_for_the_next_day() {
        let windows = [window("*-*-* 02:30 Europe/Berlin", 1)];
        let GateState::Closed { opens, .. } = judge(&windows, time("2026-03-28T12:00:00Z")) else {
            panic!()
        };
        assert_eq!(opens, Some(time("2026-03-30T00:30:00Z")));
    }
}
