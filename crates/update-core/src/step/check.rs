//! A slot that goes bad later: the inactive slot is read back from time to time, taken out of the
//! bootloader's reach when it is not what it was, and made whole again when a person asks.

use alloc::format;
use alloc::string::{String, ToString};

use switchback_types::{ActionId, Digest, SlotName, Version};

use super::{Draft, new_attempt, refuse, settle};
use crate::effect::{Effect, Notice};
use crate::event::{BootObservation, Event, Facts, SlotBoot};
use crate::outcome::{InstallFailure, Outcome};
use crate::slot::{ImageIdentity, SlotContent};
use crate::state::{Attempt, AttemptKind, Phase, State};

/// Time to look. A damaged slot is looked at as well: what could not be read once may be read
/// again, and a repair by hand is noticed.
pub(super) fn due(draft: Draft, facts: &Facts) -> Draft {
    let slot = facts.booted.other();
    match draft.state.slot(slot).verified_image().cloned() {
        Some(image) => draft.then(Effect::CheckSlot { slot, image }),
        None => draft,
    }
}

/// The slot was looked at. It may have been written, or even booted, since the look began: only an
/// answer about what it is still thought to hold counts.
pub(super) fn checked(
    mut draft: Draft,
    slot: SlotName,
    sha256: &Digest,
    result: &Result<(), String>,
    facts: &Facts,
) -> Draft {
    let record = draft.state.slot_mut(slot);
    let Some(image) = record
        .verified_image()
        .filter(|image| slot != facts.booted && image.sha256 == *sha256)
        .cloned()
    else {
        return draft;
    };
    record.checked = Some(facts.now);
    let was_damaged = record.damaged_image().is_some();
    match result {
        Ok(()) if was_damaged => {
            let version = image.version.clone();
            record.content = SlotContent::Holds { image };
            draft.say(Notice::SlotRightAgain { slot, version })
        }
        Ok(()) => draft,
        // Said when it was found. The bootloader may not have been told for certain.
        Err(_) if was_damaged => draft.then(Effect::InvalidateSlot(slot)),
        Err(detail) => damaged(draft, slot, image, detail, facts),
    }
}

/// What was found damaged is never started again as it is, by nobody: not by us, and not by a
/// bootloader that falls back to it.
pub(super) fn damaged(
    mut draft: Draft,
    slot: SlotName,
    image: ImageIdentity,
    detail: &str,
    facts: &Facts,
) -> Draft {
    let version = image.version.clone();
    let record = draft.state.slot_mut(slot);
    record.content = SlotContent::Damaged { image };
    record.good = false;
    record.checked = Some(facts.now);
    if draft.state.primary == Some(slot) {
        draft.state.primary = Some(facts.booted);
    }
    draft
        .say(Notice::SlotDamaged {
            slot,
            version,
            detail: detail.into(),
        })
        .then(Effect::InvalidateSlot(slot))
}

/// After a start: the power may have gone between the note "damaged" and the write that tells the
/// bootloader.
pub(super) fn keep_out(draft: Draft, observation: &BootObservation, facts: &Facts) -> Draft {
    let slot = facts.booted.other();
    let damaged = draft.state.slot(slot).damaged_image().is_some();
    if damaged && observation.slot(slot) != SlotBoot::Bad {
        return draft.then(Effect::InvalidateSlot(slot));
    }
    draft
}

/// Why a person's repair is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairRefusal {
    /// Nothing is known that it could be compared with.
    #[error(
        "slot {slot} holds no image that is known here: there is nothing to repair; the next \
         update writes it"
    )]
    NothingKnown {
        /// The inactive slot.
        slot: SlotName,
    },
    /// Below the floor.
    #[error(
        "slot {slot} held version {version} with security epoch {epoch}, below this device's \
         floor {floor}: it is never started again, and not repaired; the next update writes it"
    )]
    BelowFloor {
        /// The inactive slot.
        slot: SlotName,
        /// What it held.
        version: Version,
        /// Its epoch.
        epoch: u32,
        /// The floor.
        floor: u32,
    },
}

/// The image that a repair asked for now would put back, or would find whole.
///
/// # Errors
/// Says why there is none, and the way out.
pub fn repair_target(state: &State, booted: SlotName) -> Result<ImageIdentity, RepairRefusal> {
    let slot = booted.other();
    let Some(image) = state.slot(slot).verified_image() else {
        return Err(RepairRefusal::NothingKnown { slot });
    };
    if image.security_epoch < state.floor {
        return Err(RepairRefusal::BelowFloor {
            slot,
            version: image.version.clone(),
            epoch: image.security_epoch,
            floor: state.floor,
        });
    }
    Ok(image.clone())
}

/// Begins to make the damaged slot whole. It stays "damaged" until it is read back: whatever ends
/// this early, nothing more needs to be noted.
pub(super) fn repair(
    draft: Draft,
    action: &ActionId,
    image: &ImageIdentity,
    facts: &Facts,
) -> Draft {
    let slot = facts.booted.other();
    match repair_target(&draft.state, facts.booted) {
        Err(refusal) => return refuse(draft, refusal.to_string()),
        Ok(wanted) if wanted.sha256 != image.sha256 => {
            let detail = format!(
                "slot {slot} held version {} with SHA-256 {}, the release offered for its repair \
                 has {}: it would not be a repair",
                wanted.version, wanted.sha256, image.sha256
            );
            return refuse(draft, detail);
        }
        Ok(_) => {}
    }
    if draft.state.slot(slot).damaged_image().is_none() {
        let version = &image.version;
        let detail = format!("slot {slot} holds version {version}, whole: nothing to repair");
        return refuse(draft, detail);
    }
    let kind = AttemptKind::Repair;
    let attempt = new_attempt(
        &draft.state,
        action.clone(),
        kind,
        image.clone(),
        false,
        facts,
    );
    draft
        .to(Phase::Installing {
            attempt: attempt.clone(),
        })
        .say(Notice::RepairStarted(attempt.clone()))
        .then(Effect::InvalidateSlot(attempt.target))
        .then(Effect::WriteSlot(attempt))
}

/// The slot holds the image again. It is not armed, and it stays out of the bootloader's order
/// until a rollback puts it on trial: health was not proven on what is now written there.
pub(super) fn repaired(mut draft: Draft, attempt: Attempt, facts: &Facts) -> Draft {
    let record = draft.state.slot_mut(attempt.target);
    record.content = SlotContent::Holds {
        image: attempt.image.clone(),
    };
    record.good = false;
    record.checked = Some(facts.now);
    let draft = draft.say(Notice::Repaired(attempt.clone()));
    settle(draft, attempt, Outcome::Repaired, facts)
}

/// The words for a slot that was to be flipped to and is not what it was.
pub(super) fn refusal_to_flip(attempt: &Attempt, detail: &str) -> InstallFailure {
    InstallFailure::SlotChanged {
        detail: format!(
            "slot {} is damaged ({detail}): `switchback repair` fetches again only what is wrong",
            attempt.target
        ),
    }
}

/// While something else is under way, the slot belongs to that.
pub(super) fn refuse_repair(draft: Draft, event: &Event) -> Draft {
    match event {
        Event::RepairRequested { .. } => {
            let phase = draft.state.phase.kind();
            refuse(
                draft,
                format!("an update is {phase}: repair the other slot when it has ended"),
            )
        }
        _ => draft,
    }
}
