//! The target slot is being written, or verified.

use alloc::string::ToString;

use super::{
    Draft, check, look_around, ordinary_health_failed, ordinary_health_passed, refuse, settle,
    write,
};
use crate::effect::{Effect, Notice};
use crate::event::{Event, Facts};
use crate::outcome::{InstallFailure, Outcome};
use crate::slot::SlotContent;
use crate::state::{Attempt, AttemptKind, Phase};

pub(super) fn step(mut draft: Draft, attempt: Attempt, event: &Event, facts: &Facts) -> Draft {
    match event {
        // A restart cut the work short. Nothing of it is remembered but its action and that the
        // slot is not whole: the next poll finds the release again, and the writer finds in the
        // slot itself how far it came.
        Event::Started(_) if attempt.kind == AttemptKind::Update => {
            draft.state.interrupted = Some(attempt.clone());
            let draft = draft
                .to(Phase::Idle)
                .say(Notice::InstallInterrupted(attempt));
            look_around(draft, facts).then(Effect::Poll)
        }
        // The slot is still noted as damaged; the person who wanted it repaired asks again.
        Event::Started(observation) if attempt.kind == AttemptKind::Repair => {
            let draft = draft.say(Notice::InstallInterrupted(attempt.clone()));
            let draft = check::keep_out(look_around(draft, facts), observation, facts);
            let outcome = Outcome::Failed(InstallFailure::Interrupted);
            settle(draft, attempt, outcome, facts)
        }
        // Nobody would ask again for the others: they are taken up where they stood.
        Event::Started(_) if facts.booted != attempt.target => {
            look_around(draft, facts).then(Effect::VerifySlot(attempt))
        }
        Event::Started(_) => {
            let outcome = Outcome::Failed(InstallFailure::Interrupted);
            settle(look_around(draft, facts), attempt, outcome, facts)
        }
        Event::SlotVerified if attempt.kind == AttemptKind::Repair => {
            check::repaired(draft, attempt, facts)
        }
        Event::SlotVerified => {
            let record = draft.state.slot_mut(attempt.target);
            record.content = SlotContent::Holds {
                image: attempt.image.clone(),
            };
            record.checked = Some(facts.now);
            let arm = Effect::Arm {
                slot: attempt.target,
                tries: attempt.tries,
            };
            draft
                .to(Phase::Staged {
                    attempt: attempt.clone(),
                })
                .say(Notice::Staged(attempt))
                .then(arm)
        }
        Event::InstallFailed(failure) => failed(draft, attempt, failure, facts),
        Event::BootWriteFailed { detail } => {
            let failure = InstallFailure::BootEnvironment {
                detail: detail.clone(),
            };
            failed(draft, attempt, &failure, facts)
        }
        Event::CancelRequested => draft.then(Effect::CancelWork),
        Event::HealthPassed => ordinary_health_passed(draft, facts),
        Event::HealthFailed { detail } => ordinary_health_failed(draft, detail),
        Event::RollBackRequested { .. } => refuse(
            draft,
            "the other slot is being written: cancel the update first, or wait for it".to_string(),
        ),
        Event::RestartRequested => refuse(
            draft,
            "the other slot is not ready yet: the restart follows when it is".to_string(),
        ),
        other => check::refuse_repair(draft, other),
    }
}

fn failed(mut draft: Draft, attempt: Attempt, failure: &InstallFailure, facts: &Facts) -> Draft {
    let mut failure = failure.clone();
    if let InstallFailure::SlotChanged { detail } = &failure {
        let update = attempt.kind == AttemptKind::Update;
        // The image was thought to be there and is not: for an update, fetch what differs.
        if update && attempt.flip_only {
            return write(
                draft,
                Attempt {
                    flip_only: false,
                    ..attempt
                },
            );
        }
        draft = check::damaged(draft, attempt.target, attempt.image.clone(), detail, facts);
        if !update {
            failure = check::refusal_to_flip(&attempt, detail);
        }
    }
    let outcome = Outcome::Failed(failure.clone());
    let detail = failure.to_string();
    let draft = draft.say(Notice::InstallFailed {
        attempt: attempt.clone(),
        detail,
    });
    settle(draft, attempt, outcome, facts)
}
