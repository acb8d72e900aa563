//! The five questions, answered aloud before anything is installed.
//!
//! Is there an update? Do we want it? Is the risk right now acceptable? Do we trust it? Can we
//! verify it? Each answer is a value with a reason that a person understands, and, where the
//! answer is no, what would change it.

use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};
use switchback_types::{ByteCount, SlotName, Timestamp, Version};

use crate::slot::ImageIdentity;
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
}

impl Verdict {
    fn yes(code: &str, reason: impl Into<String>) -> Self {
        Self {
            answer: Answer::Yes,
            code: code.into(),
            reason: reason.into(),
            way_out: None,
        }
    }

    fn no(code: &str, reason: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            answer: Answer::No,
            code: code.into(),
            reason: reason.into(),
            way_out: Some(way_out.into()),
        }
    }

    fn not_asked() -> Self {
        Self {
            answer: Answer::NotAsked,
            code: "not-asked".into(),
            reason: "nothing to ask about".into(),
            way_out: None,
        }
    }
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

/// A release that the repository names for this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its image.
    pub image: ImageIdentity,
    /// Whether the channel allows going back to an older release.
    pub allow_downgrade: bool,
    /// Whether the channel is halted.
    pub halted: bool,
    /// The first of this device's kinds that the release lists, or what it lists instead.
    pub compatible: Result<String, String>,
    /// Whether the running slot, of unknown origin, turned out to hold this very image.
    pub runs_already: bool,
    /// The release that the channel names, if this one comes before it on the way there.
    pub toward: Option<Version>,
    /// What must run before it may be installed: that release or a later one.
    pub requires: Option<Requires>,
    /// A paper that this device requires of a release and that this one does not carry.
    pub lacks: Option<&'static str>,
}

/// A release that comes before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requires {
    /// What people call it.
    pub version: Version,
    /// Its place in the line of releases.
    pub sequence: u64,
}

/// What asking the repository gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryAnswer {
    /// Verified metadata names a release.
    Release(Candidate),
    /// Verified metadata names no release for this device.
    Nothing {
        /// What was looked for.
        detail: String,
    },
    /// It could not be asked.
    Unreachable {
        /// What happened, naming the URL.
        detail: String,
    },
    /// It answered with something that is not trusted.
    Untrusted {
        /// What is wrong, naming the file.
        detail: String,
    },
    /// Its metadata has expired: kept, but nothing is installed from it.
    Stale {
        /// Which role, and since when.
        detail: String,
    },
}

/// An install that failed, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Not before this time.
    pub until: Timestamp,
    /// What went wrong.
    pub detail: String,
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
}

/// Answers the five questions.
#[must_use]
pub fn decide(inputs: &DecisionInputs<'_>) -> Decision {
    let mut decision = Decision {
        at: inputs.now,
        version: None,
        available: Verdict::not_asked(),
        wanted: Verdict::not_asked(),
        risk: Verdict::not_asked(),
        trusted: Verdict::not_asked(),
        verifiable: Verdict::not_asked(),
    };
    let candidate = match &inputs.repository {
        RepositoryAnswer::Release(candidate) => candidate,
        RepositoryAnswer::Nothing { detail } => {
            decision.available = Verdict::no(
                "nothing-offered",
                detail.as_str(),
                "publish a release into this device's channel",
            );
            return decision;
        }
        RepositoryAnswer::Unreachable { detail } => {
            decision.available = Verdict::no(
                "unreachable",
                detail.as_str(),
                "the device goes on asking by itself; check the network and the address",
            );
            return decision;
        }
        RepositoryAnswer::Untrusted { detail } => {
            decision.trusted = Verdict::no(
                "untrusted",
                detail.as_str(),
                "nothing was installed; publish the repository again with its own keys",
            );
            return decision;
        }
        RepositoryAnswer::Stale { detail } => {
            decision.trusted = Verdict::no(
                "stale",
                detail.as_str(),
                "the device goes on asking; sign fresh metadata (`switchback-repo refresh`)",
            );
            return decision;
        }
    };
    let image = &candidate.image;
    decision.version = Some(image.version.clone());
    decision.available = available(inputs, candidate);
    if decision.available.answer != Answer::Yes {
        return decision;
    }
    decision.wanted = wanted(inputs, candidate);
    if decision.wanted.answer != Answer::Yes {
        return decision;
    }
    decision.risk = risk(inputs);
    if decision.risk.answer != Answer::Yes {
        return decision;
    }
    decision.trusted = trusted(inputs, candidate);
    if decision.trusted.answer != Answer::Yes {
        return decision;
    }
    decision.verifiable = verifiable(inputs, image);
    decision
}

fn available(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let image = &candidate.image;
    let running = inputs.state.slot(inputs.booted).image();
    let same = running.is_some_and(|running| running.sha256 == image.sha256);
    if same || candidate.runs_already {
        return Verdict::no(
            "up-to-date",
            format!("version {} runs already", image.version),
            "publish a newer release into this device's channel",
        );
    }
    let named = candidate.toward.as_ref().unwrap_or(&image.version);
    let mut text = format!("version {named} is published");
    if let Some(running) = running {
        text = format!("{text}, {} runs", running.version);
    }
    if candidate.toward.is_some() {
        text = format!("{text}; version {} comes before it", image.version);
    }
    Verdict::yes("available", text)
}

fn wanted(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let image = &candidate.image;
    if let Some(hold) = &inputs.state.hold {
        return Verdict::no(
            "held",
            format!("held since {}: {}", hold.since, hold.reason),
            "`switchback unhold` lets updates go on",
        );
    }
    if candidate.halted {
        return Verdict::no(
            "halted",
            "the channel is halted by its publisher",
            "the publisher resumes it (`switchback-repo channel set --resume`)",
        );
    }
    if let Some(failed) = inputs.state.failure_of(&image.sha256) {
        return Verdict::no(
            "known-bad",
            format!(
                "version {} failed here on {}: {}",
                image.version, failed.at, failed.reason
            ),
            "publish a corrected release, or `switchback update --retry` to try it once more",
        );
    }
    let running = inputs
        .state
        .slot(inputs.booted)
        .image()
        .map_or(0, |running| running.sequence);
    if image.sequence < running && !candidate.allow_downgrade {
        return Verdict::no(
            "older",
            format!(
                "release number {} is older than the running {running}, and the channel does not \
                 allow going back",
                image.sequence
            ),
            "publish with `--allow-downgrade`, or `switchback rollback` on the device",
        );
    }
    Verdict::yes(
        "wanted",
        "the channel names it, nobody holds the device, it has not failed here",
    )
}

fn risk(inputs: &DecisionInputs<'_>) -> Verdict {
    if let Some(attempt) = inputs.state.phase.attempt() {
        return Verdict::no(
            "busy",
            format!(
                "version {} is {}",
                attempt.image.version,
                inputs.state.phase.kind()
            ),
            "wait for it to end",
        );
    }
    if let Some(pause) = inputs
        .pause
        .as_ref()
        .filter(|pause| inputs.now < pause.until)
    {
        return Verdict::no(
            "waiting",
            format!(
                "the last attempt failed ({}); the next is made after {}",
                pause.detail, pause.until
            ),
            "`switchback update` tries at once",
        );
    }
    match &inputs.health {
        Ok(()) => Verdict::yes(
            "acceptable",
            "the running system is healthy, nothing else is under way",
        ),
        Err(detail) => Verdict::no(
            "not-healthy",
            detail.as_str(),
            "an update starts only from a healthy system, so that there is one to come back to",
        ),
    }
}

fn trusted(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let image = &candidate.image;
    if let Err(lists) = &candidate.compatible {
        return Verdict::no(
            "wrong-product",
            lists.as_str(),
            "publish an image made for this device, or correct `device.compatible`",
        );
    }
    if image.security_epoch < inputs.state.floor {
        return Verdict::no(
            "below-floor",
            format!(
                "security epoch {} is below this device's floor {}",
                image.security_epoch, inputs.state.floor
            ),
            "publish it with a higher security epoch; the floor never goes down",
        );
    }
    if let Some(paper) = candidate.lacks {
        return Verdict::no(
            "papers-missing",
            format!(
                "version {} carries no {paper}, which this device requires",
                image.version
            ),
            format!("publish it with `--{paper}`, or correct `device.require`"),
        );
    }
    let running = inputs.state.slot(inputs.booted).image();
    if let Some(requires) = &candidate.requires
        && running.is_none_or(|running| running.sequence < requires.sequence)
    {
        return Verdict::no(
            "too-early",
            format!(
                "version {} may follow only on version {} or a later one",
                image.version, requires.version
            ),
            format!(
                "install version {} first; a channel leads there by itself",
                requires.version
            ),
        );
    }
    Verdict::yes(
        "trusted",
        "signed by the release role, fresh, made for this device",
    )
}

fn verifiable(inputs: &DecisionInputs<'_>, image: &ImageIdentity) -> Verdict {
    let slot = inputs.booted.other();
    match &inputs.slot_size {
        Err(detail) => {
            return Verdict::no(
                "slot-unusable",
                detail.as_str(),
                "correct the slot's device in the configuration (`switchback config check`)",
            );
        }
        Ok(size) if *size < image.size => {
            return Verdict::no(
                "slot-too-small",
                format!(
                    "the image has {} bytes ({}), slot {slot} has {size} ({})",
                    image.size,
                    ByteCount(image.size),
                    ByteCount(*size)
                ),
                "publish a smaller image, or repartition the device",
            );
        }
        Ok(_) => {}
    }
    if let Err(detail) = &inputs.boot_environment {
        return Verdict::no(
            "boot-environment",
            detail.as_str(),
            "put the boot environment right as said; nothing was written",
        );
    }
    Verdict::yes(
        "verifiable",
        format!(
            "every segment has a signed digest, slot {slot} fits, the boot environment is ours"
        ),
    )
}
