//! The outcome is settled; whoever must know it is being told.

use alloc::string::ToString;

use super::{Draft, check, look_around, ordinary_health_failed, ordinary_health_passed, refuse};
use crate::effect::{Effect, Notice};
use crate::event::{Event, Facts};
use crate::outcome::Outcome;
use crate::state::{Attempt, Phase};

pub(super) fn step(
    draft: Draft,
    attempt: &Attempt,
    outcome: &Outcome,
    event: &Event,
    facts: &Facts,
) -> Draft {
    match event {
        // Whether the report arrived before the restart is not known: it is sent again, and the
        // action's id tells the receiver that it is the same one.
        Event::Started(observation) => {
            let draft = check::keep_out(look_around(draft, facts), observation, facts);
            draft.then(Effect::Report {
                attempt: attempt.clone(),
                outcome: outcome.clone(),
            })
        }
        Event::Reported => draft.to(Phase::Idle),
        Event::HealthPassed => ordinary_health_passed(draft, facts),
        Event::HealthFailed { detail } => ordinary_health_failed(draft, detail),
        Event::BootWriteFailed { detail } => draft.say(Notice::BootWriteFailed {
            detail: detail.clone(),
        }),
        Event::RollBackRequested { .. } => refuse(
            draft,
            "the outcome of the last update is being reported: ask again in a moment".to_string(),
        ),
        other => check::refuse_repair(draft, other),
    }
}
