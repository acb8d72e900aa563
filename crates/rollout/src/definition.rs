//! What a person wants of a rollout.

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::amount::{Amount, Share};
use crate::calendar::Window;
use crate::filter::Filter;
use crate::gates::Gates;

/// Most characters of a rollout's name.
pub const MAX_NAME_CHARS: usize = 128;
/// Most waves of one plan.
pub const MAX_WAVES: usize = 64;
/// Most freeze windows of one rollout.
pub const MAX_WINDOWS: usize = 64;
/// Longest time in seconds that a definition may name: 90 days.
const MAX_SECONDS: u32 = 90 * 86_400;

/// The release that is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The release's name in the server.
    pub release: String,
    /// What a device says that it runs, when it runs this release: an image's digest, or a
    /// version where a client reports no more.
    pub identity: String,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// How many devices may have been offered the release by the end of it, those of the waves
    /// before included.
    pub reach: Amount,
    /// Seconds between the last outcome of this wave and the next wave.
    pub soak: u32,
}

/// The waves of a rollout, and how fast it may go within them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// In order; each reaches at least as far as the one before.
    pub waves: Vec<Wave>,
    /// Most devices that are at it at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Most offers in one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
}

/// What a broken gate does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBrokenGate {
    /// Nobody else gets it, until a person says otherwise.
    #[default]
    Pause,
    /// That, and those who have it go back to what they ran.
    Revert,
}

/// A rollout that starts only when all of a group run something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Barrier {
    /// Who.
    pub group: Filter,
    /// What they must say that they run.
    pub identity: String,
}

/// What a person wants of a rollout. All that is not named has a value that is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What people call it.
    pub name: String,
    /// The release.
    pub target: Target,
    /// The devices that it is for.
    #[serde(default = "all")]
    pub group: Filter,
    /// The waves.
    #[serde(default)]
    pub plan: Plan,
    /// When to stop.
    #[serde(default)]
    pub gates: Gates,
    /// What a broken gate does.
    #[serde(default)]
    pub on_broken_gate: OnBrokenGate,
    /// Seconds within which a device that took the offer must have said how it ended, and after
    /// which one that was well and is not heard of any more counts as silent.
    #[serde(default = "default_deadline")]
    pub deadline: u32,
    /// A device is offered nothing when it was not heard of for this many seconds.
    #[serde(default = "default_seen_within")]
    pub seen_within: u32,
    /// How often a device that failed gets another try. One that rolled back never does by
    /// itself.
    #[serde(default)]
    pub retries: u32,
    /// Each wave waits for a person.
    #[serde(default)]
    pub manual: bool,
    /// Somebody else than the author must agree first.
    #[serde(default)]
    pub needs_approval: bool,
    /// Somebody at the device must agree as well.
    #[serde(default)]
    pub needs_confirmation: bool,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Not before a group runs something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Barrier>,
    /// When nothing is offered and no wave begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<Window>,
    /// Goes on in freeze windows and has a faster plan, when none is given; never one without
    /// limits.
    #[serde(default)]
    pub emergency: bool,
}

const fn all() -> Filter {
    Filter::ALL
}

const fn default_deadline() -> u32 {
    2 * 3600
}

const fn default_seen_within() -> u32 {
    86_400
}

/// Why a definition is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct DefinitionError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Default for Plan {
    /// One device, 1 %, 10 %, 50 %, everybody; an hour after the first wave and the last, four
    /// hours after each of the others: what goes wrong an hour after a start shows on one device.
    fn default() -> Self {
        let share = |percent| Amount::Share(Share::percent(percent));
        let wave = |reach, soak| Wave { reach, soak };
        Self {
            waves: vec![
                wave(Amount::Count(1), 3600),
                wave(share(1), 4 * 3600),
                wave(share(10), 4 * 3600),
                wave(share(50), 4 * 3600),
                wave(share(100), 3600),
            ],
            in_flight: None,
            per_hour: None,
        }
    }
}

impl Plan {
    /// For an emergency: one device, 5 %, 25 %, everybody; ten minutes after each.
    #[must_use]
    pub fn emergency() -> Self {
        let share = |percent| Amount::Share(Share::percent(percent));
        let wave = |reach| Wave { reach, soak: 600 };
        Self {
            waves: vec![
                wave(Amount::Count(1)),
                wave(share(5)),
                wave(share(25)),
                wave(share(100)),
            ],
            in_flight: None,
            per_hour: None,
        }
    }

    /// How many of `total` devices may have been offered the release once wave `index` is open.
    #[must_use]
    pub fn limit(&self, index: usize, total: usize) -> usize {
        self.waves
            .iter()
            .take(index.saturating_add(1))
            .map(|wave| wave.reach.of(total))
            .max()
            .unwrap_or(0)
    }
}

impl Definition {
    /// A rollout with everything at its default.
    #[must_use]
    pub fn new(name: &str, target: Target, group: Filter) -> Self {
        Self {
            name: name.to_owned(),
            target,
            group,
            plan: Plan::default(),
            gates: Gates::default(),
            on_broken_gate: OnBrokenGate::Pause,
            deadline: default_deadline(),
            seen_within: default_seen_within(),
            retries: 0,
            manual: false,
            needs_approval: false,
            needs_confirmation: false,
            not_before: None,
            barrier: None,
            freeze: Vec::new(),
            emergency: false,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let wrong = |field, what: String| Err(DefinitionError { field, what });
        let characters = self.name.chars().count();
        if !(1..=MAX_NAME_CHARS).contains(&characters) {
            let what = format!("{characters} characters; 1 to {MAX_NAME_CHARS} are allowed");
            return wrong("name", what);
        }
        for (field, text) in [
            ("target.release", &self.target.release),
            ("target.identity", &self.target.identity),
        ] {
            if text.is_empty() || text.len() > 256 {
                return wrong(field, format!("{} bytes; 1 to 256 are allowed", text.len()));
            }
        }
        for (field, seconds, least) in [
            ("deadline", self.deadline, 1),
            ("seen_within", self.seen_within, 1),
        ] {
            if !(least..=MAX_SECONDS).contains(&seconds) {
                let what = format!("{seconds} s; {least} to {MAX_SECONDS} are allowed");
                return wrong(field, what);
            }
        }
        if self.retries > 10 {
            return wrong(
                "retries",
                format!("{}; at most 10 are allowed", self.retries),
            );
        }
        if self.freeze.len() > MAX_WINDOWS {
            return wrong("freeze", format!("more than {MAX_WINDOWS} windows"));
        }
        if let Some(what) = self.freeze.iter().find_map(Window::wrong) {
            return wrong("freeze", what);
        }
        self.gates.check()?;
        self.check_plan()
    }

    fn check_plan(&self) -> Result<(), DefinitionError> {
        let wrong = |field, what: String| Err(DefinitionError { field, what });
        let waves = &self.plan.waves;
        if !(1..=MAX_WAVES).contains(&waves.len()) {
            let what = format!("{} waves; 1 to {MAX_WAVES} are allowed", waves.len());
            return wrong("plan.waves", what);
        }
        for wave in waves {
            if wave.soak > MAX_SECONDS {
                return wrong("plan.waves", format!("soak: at most {MAX_SECONDS} s"));
            }
            if matches!(wave.reach, Amount::Count(0))
                || wave.reach == Amount::Share(Share::percent(0))
            {
                return wrong("plan.waves", "a wave reaches nobody".into());
            }
        }
        for pair in waves.windows(2) {
            let [first, second] = pair else { continue };
            let shrinks = match (first.reach, second.reach) {
                (Amount::Count(first), Amount::Count(second)) => second < first,
                (Amount::Share(first), Amount::Share(second)) => second < first,
                _ => false,
            };
            if shrinks {
                let what = format!("{} comes after {}", second.reach, first.reach);
                return wrong("plan.waves", what);
            }
        }
        if self.plan.in_flight == Some(0) || self.plan.per_hour == Some(0) {
            return wrong("plan", "a limit of 0 reaches nobody".into());
        }
        if self.emergency {
            let first = waves.first().map(|wave| wave.reach);
            let small = match first {
                Some(Amount::Count(count)) => count <= 100,
                Some(Amount::Share(share)) => share <= Share::percent(10),
                None => false,
            };
            if waves.len() < 2 || !small {
                let what = "also in an emergency, first at most 100 devices or 10% get it";
                return wrong("plan.waves", what.into());
            }
        }
        Ok(())
    }
}
