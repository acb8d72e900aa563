//! When nothing may begin.

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A time in which nothing begins, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Window {
    /// Once.
    Once {
        /// From this second.
        from: Timestamp,
        /// Until before this one.
        until: Timestamp,
    },
    /// Every week.
    Weekly {
        /// On these days.
        days: Vec<Day>,
        /// From this minute of the day.
        from_minute: u16,
        /// Until before this one, up to 1440. A window over midnight is two windows.
        until_minute: u16,
    },
}

const DAY: i64 = 86_400;

impl Window {
    /// What is wrong with it.
    pub(crate) fn wrong(&self) -> Option<String> {
        match self {
            Self::Once { from, until } if until <= from => {
                Some(format!("{until} is not after {from}"))
            }
            Self::Weekly { days, .. } if days.is_empty() || days.len() > 7 => {
                Some("1 to 7 days are allowed".into())
            }
            Self::Weekly {
                from_minute,
                until_minute,
                ..
            } if until_minute <= from_minute || *until_minute > 1440 => {
                Some(format!("minutes {from_minute} to {until_minute}"))
            }
            _ => None,
        }
    }

    /// Whether `now` lies in it.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        match self {
            Self::Once { from, until } => (*from..*until).contains(&now),
            Self::Weekly {
                days,
                from_minute,
                until_minute,
            } => {
                let minute = now.unix() % DAY / 60;
                // The first day of 1970 was a Thursday.
                let today = match (now.unix() / DAY + 3) % 7 {
                    0 => Day::Monday,
                    1 => Day::Tuesday,
                    2 => Day::Wednesday,
                    3 => Day::Thursday,
                    4 => Day::Friday,
                    5 => Day::Saturday,
                    _ => Day::Sunday,
                };
                days.contains(&today)
                    && (i64::from(*from_minute)..i64::from(*until_minute)).contains(&minute)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekly_and_once() {
        // A Wednesday.
        let noon: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let weekly = |days: &[Day], from_minute, until_minute| Window::Weekly {
            days: days.to_vec(),
            from_minute,
            until_minute,
        };
        assert!(weekly(&[Day::Wednesday], 720, 721).contains(noon));
        assert!(!weekly(&[Day::Wednesday], 0, 720).contains(noon));
        assert!(!weekly(&[Day::Tuesday, Day::Thursday], 0, 1440).contains(noon));
        let once = Window::Once {
            from: noon,
            until: noon.plus_seconds(1),
        };
        assert!(once.contains(noon) && !once.contains(noon.plus_seconds(1)));
        assert!(weekly(&[Day::Monday], 10, 10).wrong().is_some());
        let text = r#"{"from":"2026-11-25T12:00:00Z","until":"2026-11-25T12:00:01Z"}"#;
        assert_eq!(serde_json::from_str::<Window>(text).unwrap(), once);
    }
}
