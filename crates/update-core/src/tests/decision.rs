//! One table of cases: what the repository said and how the device stands, against which question
//! stopped it and with which word.

use std::string::{String, ToString};
use std::vec::Vec;

use switchback_types::{SlotName, Timestamp};

use super::{device, image};
use crate::{
    Before, Candidate, Decision, DecisionInputs, FailedImage, GATE_INTERVAL, Gate, GateState, Hold,
    Override, Pause, Pin, Question, RepositoryAnswer, Requires, RollbackReason, State, decide,
    may_restart,
};

fn now() -> Timestamp {
    Timestamp::from_unix(1_000_000)
}

fn candidate(number: u8) -> Candidate {
    Candidate {
        image: image(number),
        allow_downgrade: false,
        halted: false,
        compatible: Ok("board".to_string()),
        runs_already: false,
        toward: None,
        requires: None,
        lacks: None,
    }
}

struct Case {
    state: State,
    repository: RepositoryAnswer,
    health: Result<(), String>,
    slot_size: Result<u64, String>,
    boot_environment: Result<(), String>,
    pause: Option<Pause>,
    gates: Vec<Gate>,
    consent_required: bool,
    overridden: Option<Override>,
    before: Option<Decision>,
    now: Timestamp,
}

impl Case {
    fn new(repository: RepositoryAnswer) -> Self {
        Self {
            state: device(),
            repository,
            health: Ok(()),
            slot_size: Ok(1 << 20),
            boot_environment: Ok(()),
            pause: None,
            gates: Vec::new(),
            consent_required: false,
            overridden: None,
            before: None,
            now: now(),
        }
    }

    fn decide(&self) -> Decision {
        decide(&DecisionInputs {
            now: self.now,
            booted: SlotName::A,
            state: &self.state,
            repository: self.repository.clone(),
            health: self.health.clone(),
            slot_size: self.slot_size.clone(),
            boot_environment: self.boot_environment.clone(),
            pause: self.pause.clone(),
            gates: self.gates.clone(),
            consent_required: self.consent_required,
            overridden: self.overridden.clone(),
            next_poll: self.now.plus_seconds(900),
            before: self.before.as_ref(),
        })
    }
}

fn release(change: impl FnOnce(&mut Candidate)) -> Case {
    let mut candidate = candidate(2);
    change(&mut candidate);
    Case::new(RepositoryAnswer::Release(candidate))
}

#[test]
fn goes_ahead_when_every_answer_is_yes() {
    let decision = release(|_| {}).decide();
    assert!(decision.is_go(), "{decision:?}");
    assert_eq!(decision.stopped_by(), None);
    assert!(
        decision
            .available
            .reason
            .contains("version 2 is published, 1 runs")
    );
}

#[test]
fn names_the_question_that_stopped_it() {
    let detail = || "https://x/timestamp.json: no answer".to_string();
    let failed = FailedImage {
        sha256: image(2).sha256,
        version: image(2).version,
        reason: RollbackReason::NeverStarted,
        at: Timestamp::EPOCH,
    };
    let hold = Hold {
        reason: "service visit".to_string(),
        since: Timestamp::EPOCH,
        until: None,
    };
    let mut cases = std::vec![
        (
            Case::new(RepositoryAnswer::Nothing { detail: detail() }),
            "nothing-offered"
        ),
        (
            Case::new(RepositoryAnswer::Unreachable { detail: detail() }),
            "unreachable"
        ),
        (
            Case::new(RepositoryAnswer::Untrusted { detail: detail() }),
            "untrusted"
        ),
        (
            Case::new(RepositoryAnswer::Stale { detail: detail() }),
            "stale"
        ),
        (
            Case::new(RepositoryAnswer::Release(candidate(1))),
            "up-to-date"
        ),
        (release(|c| c.runs_already = true), "up-to-date"),
        (release(|c| c.halted = true), "halted"),
        (release(|c| c.image.sequence = 0), "older"),
        (release(|c| c.lacks = Some("sbom")), "papers-missing"),
        (
            release(|c| {
                c.requires = Some(Requires {
                    version: "1.5".parse().unwrap(),
                    sequence: 2,
                });
            }),
            "too-early"
        ),
        (
            release(|c| c.compatible = Err("made for x".to_string())),
            "wrong-product"
        ),
    ];
    let with = |change: &dyn Fn(&mut Case)| {
        let mut case = release(|_| {});
        change(&mut case);
        case
    };
    cases.push((with(&|c| c.state.failed.push(failed.clone())), "known-bad"));
    cases.push((with(&|c| c.state.hold = Some(hold.clone())), "held"));
    cases.push((with(&|c| c.state.floor = 1), "below-floor"));
    cases.push((
        with(&|c| c.health = Err("not known yet".to_string())),
        "not-healthy",
    ));
    cases.push((with(&|c| c.slot_size = Ok(4095)), "slot-too-small"));
    cases.push((
        with(&|c| c.slot_size = Err("gone".to_string())),
        "slot-unusable",
    ));
    cases.push((
        with(&|c| c.boot_environment = Err("bad".to_string())),
        "boot-environment",
    ));
    for (case, code) in cases {
        let decision = case.decide();
        assert!(!decision.is_go(), "{code}");
        let (_, verdict) = decision.stopped_by().unwrap();
        assert_eq!(verdict.code, code);
        assert!(
            verdict.way_out.is_some(),
            "{code} must say what would change it"
        );
    }
}

#[test]
fn failed_install_is_tried_again_only_after_its_pause() {
    let mut case = release(|_| {});
    let pause = |until| {
        Some(Pause {
            until,
            detail: "truncated".to_string(),
        })
    };
    case.pause = pause(Timestamp::from_unix(1_000_001));
    let decision = case.decide();
    let (question, verdict) = decision.stopped_by().unwrap();
    assert_eq!(
        (question, verdict.code.as_str()),
        (Question::Risk, "waiting")
    );
    assert!(verdict.reason.contains("truncated"));
    case.pause = pause(Timestamp::from_unix(1_000_000));
    assert!(case.decide().is_go());
}

#[test]
fn trust_and_verifiability_come_after_wanting() {
    let mut case = release(|c| c.compatible = Err("made for x".to_string()));
    case.state.hold = Some(Hold {
        reason: "no".to_string(),
        since: Timestamp::EPOCH,
        until: None,
    });
    let decision = case.decide();
    assert_eq!(decision.stopped_by().unwrap().0, Question::Wanted);
}

#[test]
fn too_small_a_slot_is_said_with_both_numbers() {
    let mut case = release(|_| {});
    case.slot_size = Ok(4095);
    let reason = case.decide().verifiable.reason;
    assert!(
        reason.contains("4096") && reason.contains("4095"),
        "{reason}"
    );
}

fn closed(name: &str, question: Question, before: Before, opens: Option<i64>) -> Gate {
    Gate {
        name: name.to_string(),
        question,
        before,
        state: GateState::Closed {
            code: std::format!("{name}-closed"),
            detail: std::format!("{name} is closed"),
            way_out: std::format!("open {name}"),
            opens: opens.map(Timestamp::from_unix),
        },
    }
}

fn open(name: &str) -> Gate {
    Gate {
        state: GateState::Open {
            detail: "fine".to_string(),
        },
        ..closed(name, Question::Risk, Before::Both, None)
    }
}

#[test]
fn every_closed_gate_is_told_and_the_first_gives_the_word() {
    let mut case = release(|_| {});
    case.gates = std::vec![
        open("battery"),
        closed("load", Question::Risk, Before::Update, None),
        closed("space", Question::Risk, Before::Both, Some(1_000_500)),
        closed("reboot", Question::Risk, Before::Restart, None),
    ];
    let decision = case.decide();
    let (question, verdict) = decision.stopped_by().unwrap();
    assert_eq!(
        (question, verdict.code.as_str()),
        (Question::Risk, "load-closed")
    );
    assert_eq!(verdict.reason, "load is closed; space is closed");
    let soon = now().plus_seconds(i64::from(GATE_INTERVAL));
    assert_eq!(verdict.again, Some(soon), "one does not say when it opens");
    assert_eq!(decision.gates.len(), 4, "open and closed ones are shown");
}

#[test]
fn window_that_says_when_it_opens_is_asked_again_then() {
    let mut case = release(|_| {});
    case.gates = std::vec![closed(
        "window",
        Question::Wanted,
        Before::Both,
        Some(1_007_200)
    )];
    let decision = case.decide();
    let (question, verdict) = decision.stopped_by().unwrap();
    assert_eq!(question, Question::Wanted);
    assert_eq!(verdict.again, Some(Timestamp::from_unix(1_007_200)));
    let wait = may_restart(&case.gates, now()).unwrap_err();
    assert_eq!(wait.again, Timestamp::from_unix(1_007_200));
    case.gates = std::vec![
        closed("power", Question::Risk, Before::Update, None),
        open("x")
    ];
    assert_eq!(may_restart(&case.gates, now()), Ok(()));
}

#[test]
fn override_lifts_wanted_and_risk_with_its_reason_and_nothing_else() {
    let insist = |case: &mut Case| {
        case.overridden = Some(Override {
            reason: "ticket 7".to_string(),
        });
    };
    let mut case = release(|_| {});
    case.state.hold = Some(Hold {
        reason: "visit".to_string(),
        since: Timestamp::EPOCH,
        until: None,
    });
    case.consent_required = true;
    case.health = Err("kiosk.service is failed".to_string());
    case.gates = std::vec![closed("battery", Question::Risk, Before::Update, None)];
    assert!(!case.decide().is_go());
    insist(&mut case);
    let decision = case.decide();
    assert!(decision.is_go(), "{decision:?}");
    assert_eq!(decision.wanted.code, "overridden");
    assert!(decision.wanted.reason.contains("ticket 7"));
    assert!(decision.risk.reason.contains("kiosk.service is failed"));

    let failed = FailedImage {
        sha256: image(2).sha256,
        version: image(2).version,
        reason: RollbackReason::NeverStarted,
        at: Timestamp::EPOCH,
    };
    type Change<'a> = &'a dyn Fn(&mut Case);
    let firm: [(Change<'_>, &str); 5] = [
        (&|case| case.state.failed.push(failed.clone()), "known-bad"),
        (&|case| case.state.floor = 1, "below-floor"),
        (
            &|case| {
                case.repository = RepositoryAnswer::Release(Candidate {
                    halted: true,
                    ..candidate(2)
                });
            },
            "halted",
        ),
        (&|case| case.slot_size = Ok(1), "slot-too-small"),
        (
            &|case| case.boot_environment = Err("bad".to_string()),
            "boot-environment",
        ),
    ];
    for (change, code) in firm {
        let mut case = release(|_| {});
        // A hold that is overridden hides none of them.
        case.state.hold = Some(Hold {
            reason: "visit".to_string(),
            since: Timestamp::EPOCH,
            until: None,
        });
        insist(&mut case);
        change(&mut case);
        assert_eq!(case.decide().stopped_by().unwrap().1.code, code);
    }
}

#[test]
fn hold_with_an_end_ends_then() {
    let mut case = release(|_| {});
    case.state.hold = Some(Hold {
        reason: "fair".to_string(),
        since: Timestamp::EPOCH,
        until: Some(Timestamp::from_unix(1_000_010)),
    });
    let verdict = case.decide().wanted;
    assert_eq!(verdict.code, "held");
    assert_eq!(verdict.again, Some(Timestamp::from_unix(1_000_010)));
    case.now = Timestamp::from_unix(1_000_010);
    assert!(case.decide().is_go());
}

#[test]
fn pin_lets_its_version_through_and_no_other() {
    let mut case = release(|_| {});
    let pin = |version: &str| {
        Some(Pin {
            version: version.parse().unwrap(),
            reason: "certified".to_string(),
            since: Timestamp::EPOCH,
        })
    };
    case.state.pin = pin("1");
    assert_eq!(case.decide().wanted.code, "pinned");
    case.state.pin = pin("2");
    assert!(case.decide().is_go());
}

#[test]
fn consent_is_to_one_image() {
    let mut case = release(|_| {});
    case.consent_required = true;
    assert_eq!(case.decide().wanted.code, "consent");
    case.state.approved = Some(image(3).sha256);
    assert_eq!(case.decide().wanted.code, "consent");
    case.state.approved = Some(image(2).sha256);
    assert!(case.decide().is_go());
}

#[test]
fn answer_keeps_its_time_until_it_changes() {
    let mut case = release(|_| {});
    case.gates = std::vec![closed("load", Question::Risk, Before::Update, None)];
    let first = case.decide();
    assert_eq!(first.risk.since, now());
    assert_eq!(first.available.again, None);
    case.before = Some(first);
    case.now = now().plus_seconds(60);
    let second = case.decide();
    assert_eq!(second.risk.since, now());
    case.before = Some(second);
    case.gates.clear();
    let third = case.decide();
    assert_eq!(third.risk.since, now().plus_seconds(60));
    assert_eq!(third.available.since, now());
}
