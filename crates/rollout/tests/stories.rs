//! Whole rollouts over model fleets, each with one thing that goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use switchback_rollout::model::{Fate, Model, START, definition, device, fleet};
use switchback_rollout::{
    Action, Amount, Barrier, Command, OnBrokenGate, Outcome, Phase, Plan, Refused, Share,
    Threshold, Waiting, Wave, Window,
};
use switchback_types::Timestamp;

fn is_paused(model: &Model) -> bool {
    matches!(model.rollout.phase, Phase::Paused { .. })
}

fn waves(reaches: &[&str], soak: u32) -> Plan {
    let wave = |reach: &&str| Wave {
        reach: reach.parse().unwrap(),
        soak,
    };
    Plan {
        waves: reaches.iter().map(wave).collect(),
        in_flight: None,
        per_hour: None,
    }
}

#[test]
fn a_good_release_reaches_everybody_wave_by_wave() {
    let mut model = Model::new(definition(), fleet(200, Fate::Well(120)));
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
    assert_eq!(model.tally().succeeded, 200);
    let opened: Vec<&Action> = model
        .log
        .iter()
        .map(|(_, action)| action)
        .filter(|action| matches!(action, Action::OpenWave { .. }))
        .collect();
    assert_eq!(opened.len(), 4);
    let in_wave = |wave| model.attempts.values().filter(|a| a.wave == wave).count();
    assert_eq!([0, 1, 2, 3, 4].map(in_wave), [1, 1, 18, 80, 100]);
}

#[test]
fn a_release_that_fails_on_boot_stays_in_the_first_wave() {
    for fate in [Fate::RollsBack(180), Fate::Fails(60), Fate::Dies] {
        let mut model = Model::new(definition(), fleet(1000, fate));
        assert!(model.run_until(12, is_paused), "{fate:?}");
        assert_eq!(model.exposed().len(), 1, "{fate:?}");
        // A pause is never left by itself.
        assert!(!model.run_until(100, |m| !is_paused(m)));
        assert_eq!(model.exposed().len(), 1);
    }
}

/// C068: a wave of 100, of which 20 fall silent after they began.
#[test]
fn silence_pauses_within_the_deadline_and_a_turn() {
    let mut definition = definition();
    definition.plan = waves(&["100", "100%"], 600);
    definition.gates.silent.share = Some(Share::percent(5));
    definition.gates.bad = Threshold::default();
    let mut devices = fleet(1000, Fate::Well(120));
    // Of those that come first, every fifth.
    devices.sort_by_key(|device| switchback_rollout::rank("salt", &device.id));
    for device in devices.iter_mut().take(100).step_by(5) {
        device.fate = Fate::Dies;
    }
    let mut model = Model::new(definition.clone(), devices);
    assert!(model.run_until(5, is_paused));
    let last_taken = model
        .attempts
        .values()
        .filter_map(|a| a.taken_at)
        .max()
        .unwrap();
    let late = model.now.unix() - last_taken.unix() - i64::from(definition.deadline);
    assert!(late <= 2 * switchback_rollout::model::STEP, "{late} s");
    assert_eq!(
        model.attempts.len(),
        100,
        "nobody of the second wave was offered it"
    );
    assert!(model.outcomes(Outcome::Silent) >= 6);
}

#[test]
fn what_burns_slowly_is_stopped_when_it_shows() {
    // It shows an hour later: the soak time of the first waves sees it.
    let mut model = Model::new(definition(), fleet(1000, Fate::SlowBurn(3000)));
    assert!(model.run_until(24, is_paused));
    assert_eq!(model.exposed().len(), 1);
    // It shows three hours later, after the soak time of the first wave.
    let mut model = Model::new(definition(), fleet(1000, Fate::SlowBurn(3 * 3600)));
    assert!(model.run_until(48, is_paused));
    assert!(model.exposed().len() <= 10, "{}", model.exposed().len());
    // Those that were well and are not heard of any more count too.
    let mut model = Model::new(definition(), fleet(1000, Fate::DiesLater(600)));
    assert!(model.run_until(48, is_paused));
    assert!(model.exposed().len() <= 10, "{}", model.exposed().len());
}

#[test]
fn bad_on_one_kind_of_hardware_only() {
    let mut devices = fleet(900, Fate::Well(120));
    for device in &mut devices {
        if device.labels["hw"] == "rev2" {
            device.fate = Fate::RollsBack(120);
        }
    }
    let mut model = Model::new(definition(), devices);
    assert!(model.run_until(48, is_paused));
    assert!(model.exposed().len() <= 90, "{}", model.exposed().len());
}

#[test]
fn a_broken_gate_can_bring_everybody_back() {
    let mut definition = definition();
    definition.on_broken_gate = OnBrokenGate::Revert;
    definition.plan = waves(&["50", "100%"], 60);
    let mut devices = fleet(300, Fate::Well(60));
    for device in devices.iter_mut().step_by(4) {
        device.fate = Fate::RollsBack(600);
    }
    let mut model = Model::new(definition, devices);
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Reverted));
    assert!(model.exposed().len() <= 50);
    assert!(model.devices.iter().all(|device| device.runs == "old"));
}

#[test]
fn a_person_brings_a_group_back() {
    let mut model = Model::new(definition(), fleet(90, Fate::Well(60)));
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
    let group = Some("hw == rev1".parse().unwrap());
    let attempts = model.attempts.clone();
    let command = Command::Revert { group };
    model
        .rollout
        .command(&attempts, &command, "bob", model.now)
        .unwrap();
    assert!(model.run_until(1, |m| m.rollout.phase == Phase::Reverted));
    for device in &model.devices {
        assert_eq!(device.runs == "old", device.labels["hw"] == "rev1");
    }
}

#[test]
fn somebody_else_must_agree() {
    let mut definition = definition();
    definition.needs_approval = true;
    let mut model = Model::new(definition, fleet(10, Fate::Well(60)));
    model.run_until(5, |_| false);
    assert!(model.attempts.is_empty());
    assert_eq!(model.waiting, Some(Waiting::Approval));
    let none = model.attempts.clone();
    let refused = model
        .rollout
        .command(&none, &Command::Approve, "ann", model.now);
    assert_eq!(refused, Err(Refused::SamePerson { who: "ann".into() }));
    model
        .rollout
        .command(&none, &Command::Approve, "bob", model.now)
        .unwrap();
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
}

#[test]
fn manual_waves_wait_for_a_person() {
    let mut definition = definition();
    definition.manual = true;
    definition.plan = waves(&["1", "100%"], 60);
    let mut model = Model::new(definition, fleet(10, Fate::Well(60)));
    model.run_until(10, |_| false);
    assert_eq!(
        (model.attempts.len(), &model.waiting),
        (1, &Some(Waiting::Trigger))
    );
    let attempts = model.attempts.clone();
    let command = Command::NextWave;
    model
        .rollout
        .command(&attempts, &command, "ann", model.now)
        .unwrap();
    assert!(model.run_until(10, |m| m.rollout.phase == Phase::Finished));
    let last = model
        .rollout
        .command(&attempts, &Command::NextWave, "ann", model.now);
    assert!(last.is_err());
}

/// C104: a device that went back gets the release again only when a person says so.
#[test]
fn who_went_back_is_left_alone_until_a_person_asks() {
    let mut definition = definition();
    definition.plan = waves(&["100%"], 60);
    definition.gates.rolled_back = Threshold::default();
    definition.gates.bad = Threshold::default();
    definition.retries = 3;
    let mut devices = fleet(40, Fate::Well(60));
    devices[3].fate = Fate::RollsBack(60);
    let mut model = Model::new(definition, devices);
    model.run_until(24, |_| false);
    let offers = |model: &Model| {
        let to_it = |(_, action): &&(Timestamp, Action)| {
            matches!(action, Action::Offer { .. }) && action.device() == Some("device-3")
        };
        model.log.iter().filter(to_it).count()
    };
    assert_eq!(offers(&model), 1);
    model.rollout.phase = Phase::Running;
    let attempts = model.attempts.clone();
    let command = Command::Retry {
        device: Some("device-3".into()),
    };
    let actions = model
        .rollout
        .command(&attempts, &command, "ann", model.now)
        .unwrap();
    assert_eq!(actions.len(), 1);
    model.devices[3] = device(3, Fate::RollsBack(60));
    for action in actions {
        model.rollout.apply(&mut model.attempts, &action, model.now);
    }
    model.run_until(24, |_| false);
    assert_eq!(offers(&model), 1);
    assert_eq!(model.attempts["device-3"].number, 2);
    assert_eq!(model.attempts["device-3"].outcome, Outcome::RolledBack);
}

#[test]
fn who_failed_is_tried_again_as_often_as_it_says() {
    let mut definition = definition();
    definition.plan = waves(&["100%"], 60);
    definition.gates.failed.share = None;
    definition.gates.bad.share = None;
    definition.gates.silent.count = Some(1);
    definition.retries = 2;
    let mut model = Model::new(definition, fleet(5, Fate::Fails(60)));
    model.run_until(24, |_| false);
    assert!(model.attempts.values().all(|attempt| attempt.number == 3));
}

#[test]
fn a_barrier_waits_for_a_whole_group() {
    let mut definition = definition();
    definition.barrier = Some(Barrier {
        group: "hw == rev0".parse().unwrap(),
        identity: "base".into(),
    });
    let mut model = Model::new(definition, fleet(9, Fate::Well(60)));
    model.run_until(2, |_| false);
    let waiting = model.waiting.clone().unwrap().to_string();
    assert_eq!(
        waiting,
        "3 devices of the barrier's group are behind: device-0, device-3, device-6"
    );
    for device in &mut model.devices {
        if device.labels["hw"] == "rev0" {
            device.runs = "base".into();
        }
    }
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
}

#[test]
fn nothing_begins_in_a_freeze_but_an_emergency() {
    let freeze = Window::Once {
        from: Timestamp::from_unix(START),
        until: Timestamp::from_unix(START + 10 * 3600),
    };
    let mut frozen = definition();
    frozen.freeze = vec![freeze];
    let mut model = Model::new(frozen.clone(), fleet(9, Fate::Well(60)));
    model.run_until(9, |_| false);
    assert!(model.attempts.is_empty());
    assert_eq!(model.waiting, Some(Waiting::Freeze));
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
    frozen.emergency = true;
    frozen.plan = Plan::emergency();
    let mut model = Model::new(frozen.clone(), fleet(9, Fate::Well(60)));
    assert!(model.run_until(5, |m| m.rollout.phase == Phase::Finished));
    // Faster, never without limits.
    frozen.plan = waves(&["100%"], 0);
    assert_eq!(frozen.check().unwrap_err().field, "plan.waves");
    frozen.plan = waves(&["50%", "100%"], 0);
    assert!(frozen.check().is_err());
}

#[test]
fn limits_on_speed_hold() {
    let mut definition = definition();
    definition.plan = waves(&["100%"], 0);
    definition.plan.in_flight = Some(7);
    definition.plan.per_hour = Some(20);
    let mut model = Model::new(definition, fleet(100, Fate::Well(120)));
    for _ in 0..600 {
        model.turn();
        let at_it = model.attempts.values().filter(|a| a.is_in_flight()).count();
        assert!(at_it <= 7);
        let hour_ago = model.now.plus_seconds(-3600);
        let offers = model
            .attempts
            .values()
            .filter(|a| a.offered_at > hour_ago)
            .count();
        assert!(offers <= 20);
    }
    assert_eq!(model.rollout.phase, Phase::Finished);
}

#[test]
fn an_offer_that_lies_goes_to_somebody_else() {
    let mut definition = definition();
    definition.plan = waves(&["1", "100%"], 60);
    let mut devices = fleet(20, Fate::Well(60));
    devices.sort_by_key(|device| switchback_rollout::rank("salt", &device.id));
    devices[0].fate = Fate::Shy;
    let mut model = Model::new(definition, devices);
    model.run_until(24, |_| false);
    assert_eq!(model.tally().succeeded, 19);
    assert_eq!(model.rollout.phase, Phase::Running);
}

#[test]
fn resuming_forgives_what_was_seen() {
    let mut definition = definition();
    definition.plan = waves(&["10", "100%"], 60);
    let mut devices = fleet(100, Fate::Well(60));
    devices.sort_by_key(|device| switchback_rollout::rank("salt", &device.id));
    for device in &mut devices[..3] {
        device.fate = Fate::RollsBack(60);
    }
    let mut model = Model::new(definition, devices);
    assert!(model.run_until(5, is_paused));
    model.run_until(1, |_| false);
    let attempts = model.attempts.clone();
    model
        .rollout
        .command(&attempts, &Command::Resume, "bob", model.now)
        .unwrap();
    assert!(model.run_until(24, |m| m.rollout.phase == Phase::Finished));
    assert_eq!(model.tally().succeeded, 97);
}

#[test]
fn a_server_that_was_away_makes_nobody_silent() {
    use switchback_rollout::{Moment, plan};
    let mut model = Model::new(definition(), fleet(3, Fate::Well(100_000)));
    model.turn();
    model.run_until(1, |m| m.attempts.values().any(|a| a.taken_at.is_some()));
    let later = model.now.plus_seconds(30 * 86_400);
    let facts = model.facts();
    let moment = Moment {
        now: later,
        listening_since: later,
    };
    let planned = plan(&model.rollout, &model.attempts, &facts, moment);
    let silent = |action: &Action| matches!(action, Action::Silent { .. });
    assert!(!planned.actions.iter().any(silent), "{planned:?}");
}

#[test]
fn definitions_say_what_is_wrong() {
    let mut wrong = definition();
    wrong.plan = waves(&["10%", "5%"], 0);
    assert_eq!(
        wrong.check().unwrap_err().to_string(),
        "plan.waves: 5% comes after 10%"
    );
    wrong.plan = waves(&["0"], 0);
    assert!(wrong.check().is_err());
    let mut gates = definition();
    gates.gates.failed = Threshold::default();
    gates.gates.rolled_back = Threshold::default();
    gates.gates.silent = Threshold::default();
    gates.gates.bad.share = Some(Share::ALL);
    assert_eq!(
        gates.check().unwrap_err().to_string(),
        "gates: none of them can ever stop the rollout"
    );
    let text = r#"{"name":"x","target":{"release":"r","identity":"i"},"wavs":1}"#;
    let error = serde_json::from_str::<switchback_rollout::Definition>(text).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `wavs`"),
        "{error}"
    );
    let text = r#"{"name":"x","target":{"release":"r","identity":"i"}}"#;
    let plain: switchback_rollout::Definition = serde_json::from_str(text).unwrap();
    plain.check().unwrap();
    assert_eq!(plain.plan.waves[0].reach, Amount::Count(1));
}
