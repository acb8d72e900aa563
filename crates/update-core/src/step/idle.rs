//! Nothing is under way.

use alloc::format;
use alloc::string::ToString;

use switchback_types::{ActionId, SlotName, TraceId};

use super::{
    Draft, check, flip, look_around, new_attempt, ordinary_health_failed, ordinary_health_passed,
    refuse, settle, write,
};
use crate::effect::{Effect, Notice};
use crate::event::{Event, Facts};
use crate::outcome::{InstallFailure, Outcome};
use crate::slot::{ImageIdentity, SlotContent};
use crate::state::{Attempt, AttemptKind, Hold, State};

pub(super) fn step(draft: Draft, event: &Event, facts: &Facts) -> Draft {
    match event {
        Event::Started(observation) => {
            check::keep_out(look_around(draft, facts), observation, facts)
        }
        Event::HealthPassed => healthy(draft, facts),
        Event::HealthFailed { detail } => ordinary_health_failed(draft, detail),
        Event::VerifyDue => check::due(draft, facts),
        Event::SlotChecked {
            slot,
            sha256,
            result,
        } => check::checked(draft, *slot, sha256, result, facts),
        Event::RepairRequested { action, image } => check::repair(draft, action, image, facts),
        Event::Offered {
            action,
            image,
            trace,
        } => offered(draft, action, image, *trace, facts),
        Event::RollBackRequested { action, reason } => roll_back(draft, action, reason, facts),
        Event::BootWriteFailed { detail } => draft.say(Notice::BootWriteFailed {
            detail: detail.clone(),
        }),
        Event::CancelRequested => cancel(draft, facts),
        Event::RestartRequested => refuse(draft, "no slot is armed for a restart".to_string()),
        _ => draft,
    }
}

/// The running slot is healthy. When it is not the one that was committed, that one lost its
/// tries to power cycles (or a person chose this one at the boot menu): it is given them back,
/// once; if it fails its trial it is remembered as failed and this slot stays. A hold does not
/// stand against it: what is held is the committed slot.
fn healthy(draft: Draft, facts: &Facts) -> Draft {
    let draft = ordinary_health_passed(draft, facts);
    let Some(primary) = draft
        .state
        .primary
        .filter(|primary| *primary != facts.booted)
    else {
        return draft;
    };
    let record = draft.state.slot(primary);
    let wanted = record.image().filter(|image| {
        record.good
            && draft.state.failure_of(&image.sha256).is_none()
            && image.security_epoch >= draft.state.floor
    });
    match wanted.cloned() {
        Some(image) => {
            let action = format!("return-{}-{}", image.sha256.short(), facts.now.unix());
            let Ok(action) = action.parse::<ActionId>() else {
                return draft;
            };
            let attempt = new_attempt(
                &draft.state,
                action,
                AttemptKind::Return,
                image,
                true,
                facts,
            );
            flip(draft, attempt)
        }
        None => {
            let mut draft = draft;
            draft.state.primary = Some(facts.booted);
            draft
        }
    }
}

/// What a restart cut short is not to be taken up again.
fn cancel(mut draft: Draft, facts: &Facts) -> Draft {
    match draft.state.interrupted.take() {
        Some(attempt) => {
            let outcome = Outcome::Failed(InstallFailure::Cancelled);
            settle(draft, attempt, outcome, facts)
        }
        None => refuse(
            draft,
            "nothing is under way that could be cancelled".to_string(),
        ),
    }
}

fn offered(
    mut draft: Draft,
    action: &ActionId,
    image: &ImageIdentity,
    trace: Option<TraceId>,
    facts: &Facts,
) -> Draft {
    // The decision has asked this; it is asked again here because nothing, from any way in, may
    // go below the floor.
    if image.security_epoch < draft.state.floor {
        let detail = below_floor(image, draft.state.floor);
        return refuse(draft, detail);
    }
    let interrupted = draft.state.interrupted.take();
    let action = match interrupted {
        Some(attempt) if attempt.image.sha256 == image.sha256 => attempt.action,
        // One thing after another: the outcome of that one first, then the new one.
        Some(attempt) => {
            let outcome = Outcome::Failed(InstallFailure::Interrupted);
            return settle(draft, attempt, outcome, facts).then(Effect::Poll);
        }
        None => action.clone(),
    };
    let held = draft.state.slot(facts.booted.other()).image();
    let flip_only = held.is_some_and(|held| held.sha256 == image.sha256);
    let kind = AttemptKind::Update;
    let attempt = Attempt {
        trace,
        ..new_attempt(&draft.state, action, kind, image.clone(), flip_only, facts)
    };
    if flip_only {
        flip(draft, attempt)
    } else {
        write(draft, attempt)
    }
}

fn below_floor(image: &ImageIdentity, floor: u32) -> alloc::string::String {
    format!(
        "version {} has security epoch {}, below this device's floor {floor}: publish it again \
         with a higher epoch",
        image.version, image.security_epoch
    )
}

/// Why a person's rollback is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollBackRefusal {
    /// Nothing usable there.
    #[error(
        "slot {slot} holds no complete image to go back to: publish the version you want in this \
         device's channel instead"
    )]
    NothingThere {
        /// The inactive slot.
        slot: SlotName,
    },
    /// What was there went bad.
    #[error(
        "slot {slot} held version {version} and is damaged: `switchback repair` fetches again only \
         what is wrong, then roll back"
    )]
    Damaged {
        /// The inactive slot.
        slot: SlotName,
        /// What it held.
        version: switchback_types::Version,
    },
    /// Below the floor.
    #[error(
        "slot {slot} holds version {version} with security epoch {epoch}, below this device's \
         floor {floor}: it is never started again"
    )]
    BelowFloor {
        /// The inactive slot.
        slot: SlotName,
        /// What it holds.
        version: switchback_types::Version,
        /// Its epoch.
        epoch: u32,
        /// The floor.
        floor: u32,
    },
    /// Something else is under way.
    #[error("an update to version {version} is {phase}: `switchback cancel` it first")]
    Busy {
        /// What is being installed.
        version: switchback_types::Version,
        /// The phase.
        phase: crate::PhaseKind,
    },
}

/// The image that a rollback asked for now would bring back.
///
/// # Errors
/// Says why there is none, and the way out.
pub fn roll_back_target(state: &State, booted: SlotName) -> Result<ImageIdentity, RollBackRefusal> {
    let slot = booted.other();
    let image = match &state.slot(slot).content {
        SlotContent::Holds { image } => image.clone(),
        SlotContent::Damaged { image } => {
            return Err(RollBackRefusal::Damaged {
                slot,
                version: image.version.clone(),
            });
        }
        SlotContent::Unknown | SlotContent::Writing => {
            return Err(RollBackRefusal::NothingThere { slot });
        }
    };
    if image.security_epoch < state.floor {
        return Err(RollBackRefusal::BelowFloor {
            slot,
            version: image.version,
            epoch: image.security_epoch,
            floor: state.floor,
        });
    }
    Ok(image)
}

fn roll_back(mut draft: Draft, action: &ActionId, reason: &str, facts: &Facts) -> Draft {
    match roll_back_target(&draft.state, facts.booted) {
        Err(refusal) => refuse(draft, refusal.to_string()),
        Ok(image) => {
            // Without a hold the next poll would undo what the person asked for.
            draft.state.hold = Some(Hold {
                reason: reason.into(),
                since: facts.now,
                until: None,
            });
            let kind = AttemptKind::RollBack;
            let attempt = new_attempt(&draft.state, action.clone(), kind, image, true, facts);
            flip(
                draft.say(Notice::Held {
                    reason: reason.into(),
                }),
                attempt,
            )
        }
    }
}
