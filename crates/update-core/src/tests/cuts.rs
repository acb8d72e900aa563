//! What a restart, wanted or not, leaves behind.

use std::string::ToString;

use switchback_types::SlotName;

use super::behaviour::READY;
use super::{acts, attempt, device, facts, image, observe, on_trial, run};
use crate::{AttemptKind, Event, InstallFailure, Outcome, Phase, PhaseKind, SlotBoot, State, step};

/// An update that a restart cut short, and what is offered then.
fn interrupted() -> State {
    State {
        interrupted: Some(attempt(AttemptKind::Update)),
        ..device()
    }
}

fn other_offer(number: u8) -> Event {
    Event::Offered {
        action: "poll-2".parse().unwrap(),
        image: image(number),
        trace: None,
    }
}

#[test]
fn power_cut_between_arm_and_its_note_is_still_a_trial() {
    let staged = Phase::Staged {
        attempt: attempt(AttemptKind::Update),
    };
    let state = State {
        phase: staged,
        ..device()
    };
    let new = facts(SlotName::B, "two");
    let (state, effects) = run(state.clone(), &new, &[observe(SlotName::B, READY, READY)]);
    assert_eq!(acts(&effects), ["RunHealthChecks"]);
    assert_eq!(state.phase.kind(), PhaseKind::OnTrial);
}

#[test]
fn power_cut_before_the_arm_proves_the_slot_again() {
    let staged = Phase::Staged {
        attempt: attempt(AttemptKind::Update),
    };
    let state = State {
        phase: staged,
        ..device()
    };
    let old = facts(SlotName::A, "two");
    let (state, effects) = run(state, &old, &[observe(SlotName::A, READY, SlotBoot::Bad)]);
    assert_eq!(acts(&effects), ["RunHealthChecks", "VerifySlot"]);
    assert_eq!(state.phase.kind(), PhaseKind::Installing);
}

#[test]
fn power_cut_while_writing_polls_again() {
    let installing = Phase::Installing {
        attempt: attempt(AttemptKind::Update),
    };
    let state = State {
        phase: installing,
        ..device()
    };
    let old = facts(SlotName::A, "two");
    let (state, effects) = run(state, &old, &[observe(SlotName::A, READY, SlotBoot::Bad)]);
    assert_eq!(acts(&effects), ["RunHealthChecks", "Poll"]);
    assert_eq!(state.phase, Phase::Idle);
    assert_eq!(state.interrupted, Some(attempt(AttemptKind::Update)));
}

#[test]
fn interrupted_update_goes_on_as_the_same_action() {
    let old = facts(SlotName::A, "two");
    let (state, _) = run(interrupted(), &old, &[other_offer(2)]);
    assert_eq!(state.phase.kind(), PhaseKind::Installing);
    assert_eq!(state.phase.attempt().unwrap().action.to_string(), "poll-1");
    assert_eq!(state.interrupted, None);
}

#[test]
fn interrupted_update_that_is_not_wanted_any_more_is_told_first() {
    let old = facts(SlotName::A, "two");
    for (event, outcome) in [
        (other_offer(3), InstallFailure::Interrupted),
        (Event::CancelRequested, InstallFailure::Cancelled),
    ] {
        let (state, effects) = run(interrupted(), &old, &[event]);
        assert_eq!(acts(&effects)[0], "Report");
        assert_eq!(state.history[0].action.to_string(), "poll-1");
        assert_eq!(state.history[0].outcome, Outcome::Failed(outcome));
        let (state, _) = run(state, &old, &[Event::Reported, other_offer(3)]);
        assert_eq!(state.phase.attempt().unwrap().action.to_string(), "poll-2");
    }
}

#[test]
fn orderly_restarts_give_the_try_back_a_bounded_number_of_times() {
    let mut state = State {
        phase: on_trial(Some("one")),
        ..device()
    };
    let new = facts(SlotName::B, "two");
    let mut given = 0;
    for _ in 0..10 {
        let step = step(&state, &Event::ShuttingDown, &new);
        state = step.next;
        given += step.effects.len();
    }
    assert_eq!(given, 3);
}

#[test]
fn way_back_is_written_again_when_its_write_was_lost() {
    let state = State {
        phase: on_trial(Some("one")),
        ..device()
    };
    let new = facts(SlotName::B, "two");
    let failed = Event::HealthFailed {
        detail: "no".to_string(),
    };
    let (state, _) = run(state, &new, &[observe(SlotName::B, READY, READY), failed]);
    let again = facts(SlotName::B, "three");
    let (_, effects) = run(state, &again, &[observe(SlotName::B, READY, READY)]);
    assert_eq!(acts(&effects), ["FallBack"]);
}
