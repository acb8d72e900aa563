//! The target slot is verified; the boot environment is being written.

use alloc::string::ToString;

use super::trial::{self, Trial};
use super::{
    Draft, check, look_around, ordinary_health_failed, ordinary_health_passed, refuse, settle,
};
use crate::effect::{Effect, Notice, RestartCause};
use crate::event::{BootObservation, Event, Facts, SlotBoot};
use crate::outcome::{InstallFailure, Outcome};
use crate::state::{Attempt, Phase};

pub(super) fn step(draft: Draft, attempt: Attempt, event: &Event, facts: &Facts) -> Draft {
    match event {
        Event::Started(observation) => started(draft, attempt, observation, facts),
        Event::Armed => {
            let phase = Phase::OnTrial {
                attempt: attempt.clone(),
                armed_in: Some(facts.boot_id.clone()),
                daemon_ran: false,
                given_back: 0,
                verdict: None,
            };
            let cause = RestartCause::of(&attempt);
            let draft = draft.to(phase).say(Notice::Armed(attempt));
            if facts.restart_automatically {
                draft.then(Effect::Restart(cause))
            } else {
                draft
            }
        }
        Event::BootWriteFailed { detail } => {
            let failure = InstallFailure::BootEnvironment {
                detail: detail.clone(),
            };
            let notice = Notice::InstallFailed {
                attempt: attempt.clone(),
                detail: failure.to_string(),
            };
            settle(draft.say(notice), attempt, Outcome::Failed(failure), facts)
        }
        Event::HealthPassed => ordinary_health_passed(draft, facts),
        Event::HealthFailed { detail } => ordinary_health_failed(draft, detail),
        Event::CancelRequested | Event::RollBackRequested { .. } | Event::RestartRequested => {
            refuse(
                draft,
                "the slot is being armed at this moment: ask again".to_string(),
            )
        }
        other => check::refuse_repair(draft, other),
    }
}

/// The boot environment is the truth about what happened after "staged" was noted down.
fn started(draft: Draft, attempt: Attempt, observation: &BootObservation, facts: &Facts) -> Draft {
    let armed_and_used = observation.slot(attempt.target) == SlotBoot::Exhausted;
    if facts.booted == attempt.target || armed_and_used {
        // The power went after the arm and before it was noted.
        let trial = Trial {
            attempt,
            armed_in: None,
            daemon_ran: false,
            given_back: 0,
            verdict: None,
        };
        return trial::started(draft, trial, observation, facts);
    }
    // Not armed, or armed and not used: prove the slot again and arm it again.
    let verify = Effect::VerifySlot(attempt.clone());
    look_around(draft.to(Phase::Installing { attempt }), facts).then(verify)
}
