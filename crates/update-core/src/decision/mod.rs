//! The five questions, answered aloud before anything is installed.
//!
//! Is there an update? Do we want it? Is the risk right now acceptable? Do we trust it? Can we
//! verify it? Each answer is a value with a reason that a person understands, and, where the
//! answer is no, what would change it.

mod answers;
mod offer;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use switchback_types::{SlotName, Timestamp, Version};

pub use self::answers::decide;
pub use self::offer::{Candidate, Pause, RepositoryAnswer, Requires};
use crate::gate::Gate;
use crate::state::State;

/// Which question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// Is there an update?
    Available,
    /// Do we want it?
    Wanted,
    /// Is the risk right now acceptable?
    Risk,
    /// Do we trust it?
    Trusted,
    /// Can we verify it?
    Verifiable,
}

impl Question {
    /// Its word on D-Bus, in `--json` output and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Wanted => "wanted",
            Self::Risk => "risk",
            Self::Trusted => "trusted",
            Self::Verifiable => "verifiable",
        }
    }
}

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Go on.
    Yes,
    /// Stop here.
    No,
    /// Not reached: an earlier answer was no, or there was nothing to ask about.
    NotAsked,
}

/// One answer with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub answer: Answer,
    /// A stable word for programs (`up-to-date`, `held`, `known-bad`, …).
    pub code: String,
    /// The reason, in words.
    pub reason: String,
    /// What would change it, where the answer is no.
    pub way_out: Option<String>,
    /// Since when the question is answered in this way.
    pub since: Timestamp,
    /// When it is asked again, where the answer is no.
    pub again: Option<Timestamp>,
}

impl Verdict {
    fn yes(code: &str, reason: impl Into<String>) -> Self {
        Self {
            answer: Answer::Yes,
            code: code.into(),
            reason: reason.into(),
            way_out: None,
            since: Timestamp::EPOCH,
            again: None,
        }
    }

    fn no(code: &str, reason: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            answer: Answer::No,
            way_out: Some(way_out.into()),
            ..Self::yes(code, reason)
        }
    }

    fn not_asked() -> Self {
        Self {
            answer: Answer::NotAsked,
            ..Self::yes("not-asked", "nothing to ask about")
        }
    }

    const fn asked_again(mut self, at: Option<Timestamp>) -> Self {
        self.again = at;
        self
    }
}

/// A person's word that an update is wanted, or its risk taken, whatever stands in the way.
/// Trust and verifiability are never overridden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Why.
    pub reason: String,
}

/// All five answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When they were given.
    pub at: Timestamp,
    /// The version they are about, if the repository names one.
    pub version: Option<Version>,
    /// Is there an update?
    pub available: Verdict,
    /// Do we want it?
    pub wanted: Verdict,
    /// Is the risk right now acceptable?
    pub risk: Verdict,
    /// Do we trust it?
    pub trusted: Verdict,
    /// Can we verify it?
    pub verifiable: Verdict,
    /// The gates that were asked, open and closed.
    pub gates: Vec<Gate>,
}

impl Decision {
    /// Whether every answer is yes.
    #[must_use]
    pub fn is_go(&self) -> bool {
        self.questions()
            .iter()
            .all(|(_, verdict)| verdict.answer == Answer::Yes)
    }

    /// The first answer that stopped it.
    #[must_use]
    pub fn stopped_by(&self) -> Option<(Question, &Verdict)> {
        self.questions()
            .into_iter()
            .find(|(_, verdict)| verdict.answer == Answer::No)
    }

    /// What stays the same keeps the time since when it is so; a no without a time of its own is
    /// asked again with the next poll.
    fn dated(mut self, before: Option<&Self>, next_poll: Timestamp) -> Self {
        let at = self.at;
        let known = before.map(Self::questions);
        let verdicts = [
            &mut self.available,
            &mut self.wanted,
            &mut self.risk,
            &mut self.trusted,
            &mut self.verifiable,
        ];
        for (index, verdict) in verdicts.into_iter().enumerate() {
            let known = known.as_ref().and_then(|known| known.get(index));
            let same = known.filter(|(_, known)| {
                known.answer == verdict.answer && known.code == verdict.code && known.since <= at
            });
            verdict.since = same.map_or(at, |(_, known)| known.since);
            if verdict.answer == Answer::No {
                verdict.again = Some(verdict.again.unwrap_or(next_poll));
            }
        }
        self
    }

    /// The answers in the order in which they are asked.
    #[must_use]
    pub const fn questions(&self) -> [(Question, &Verdict); 5] {
        [
            (Question::Available, &self.available),
            (Question::Wanted, &self.wanted),
            (Question::Risk, &self.risk),
            (Question::Trusted, &self.trusted),
            (Question::Verifiable, &self.verifiable),
        ]
    }
}

/// Everything the decision looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionInputs<'a> {
    /// The time.
    pub now: Timestamp,
    /// The slot that runs.
    pub booted: SlotName,
    /// The durable state.
    pub state: &'a State,
    /// What the repository said.
    pub repository: RepositoryAnswer,
    /// Set while a failed install of this very image is not to be tried again yet.
    pub pause: Option<Pause>,
    /// Whether this boot's health was proven; `Err` says what is not healthy or not known yet.
    pub health: Result<(), String>,
    /// Bytes in the inactive slot; `Err` says why it cannot be used.
    pub slot_size: Result<u64, String>,
    /// Whether the boot environment can be written and is the one that the bootloader reads.
    pub boot_environment: Result<(), String>,
    /// The gates, as they were found.
    pub gates: Vec<Gate>,
    /// Whether an update waits for a person's consent.
    pub consent_required: bool,
    /// Set when a person insists.
    pub overridden: Option<Override>,
    /// When the repository is asked next.
    pub next_poll: Timestamp,
    /// The decision before this one.
    pub before: Option<&'a Decision>,
}
