//! The stories, one test each.

use std::string::ToString;
use std::vec::Vec;

use switchback_types::SlotName;

use super::{acts, attempt, device, facts, image, observe, on_trial, run};
use crate::{
    AttemptKind, BootId, Effect, Event, InstallFailure, Notice, Outcome, Phase, PhaseKind,
    RollbackReason, SlotBoot, SlotContent, SlotRecord, State, step,
};

pub(super) const READY: SlotBoot = SlotBoot::Ready { left: 2 };

fn offer(number: u8) -> Event {
    Event::Offered {
        action: "poll-1".parse().unwrap(),
        image: image(number),
        trace: None,
    }
}

#[test]
fn good_update_is_committed_only_after_the_boot_environment_says_good() {
    let old = facts(SlotName::A, "one");
    let (state, effects) = run(
        device(),
        &old,
        &[offer(2), Event::SlotVerified, Event::Armed],
    );
    assert_eq!(
        acts(&effects),
        ["InvalidateSlot", "WriteSlot", "Arm", "Restart"]
    );
    assert_eq!(state.phase.kind(), PhaseKind::OnTrial);

    let new = facts(SlotName::B, "two");
    let started = observe(SlotName::B, READY, READY);
    let (state, effects) = run(state, &new, &[started, Event::HealthPassed]);
    assert_eq!(acts(&effects), ["RunHealthChecks", "MarkGood"]);
    assert_eq!(
        state.primary,
        Some(SlotName::A),
        "not committed before it is durable"
    );

    let (state, effects) = run(state, &new, &[Event::MarkedGood, Event::Reported]);
    assert_eq!(acts(&effects), ["Report"]);
    assert_eq!(state.phase, Phase::Idle);
    assert_eq!(state.primary, Some(SlotName::B));
    assert!(state.b.good);
    assert_eq!(state.history.len(), 1);
    assert_eq!(state.history[0].outcome, Outcome::Committed);
}

#[test]
fn unhealthy_trial_points_back_restarts_and_is_remembered() {
    let state = State {
        phase: on_trial(Some("one")),
        ..device()
    };
    let new = facts(SlotName::B, "two");
    let failed = Event::HealthFailed {
        detail: "kiosk.service is failed".to_string(),
    };
    let (state, effects) = run(
        state,
        &new,
        &[observe(SlotName::B, READY, READY), failed, Event::FellBack],
    );
    assert_eq!(acts(&effects), ["RunHealthChecks", "FallBack", "Restart"]);

    let old = facts(SlotName::A, "three");
    let (state, effects) = run(
        state,
        &old,
        &[observe(SlotName::A, READY, SlotBoot::Bad), Event::FellBack],
    );
    assert_eq!(acts(&effects), ["FallBack", "RunHealthChecks", "Report"]);
    let known = state.failure_of(&image(2).sha256).unwrap();
    assert!(known.reason.to_string().contains("kiosk.service is failed"));
    assert_eq!(state.primary, Some(SlotName::A));
}

#[test]
fn says_why_a_trial_ended_in_the_old_slot() {
    let died = RollbackReason::TriesExhausted {
        tries: 3,
        daemon_ran: false,
    };
    for (left, reason) in [
        (SlotBoot::Exhausted, died),
        (SlotBoot::Ready { left: 3 }, RollbackReason::NeverStarted),
        (
            SlotBoot::Ready { left: 2 },
            RollbackReason::LeftWithTries { left: 2 },
        ),
    ] {
        let state = State {
            phase: on_trial(Some("one")),
            ..device()
        };
        let old = facts(SlotName::A, "five");
        let (state, _) = run(
            state,
            &old,
            &[observe(SlotName::A, READY, left), Event::FellBack],
        );
        assert_eq!(state.failure_of(&image(2).sha256).unwrap().reason, reason);
        assert_eq!(state.phase.kind(), PhaseKind::Reporting);
    }
}

#[test]
fn daemon_restart_while_armed_is_not_a_failed_trial() {
    let state = State {
        phase: on_trial(Some("one")),
        ..device()
    };
    let same_boot = facts(SlotName::A, "one");
    let (state, effects) = run(
        state,
        &same_boot,
        &[observe(SlotName::B, READY, SlotBoot::Ready { left: 3 })],
    );
    assert_eq!(state.phase.kind(), PhaseKind::OnTrial);
    assert_eq!(acts(&effects), ["RunHealthChecks", "Restart"]);
}

fn both_slots() -> State {
    State {
        a: SlotRecord {
            content: SlotContent::Holds { image: image(1) },
            good: true,
            checked: None,
        },
        b: SlotRecord {
            content: SlotContent::Holds { image: image(2) },
            good: true,
            checked: None,
        },
        primary: Some(SlotName::B),
        ..State::default()
    }
}

#[test]
fn rollback_flips_holds_and_release_flips_forward() {
    let on_b = facts(SlotName::B, "one");
    let ask = Event::RollBackRequested {
        action: "person-1".parse().unwrap(),
        reason: "asked for".to_string(),
    };
    let (state, effects) = run(
        both_slots(),
        &on_b,
        &[ask, Event::SlotVerified, Event::Armed],
    );
    assert_eq!(
        acts(&effects),
        ["VerifySlot", "Arm", "Restart"],
        "nothing is downloaded"
    );
    assert!(state.hold.is_some());

    let on_a = facts(SlotName::A, "two");
    let trial = [
        observe(SlotName::A, READY, READY),
        Event::HealthPassed,
        Event::MarkedGood,
        Event::Reported,
        Event::HoldReleased,
        offer(2),
    ];
    let (state, effects) = run(state, &on_a, &trial);
    assert!(state.hold.is_none());
    assert_eq!(state.primary, Some(SlotName::A));
    assert_eq!(
        acts(&effects),
        [
            "RunHealthChecks",
            "MarkGood",
            "Report",
            "Poll",
            "VerifySlot"
        ],
        "version 2 is still there: flipped to, not downloaded"
    );
}

#[test]
fn rollback_is_refused_when_there_is_nothing_to_go_back_to() {
    let ask = Event::RollBackRequested {
        action: "person-1".parse().unwrap(),
        reason: "asked for".to_string(),
    };
    let on_a = facts(SlotName::A, "one");
    let (state, effects) = run(device(), &on_a, &[ask]);
    assert_eq!(state, device());
    let [Effect::Emit(Notice::Refused { detail })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(
        detail.contains("slot b holds no complete image"),
        "{detail}"
    );
}

#[test]
fn image_that_is_no_longer_there_is_fetched_after_all() {
    let on_a = facts(SlotName::A, "one");
    let state = State {
        primary: Some(SlotName::A),
        ..both_slots()
    };
    let changed = InstallFailure::SlotChanged {
        detail: "differs".to_string(),
    };
    let (state, effects) = run(state, &on_a, &[offer(2), Event::InstallFailed(changed)]);
    assert_eq!(
        acts(&effects),
        ["VerifySlot", "InvalidateSlot", "WriteSlot"]
    );
    assert_eq!(state.b.content, SlotContent::Writing);
}

#[test]
fn tries_lost_to_power_cycles_are_given_back_and_mark_nothing_bad() {
    // Slot b is committed and healthy; its tries ran out, and the device came up in slot a.
    let on_a = facts(SlotName::A, "two");
    let (state, effects) = run(
        both_slots(),
        &on_a,
        &[
            observe(SlotName::B, READY, SlotBoot::Exhausted),
            Event::HealthPassed,
        ],
    );
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Emit(Notice::UnexpectedSlot {
            expected: SlotName::B,
            ..
        })
    )));
    assert_eq!(
        acts(&effects),
        ["RunHealthChecks", "MarkGood", "VerifySlot"]
    );
    assert!(state.failed.is_empty());
    assert_eq!(state.phase.attempt().unwrap().kind, AttemptKind::Return);
}

#[test]
fn held_device_returns_to_the_version_it_is_held_on() {
    let on_a = facts(SlotName::A, "two");
    let hold = Event::HoldRequested {
        reason: "service visit".to_string(),
        until: None,
    };
    let exhausted = observe(SlotName::B, READY, SlotBoot::Exhausted);
    let (state, _) = run(both_slots(), &on_a, &[hold, exhausted, Event::HealthPassed]);
    assert_eq!(state.phase.attempt().unwrap().kind, AttemptKind::Return);
    assert_eq!(state.phase.attempt().unwrap().target, SlotName::B);
}

#[test]
fn return_that_fails_too_ends_there() {
    let on_a = facts(SlotName::A, "two");
    let (state, _) = run(
        both_slots(),
        &on_a,
        &[
            observe(SlotName::B, READY, SlotBoot::Exhausted),
            Event::HealthPassed,
            Event::SlotVerified,
            Event::Armed,
        ],
    );
    let later = facts(SlotName::A, "six");
    let (state, effects) = run(
        state,
        &later,
        &[
            observe(SlotName::B, READY, SlotBoot::Exhausted),
            Event::FellBack,
            Event::HealthPassed,
            Event::Reported,
            Event::HealthPassed,
        ],
    );
    assert_eq!(state.phase, Phase::Idle);
    assert_eq!(state.primary, Some(SlotName::A));
    // It may have been the power again: offered like any other, it has one more trial.
    assert!(state.failed.is_empty());
    assert!(
        !acts(&effects).contains(&"Restart".to_string()),
        "no loop between two slots"
    );
}

#[test]
fn unhealthy_committed_slot_stays_up() {
    let on_a = facts(SlotName::A, "one");
    let failed = Event::HealthFailed {
        detail: "no network".to_string(),
    };
    let (state, effects) = run(device(), &on_a, &[failed]);
    assert_eq!(state, device());
    assert!(acts(&effects).is_empty());
}

#[test]
fn nothing_below_the_floor_from_any_way_in() {
    let state = State {
        floor: 1,
        ..both_slots()
    };
    let on_b = facts(SlotName::B, "one");
    let ask = Event::RollBackRequested {
        action: "person-1".parse().unwrap(),
        reason: "asked for".to_string(),
    };
    for event in [offer(3), ask] {
        let step = step(&state, &event, &on_b);
        assert_eq!(step.next, state);
        assert!(matches!(
            step.effects.as_slice(),
            [Effect::Emit(Notice::Refused { .. })]
        ));
    }
}

#[test]
fn commit_raises_the_floor() {
    let mut phase = on_trial(Some("one"));
    if let Phase::OnTrial { attempt, .. } = &mut phase {
        attempt.image.security_epoch = 7;
    }
    let state = State { phase, ..device() };
    let new = facts(SlotName::B, "two");
    let (state, _) = run(state, &new, &[Event::HealthPassed, Event::MarkedGood]);
    assert_eq!(state.floor, 7);
}

#[test]
fn hold_stops_a_write_and_leaves_a_trial_alone() {
    let hold = Event::HoldRequested {
        reason: "service visit".to_string(),
        until: None,
    };
    let writing = Phase::Installing {
        attempt: attempt(AttemptKind::Update),
    };
    for (phase, expected) in [
        (writing, std::vec!["CancelWork"]),
        (on_trial(Some("one")), Vec::new()),
    ] {
        let state = State { phase, ..device() };
        let (state, effects) = run(
            state,
            &facts(SlotName::A, "one"),
            core::slice::from_ref(&hold),
        );
        assert_eq!(acts(&effects), expected);
        assert!(state.hold.is_some());
    }
}

fn armed() -> State {
    State {
        phase: on_trial(Some("one")),
        ..device()
    }
}

#[test]
fn cancel_before_the_restart_disarms_and_then_settles() {
    let old = facts(SlotName::A, "one");
    let (state, effects) = run(armed(), &old, &[Event::CancelRequested]);
    let way_back = Effect::FallBack {
        bad: SlotName::B,
        to: SlotName::A,
    };
    assert_eq!(effects, [way_back]);
    assert!(state.history.is_empty(), "not settled before it is durable");
    let (state, effects) = run(state, &old, &[Event::FellBack]);
    assert_eq!(acts(&effects), ["Report"]);
    assert_eq!(
        state.history[0].outcome,
        Outcome::Failed(InstallFailure::Cancelled)
    );
    assert!(state.failed.is_empty(), "the image was not judged");
}

#[test]
fn cancel_whose_write_was_lost_is_carried_out_by_the_next_daemon() {
    let old = facts(SlotName::A, "one");
    let (state, _) = run(armed(), &old, &[Event::CancelRequested]);
    let ready = observe(SlotName::B, READY, SlotBoot::Ready { left: 3 });
    let (same_boot, effects) = run(state.clone(), &old, &[ready, Event::FellBack]);
    assert_eq!(acts(&effects), ["FallBack", "RunHealthChecks", "Report"]);
    // Or the device restarted, into what was still armed.
    let target = facts(SlotName::B, "two");
    let ready = observe(SlotName::B, READY, SlotBoot::Ready { left: 2 });
    let (state, effects) = run(state, &target, &[ready, Event::FellBack]);
    assert_eq!(acts(&effects), ["FallBack", "Restart"]);
    let old = facts(SlotName::A, "three");
    let bad = observe(SlotName::A, READY, SlotBoot::Bad);
    let (next_boot, effects) = run(state, &old, &[bad, Event::FellBack]);
    assert_eq!(acts(&effects), ["FallBack", "RunHealthChecks", "Report"]);
    for state in [same_boot, next_boot] {
        let cancelled = Outcome::Failed(InstallFailure::Cancelled);
        assert_eq!(state.history[0].outcome, cancelled);
        assert!(state.failed.is_empty());
    }
}

#[test]
fn what_was_called_off_and_cannot_be_disarmed_is_not_restarted_into() {
    let old = facts(SlotName::A, "one");
    let failed = Event::BootWriteFailed {
        detail: "read-only".to_string(),
    };
    let events = [Event::CancelRequested, failed, Event::RestartRequested];
    let (state, effects) = run(armed(), &old, &events);
    assert_eq!(acts(&effects), ["FallBack"]);
    let Some(Effect::Emit(Notice::Refused { detail })) = effects.last() else {
        panic!("{effects:?}")
    };
    assert!(detail.contains("switchback cancel"), "{detail}");
    let (state, effects) = run(state, &old, &[Event::CancelRequested, Event::FellBack]);
    assert_eq!(acts(&effects), ["FallBack", "Report"], "it is tried again");
    assert_eq!(state.phase.kind(), PhaseKind::Reporting);
}

#[test]
fn same_failure_again_is_one_line_of_history() {
    let old = facts(SlotName::A, "one");
    let failed = |detail: &str| {
        Event::InstallFailed(InstallFailure::Network {
            detail: detail.to_string(),
        })
    };
    let mut state = device();
    for detail in ["gone", "gone", "gone", "back but broken"] {
        (state, _) = run(state, &old, &[offer(2), failed(detail), Event::Reported]);
    }
    assert_eq!(state.history.len(), 2);
}

#[test]
fn state_survives_its_own_format() {
    let state = State {
        phase: on_trial(Some("one")),
        hold: None,
        ..both_slots()
    };
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    assert_eq!(BootId::new("  x\n"), BootId::new("x"));
}
