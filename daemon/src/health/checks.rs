//! What each check said, and what that means for all of them together.

use switchback_types::Timestamp;

use crate::settings::{CheckSettings, HealthSettings};

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It holds.
    Passing,
    /// It does not.
    Failing,
}

impl Standing {
    /// One word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}

/// What one check said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// Its name, for people.
    pub name: String,
    /// `unit`, `command`, `http`, `bus-name`, `repository`, `boot-complete` or `script`.
    pub kind: &'static str,
    /// Whether it decides; else it only advises.
    pub required: bool,
    /// How it stands.
    pub standing: Standing,
    /// Since when it stands like that.
    pub since: Timestamp,
    /// What it said, in one line; empty if it only holds.
    pub detail: String,
}

/// Asks the outside world.
pub(super) trait Ask {
    /// What a check says now: its detail if it holds.
    ///
    /// # Errors
    /// It does not hold: why.
    fn ask(&mut self, check: &CheckSettings) -> Result<String, String>;

    /// What scripts said that ran by themselves.
    fn scripts(&mut self) -> Vec<CheckState>;
}

/// All checks and what they said.
#[derive(Debug)]
pub(super) struct Checks {
    list: Vec<Known>,
    scripts: Vec<CheckState>,
}

#[derive(Debug)]
struct Known {
    settings: CheckSettings,
    state: CheckState,
    /// In a row, since it held last.
    failures: u32,
}

impl Checks {
    pub(super) fn new(settings: &HealthSettings) -> Self {
        let known = |settings: &CheckSettings| Known {
            state: CheckState {
                name: settings.name.clone(),
                kind: settings.kind.as_str(),
                required: settings.required,
                standing: Standing::Unknown,
                since: Timestamp::EPOCH,
                detail: String::new(),
            },
            settings: settings.clone(),
            failures: 0,
        };
        Self {
            list: settings.checks.iter().map(known).collect(),
            scripts: Vec::new(),
        }
    }

    /// Asks all of them. The verdict is the first required one that does not hold.
    pub(super) fn look(&mut self, now: Timestamp, ask: &mut dyn Ask) -> Result<(), String> {
        self.scripts = ask.scripts();
        for check in &mut self.list {
            let answer = ask.ask(&check.settings);
            check.take(answer, now);
        }
        let mut all = self
            .scripts
            .iter()
            .chain(self.list.iter().map(|known| &known.state));
        match all.find(|state| state.required && state.standing != Standing::Passing) {
            None => Ok(()),
            Some(state) => Err(match state.kind {
                "command" | "http" | "script" => {
                    format!("check {:?}: {}", state.name, state.detail)
                }
                _ => state.detail.clone(),
            }),
        }
    }

    pub(super) fn states(&self) -> Vec<CheckState> {
        let own = self.list.iter().map(|known| known.state.clone());
        self.scripts.iter().cloned().chain(own).collect()
    }
}

impl Known {
    fn take(&mut self, answer: Result<String, String>, now: Timestamp) {
        let (standing, detail) = match answer {
            Ok(detail) => {
                self.failures = 0;
                (Standing::Passing, detail)
            }
            Err(detail) => {
                self.failures = self.failures.saturating_add(1);
                let retries = self.settings.retries;
                if self.state.standing == Standing::Passing && self.failures <= retries {
                    let text = format!("failed {} of {retries} times: {detail}", self.failures);
                    (Standing::Passing, text)
                } else {
                    (Standing::Failing, detail)
                }
            }
        };
        if standing != self.state.standing {
            self.state.standing = standing;
            self.state.since = now;
        }
        self.state.detail = detail;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::settings::CheckKind;

    /// Checks that fail are named here.
    #[derive(Default)]
    struct World {
        failing: BTreeMap<String, &'static str>,
        scripts: Vec<CheckState>,
    }

    impl Ask for World {
        fn ask(&mut self, check: &CheckSettings) -> Result<String, String> {
            match self.failing.get(&check.name) {
                Some(why) => Err((*why).into()),
                None => Ok(String::new()),
            }
        }

        fn scripts(&mut self) -> Vec<CheckState> {
            self.scripts.clone()
        }
    }

    fn check(name: &str, required: bool, retries: u32) -> CheckSettings {
        CheckSettings {
            name: name.into(),
            required,
            retries,
            timeout: Duration::from_secs(1),
            kind: CheckKind::Unit(name.into()),
        }
    }

    fn checks(list: Vec<CheckSettings>) -> Checks {
        Checks::new(&HealthSettings {
            checks: list,
            ..HealthSettings::default()
        })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn advisory_ones_are_shown_and_decide_nothing() {
        let mut checks = checks(vec![check("kiosk", true, 0), check("leds", false, 0)]);
        let mut world = World::default();
        assert!(
            checks
                .states()
                .iter()
                .all(|state| state.standing == Standing::Unknown)
        );
        world.failing.insert("leds".into(), "leds is failed");
        checks.look(at(5), &mut world).unwrap();
        let states = checks.states();
        assert_eq!(states[1].standing, Standing::Failing);
        assert_eq!(states[1].detail, "leds is failed");
        world.failing.insert("kiosk".into(), "kiosk is activating");
        assert_eq!(
            checks.look(at(6), &mut world).unwrap_err(),
            "kiosk is activating"
        );
    }

    #[test]
    fn since_is_when_it_changed_not_when_it_was_asked() {
        let mut checks = checks(vec![check("kiosk", true, 0)]);
        let mut world = World::default();
        for seconds in [5, 6, 7] {
            checks.look(at(seconds), &mut world).unwrap();
        }
        assert_eq!(checks.states()[0].since, at(5));
        world.failing.insert("kiosk".into(), "one");
        checks.look(at(8), &mut world).unwrap_err();
        world.failing.insert("kiosk".into(), "two");
        checks.look(at(9), &mut world).unwrap_err();
        let state = checks.states().remove(0);
        assert_eq!((state.since, state.detail.as_str()), (at(8), "two"));
    }

    #[test]
    fn retries_overlook_so_many_failures_of_what_held() {
        let mut checks = checks(vec![check("flaps", true, 2)]);
        let mut world = World::default();
        // What never held is not overlooked.
        world.failing.insert("flaps".into(), "no answer");
        checks.look(at(1), &mut world).unwrap_err();
        world.failing.clear();
        checks.look(at(2), &mut world).unwrap();
        world.failing.insert("flaps".into(), "no answer");
        checks.look(at(3), &mut world).unwrap();
        assert_eq!(checks.states()[0].detail, "failed 1 of 2 times: no answer");
        checks.look(at(4), &mut world).unwrap();
        checks.look(at(5), &mut world).unwrap_err();
        // It has to hold again first.
        checks.look(at(6), &mut world).unwrap_err();
    }

    #[test]
    fn scripts_count_as_their_directory_says() {
        let mut checks = checks(Vec::new());
        let script = |name: &str, required, standing| CheckState {
            name: name.into(),
            kind: "script",
            required,
            standing,
            since: at(1),
            detail: "exit status: 1".into(),
        };
        let mut world = World {
            scripts: vec![script("10-leds.sh", false, Standing::Failing)],
            ..World::default()
        };
        checks.look(at(1), &mut world).unwrap();
        world
            .scripts
            .push(script("20-disk.sh", true, Standing::Failing));
        let error = checks.look(at(2), &mut world).unwrap_err();
        assert_eq!(error, "check \"20-disk.sh\": exit status: 1");
        assert_eq!(checks.states().len(), 2);
    }
}
