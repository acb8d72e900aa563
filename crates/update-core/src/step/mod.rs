//! The transition table. One module per phase; here, what every phase answers alike.

mod check;
mod idle;
mod installing;
mod reporting;
mod staged;
mod trial;

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::{ActionId, Timestamp, Version};

pub use self::check::{RepairRefusal, repair_target};
pub use self::idle::{RollBackRefusal, roll_back_target};
use crate::effect::{Effect, HealthPurpose, Notice, Step};
use crate::event::{Event, Facts};
use crate::outcome::Outcome;
use crate::slot::{ImageIdentity, SlotContent};
use crate::state::{Attempt, AttemptKind, Hold, Phase, Pin, State};

/// The next state, and what to do once it is durable.
///
/// Total: every phase answers every event, if only by changing nothing. Which pairs mean
/// something is written down in the snapshot `transitions` beside the tests.
#[must_use]
pub fn step(state: &State, event: &Event, facts: &Facts) -> Step {
    let draft = Draft::new(state);
    match event {
        // Holds and marks are a person's word; they stand in every phase.
        Event::HoldRequested { reason, until } => hold(draft, reason, *until, facts),
        Event::HoldReleased => release_hold(draft),
        Event::PinRequested { version, reason } => pin(draft, version, reason, facts),
        Event::PinReleased => unpin(draft),
        Event::Approved { sha256 } => {
            let mut draft = draft;
            draft.state.approved = Some(*sha256);
            draft
                .say(Notice::Approved { sha256: *sha256 })
                .then(Effect::Poll)
        }
        Event::RetryAllowed { sha256 } => {
            let mut draft = draft;
            draft.state.failed.retain(|failed| failed.sha256 != *sha256);
            draft.then(Effect::Poll)
        }
        Event::Identified { slot, image } => {
            let mut draft = draft;
            // What is known for certain stays; an image from the factory may turn out to be a
            // release.
            let record = draft.state.slot(*slot);
            let open = record.content == SlotContent::Unknown
                || record.image().is_some_and(|known| known.sequence == 0);
            if open {
                draft.state.slot_mut(*slot).content = SlotContent::Holds {
                    image: image.clone(),
                };
            }
            draft
        }
        // Noted only after the boot environment says so: the proof of contact counts on it.
        Event::MarkedGood if !is_trial(state, facts) => {
            let mut draft = draft;
            draft.state.slot_mut(facts.booted).good = true;
            draft
        }
        other => match state.phase.clone() {
            Phase::Idle => idle::step(draft, other, facts),
            Phase::Installing { attempt } => installing::step(draft, attempt, other, facts),
            Phase::Staged { attempt } => staged::step(draft, attempt, other, facts),
            Phase::OnTrial {
                attempt,
                armed_in,
                daemon_ran,
                given_back,
                verdict,
            } => trial::step(
                draft,
                trial::Trial {
                    attempt,
                    armed_in,
                    daemon_ran,
                    given_back,
                    verdict,
                },
                other,
                facts,
            ),
            Phase::Reporting { attempt, outcome } => {
                reporting::step(draft, &attempt, &outcome, other, facts)
            }
        },
    }
    .finish()
}

/// A step being put together.
struct Draft {
    state: State,
    effects: Vec<Effect>,
}

impl Draft {
    fn new(state: &State) -> Self {
        Self {
            state: state.clone(),
            effects: Vec::new(),
        }
    }

    fn to(mut self, phase: Phase) -> Self {
        self.state.phase = phase;
        self
    }

    fn then(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    fn say(self, notice: Notice) -> Self {
        self.then(Effect::Emit(notice))
    }

    fn finish(self) -> Step {
        Step {
            next: self.state,
            effects: self.effects,
        }
    }
}

fn hold(mut draft: Draft, reason: &str, until: Option<Timestamp>, facts: &Facts) -> Draft {
    draft.state.hold = Some(Hold {
        reason: reason.into(),
        since: facts.now,
        until,
    });
    // What is only being written is not wanted any more; what is armed or on trial goes on, and
    // `cancel` or `rollback` end that.
    let writing = matches!(
        &draft.state.phase,
        Phase::Installing { attempt } if attempt.kind == AttemptKind::Update
    );
    if writing {
        draft.effects.push(Effect::CancelWork);
    }
    draft.say(Notice::Held {
        reason: reason.into(),
    })
}

fn release_hold(mut draft: Draft) -> Draft {
    if draft.state.hold.take().is_none() {
        return draft;
    }
    draft.say(Notice::HoldReleased).then(Effect::Poll)
}

/// Only this version may come. What is being written stays wanted only if it is that one.
fn pin(mut draft: Draft, version: &Version, reason: &str, facts: &Facts) -> Draft {
    draft.state.pin = Some(Pin {
        version: version.clone(),
        reason: reason.into(),
        since: facts.now,
    });
    let other = matches!(
        &draft.state.phase,
        Phase::Installing { attempt }
            if attempt.kind == AttemptKind::Update && attempt.image.version != *version
    );
    if other {
        draft.effects.push(Effect::CancelWork);
    }
    draft
        .say(Notice::Pinned {
            version: version.clone(),
            reason: reason.into(),
        })
        .then(Effect::Poll)
}

fn unpin(mut draft: Draft) -> Draft {
    if draft.state.pin.take().is_none() {
        return draft;
    }
    draft.say(Notice::Unpinned).then(Effect::Poll)
}

/// What a starting daemon does in every phase that is not a trial: look at the slot it runs
/// from, judge its health, and notice when the wrong slot runs.
fn look_around(mut draft: Draft, facts: &Facts) -> Draft {
    if draft.state.primary.is_none() {
        draft.state.primary = Some(facts.booted);
    }
    if draft.state.slot(facts.booted).content == SlotContent::Unknown {
        draft.effects.push(Effect::Identify(facts.booted));
    }
    if let Some(expected) = draft
        .state
        .primary
        .filter(|primary| *primary != facts.booted)
    {
        let version = draft
            .state
            .slot(expected)
            .image()
            .map(|image| image.version.clone());
        draft = draft.say(Notice::UnexpectedSlot {
            expected,
            booted: facts.booted,
            version,
        });
    }
    draft.then(Effect::RunHealthChecks(HealthPurpose::Ordinary))
}

/// The health of a slot that is not on trial was proven for this boot.
fn ordinary_health_passed(draft: Draft, facts: &Facts) -> Draft {
    draft.then(Effect::MarkGood(facts.booted))
}

/// Whether this boot is a trial whose health decides.
fn is_trial(state: &State, facts: &Facts) -> bool {
    matches!(&state.phase, Phase::OnTrial { attempt, .. } if attempt.target == facts.booted)
}

/// The health of a slot that is not on trial is bad. The device stays up, degraded and reachable:
/// a restart would heal nothing, and two unhealthy slots must not take turns for ever.
fn ordinary_health_failed(draft: Draft, detail: &str) -> Draft {
    draft.say(Notice::Degraded {
        detail: detail.into(),
    })
}

/// Settle an outcome: remembered, written into the history, and to be reported.
fn settle(mut draft: Draft, attempt: Attempt, outcome: Outcome, facts: &Facts) -> Draft {
    draft.state.write_history(&attempt, &outcome, facts.now);
    draft
        .to(Phase::Reporting {
            attempt: attempt.clone(),
            outcome: outcome.clone(),
        })
        .then(Effect::Report { attempt, outcome })
}

fn new_attempt(
    state: &State,
    action: ActionId,
    kind: AttemptKind,
    image: ImageIdentity,
    flip_only: bool,
    facts: &Facts,
) -> Attempt {
    Attempt {
        action,
        kind,
        image,
        from: state
            .slot(facts.booted)
            .image()
            .map(|image| image.version.clone()),
        target: facts.booted.other(),
        tries: facts.tries.max(1),
        started: facts.now,
        flip_only,
        trace: None,
    }
}

/// Begin an attempt whose image the inactive slot already holds: verify, then flip.
fn flip(draft: Draft, attempt: Attempt) -> Draft {
    draft
        .to(Phase::Installing {
            attempt: attempt.clone(),
        })
        .say(Notice::FlipOnly(attempt.clone()))
        .then(Effect::VerifySlot(attempt))
}

/// Begin an attempt that writes the inactive slot.
fn write(mut draft: Draft, attempt: Attempt) -> Draft {
    let record = draft.state.slot_mut(attempt.target);
    record.content = SlotContent::Writing;
    record.good = false;
    record.checked = None;
    draft
        .to(Phase::Installing {
            attempt: attempt.clone(),
        })
        .say(Notice::InstallStarted(attempt.clone()))
        .then(Effect::InvalidateSlot(attempt.target))
        .then(Effect::WriteSlot(attempt))
}

fn refuse(draft: Draft, detail: String) -> Draft {
    draft.say(Notice::Refused { detail })
}
