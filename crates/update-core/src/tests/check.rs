//! A slot that goes bad later.

use std::string::ToString;

use switchback_types::SlotName;

use super::{acts, device, facts, image, observe, run};
use crate::{
    AttemptKind, Effect, Event, InstallFailure, Notice, Outcome, Phase, PhaseKind, RepairRefusal,
    RollBackRefusal, SlotBoot, SlotContent, SlotRecord, State, repair_target, roll_back_target,
};

const READY: SlotBoot = SlotBoot::Ready { left: 2 };

/// Version 1 runs in slot a; slot b holds version 2 and was healthy once.
fn both() -> State {
    State {
        b: SlotRecord {
            content: SlotContent::Holds { image: image(2) },
            good: true,
            checked: None,
        },
        ..device()
    }
}

fn damaged() -> State {
    State {
        b: SlotRecord {
            content: SlotContent::Damaged { image: image(2) },
            good: false,
            checked: Some(facts(SlotName::A, "one").now),
        },
        ..device()
    }
}

fn checked(result: Result<(), &str>) -> Event {
    Event::SlotChecked {
        slot: SlotName::B,
        sha256: image(2).sha256,
        result: result.map_err(ToString::to_string),
    }
}

fn repair() -> Event {
    Event::RepairRequested {
        action: "person-1".parse().unwrap(),
        image: image(2),
    }
}

#[test]
fn healthy_slot_stays_and_remembers_when_it_was_looked_at() {
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(both(), &now, &[Event::VerifyDue, checked(Ok(()))]);
    assert_eq!(
        effects,
        [Effect::CheckSlot {
            slot: SlotName::B,
            image: image(2)
        }]
    );
    let mut expected = both();
    expected.b.checked = Some(now.now);
    assert_eq!(state, expected);
}

#[test]
fn nothing_is_looked_at_where_nothing_is_known() {
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(device(), &now, &[Event::VerifyDue]);
    assert_eq!((state, effects.len()), (device(), 0));
}

#[test]
fn damaged_slot_is_taken_out_of_the_bootloaders_reach_and_said() {
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(both(), &now, &[checked(Err("/dev/b: differs"))]);
    assert_eq!(state, damaged());
    assert_eq!(acts(&effects), ["InvalidateSlot"]);
    assert!(effects.contains(&Effect::Emit(Notice::SlotDamaged {
        slot: SlotName::B,
        version: image(2).version,
        detail: "/dev/b: differs".to_string(),
    })));
}

#[test]
fn damage_is_said_once_and_taken_back_when_it_reads_right_again() {
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(damaged(), &now, &[Event::VerifyDue, checked(Err("again"))]);
    assert_eq!(state, damaged());
    assert_eq!(acts(&effects), ["CheckSlot", "InvalidateSlot"]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Emit(_)))
    );

    let (state, effects) = run(damaged(), &now, &[checked(Ok(()))]);
    assert_eq!(state.b.image(), Some(&image(2)));
    assert!(!state.b.good, "health was not proven on it since");
    assert!(matches!(
        effects.as_slice(),
        [Effect::Emit(Notice::SlotRightAgain { .. })]
    ));
}

#[test]
fn answer_about_something_else_changes_nothing() {
    let now = facts(SlotName::A, "one");
    let other_image = Event::SlotChecked {
        slot: SlotName::B,
        sha256: image(3).sha256,
        result: Err("differs".to_string()),
    };
    let running_slot = Event::SlotChecked {
        slot: SlotName::A,
        sha256: image(1).sha256,
        result: Err("differs".to_string()),
    };
    for event in [other_image, running_slot] {
        let (state, effects) = run(both(), &now, &[event]);
        assert_eq!((state, effects.len()), (both(), 0));
    }
}

#[test]
fn rollback_to_a_damaged_slot_is_refused_and_names_the_repair() {
    let ask = Event::RollBackRequested {
        action: "person-1".parse().unwrap(),
        reason: "asked for".to_string(),
    };
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(damaged(), &now, &[ask]);
    assert_eq!(state, damaged());
    let [Effect::Emit(Notice::Refused { detail })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(detail.contains("`switchback repair`"), "{detail}");
    assert!(matches!(
        roll_back_target(&damaged(), SlotName::A),
        Err(RollBackRefusal::Damaged { .. })
    ));
}

#[test]
fn rollback_that_finds_the_damage_itself_says_the_same() {
    let ask = Event::RollBackRequested {
        action: "person-1".parse().unwrap(),
        reason: "asked for".to_string(),
    };
    let changed = Event::InstallFailed(InstallFailure::SlotChanged {
        detail: "/dev/b: differs".to_string(),
    });
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(both(), &now, &[ask, changed]);
    assert_eq!(acts(&effects), ["VerifySlot", "InvalidateSlot", "Report"]);
    assert_eq!(state.b, damaged().b);
    let Phase::Reporting { outcome, .. } = &state.phase else {
        panic!("{state:?}")
    };
    let text = outcome.to_string();
    assert!(
        text.contains("/dev/b: differs") && text.contains("`switchback repair`"),
        "{text}"
    );
}

#[test]
fn committed_slot_found_damaged_on_the_way_back_is_given_up() {
    let state = State {
        primary: Some(SlotName::B),
        ..both()
    };
    let changed = Event::InstallFailed(InstallFailure::SlotChanged {
        detail: "differs".to_string(),
    });
    let now = facts(SlotName::A, "one");
    let (state, effects) = run(
        state,
        &now,
        &[Event::HealthPassed, changed, Event::Reported],
    );
    assert_eq!(
        acts(&effects),
        ["MarkGood", "VerifySlot", "InvalidateSlot", "Report"]
    );
    assert_eq!(state.primary, Some(SlotName::A));
    let (state, effects) = run(state, &now, &[Event::HealthPassed]);
    assert_eq!(acts(&effects), ["MarkGood"], "no second try");
    assert_eq!(state.phase, Phase::Idle);
}

#[test]
fn repair_writes_without_arming() {
    let now = facts(SlotName::A, "one");
    let events = [repair(), Event::SlotVerified, Event::Reported];
    let (state, effects) = run(damaged(), &now, &events);
    assert_eq!(acts(&effects), ["InvalidateSlot", "WriteSlot", "Report"]);
    assert_eq!(state.phase, Phase::Idle);
    assert_eq!(state.b.image(), Some(&image(2)));
    assert!(!state.b.good, "only a trial proves health");
    assert_eq!(state.primary, Some(SlotName::A));
    assert_eq!(state.history[0].outcome, Outcome::Repaired);
    assert_eq!(state.history[0].kind, AttemptKind::Repair);
    assert!(roll_back_target(&state, SlotName::A).is_ok());
}

#[test]
fn repair_that_fails_or_is_cut_leaves_the_slot_damaged() {
    let now = facts(SlotName::A, "one");
    let failed = Event::InstallFailed(InstallFailure::Network {
        detail: "gone".to_string(),
    });
    let (state, effects) = run(damaged(), &now, &[repair(), failed, Event::Reported]);
    assert_eq!(acts(&effects), ["InvalidateSlot", "WriteSlot", "Report"]);
    assert_eq!((state.b, state.phase), (damaged().b, Phase::Idle));

    let later = facts(SlotName::A, "two");
    let (state, _) = run(damaged(), &now, &[repair()]);
    let started = observe(SlotName::A, READY, SlotBoot::Bad);
    let (state, effects) = run(state, &later, &[started, Event::Reported]);
    assert_eq!(acts(&effects), ["RunHealthChecks", "Report"]);
    assert_eq!((state.b, state.phase), (damaged().b, Phase::Idle));
    let cut = Outcome::Failed(InstallFailure::Interrupted);
    assert_eq!(state.history[0].outcome, cut);
}

#[test]
fn repair_is_of_the_image_that_was_there_and_of_nothing_else() {
    let now = facts(SlotName::A, "one");
    let other = Event::RepairRequested {
        action: "person-1".parse().unwrap(),
        image: image(3),
    };
    for (state, event) in [(damaged(), other), (both(), repair()), (device(), repair())] {
        let (after, effects) = run(state.clone(), &now, &[event]);
        assert_eq!(after, state);
        assert!(matches!(
            effects.as_slice(),
            [Effect::Emit(Notice::Refused { .. })]
        ));
    }
    let below = State {
        floor: 1,
        ..damaged()
    };
    assert!(matches!(
        repair_target(&below, SlotName::A),
        Err(RepairRefusal::BelowFloor {
            epoch: 0,
            floor: 1,
            ..
        })
    ));
}

#[test]
fn power_cut_between_the_note_and_the_bootloader_is_made_good() {
    let later = facts(SlotName::A, "two");
    for (left, expected) in [
        (READY, std::vec!["RunHealthChecks", "InvalidateSlot"]),
        (SlotBoot::Bad, std::vec!["RunHealthChecks"]),
    ] {
        let (_, effects) = run(damaged(), &later, &[observe(SlotName::A, READY, left)]);
        assert_eq!(acts(&effects), expected);
    }
}

#[test]
fn update_to_the_damaged_image_writes_it_again() {
    let now = facts(SlotName::A, "one");
    let offer = Event::Offered {
        action: "poll-1".parse().unwrap(),
        image: image(2),
        trace: None,
    };
    let (state, effects) = run(damaged(), &now, &[offer]);
    assert_eq!(acts(&effects), ["InvalidateSlot", "WriteSlot"]);
    assert_eq!(state.phase.kind(), PhaseKind::Installing);
    assert_eq!(state.b.checked, None);
}

#[test]
fn journal_of_an_older_daemon_is_read() {
    let text = r#"{"content":{"state":"unknown"},"good":true}"#;
    let record: SlotRecord = serde_json::from_str(text).unwrap();
    assert_eq!(record.checked, None);
}
